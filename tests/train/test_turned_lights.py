"""The lights and brightnesses of the training from turned views, by hand."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from gan2shape.render import Lighting, Pose
from gan2shape.train.turned import drawn_lights, equally_bright, in_object_frame


def test_drawn_lights(rng: torch.Generator) -> None:
    lights = drawn_lights(torch.zeros(500, 3, 2, 2), rng)
    torch.testing.assert_close(lights.ambient + lights.diffuse, torch.ones(500, 1))
    torch.testing.assert_close(lights.direction.norm(dim=1), torch.ones(500))
    slopes = lights.direction[:, :2] / lights.direction[:, 2:]
    for values, least, most in ((lights.diffuse, 0.4, 0.8), (slopes[:, 0], -0.9, 0.9), (slopes[:, 1], -0.9, 0.9)):
        assert least - 1e-6 <= values.min() < least + 0.05
        assert most - 0.05 < values.max() <= most + 1e-6


def test_lights_of_views_stand_still_in_the_cameras_frame() -> None:
    angles = torch.deg2rad(torch.tensor([[0.0, 30.0, 0.0], [0.0, -50.0, 0.0], [10.0, 20.0, 5.0], [0.0, 85.0, 0.0]]))
    direction = F.normalize(torch.tensor([[0.0, 0, 1], [0, 0, 1], [0.3, -0.2, 1], [0, 0, 1]]), dim=1)
    camera = Lighting(torch.full((4, 1), 0.3), torch.full((4, 1), 0.6), direction)
    found = in_object_frame(camera, Pose.from_euler(angles))
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    torch.testing.assert_close(found.direction[0], torch.tensor([-sin, 0, cos]))
    cos, sin = math.cos(math.radians(50)), math.sin(math.radians(50))
    torch.testing.assert_close(found.direction[1], torch.tensor([sin, 0, cos]))
    rotation = Pose.from_euler(angles).rotation[2]  # A normal of the object and the same normal turned are lit alike.
    normal = F.normalize(torch.tensor([0.2, 0.4, 0.8]), dim=0)
    torch.testing.assert_close(found.direction[2] @ normal, direction[2] @ (rotation @ normal))
    sin = math.sin(math.radians(85))  # It keeps coming from the front.
    torch.testing.assert_close(
        found.direction[3], torch.tensor([-sin, 0, 0.2]) / math.hypot(sin, 0.2)
    )  # From the front
    assert torch.equal(found.ambient, camera.ambient)
    assert torch.equal(found.diffuse, camera.diffuse)


def test_brightness_within_the_mask_is_made_equal(rng: torch.Generator) -> None:
    like = torch.rand(2, 3, 6, 6, generator=rng) * 2 - 1
    mask = (torch.rand(2, 1, 6, 6, generator=rng) < 0.6).float()
    factor = torch.tensor([0.5, 0.8, 1.3]).view(3, 1, 1)
    image = ((like / 2 + 0.5) / factor) * 2 - 1
    spoilt = torch.where(mask > 0, image, 17.0).requires_grad_()
    found = equally_bright(spoilt, like, mask)
    torch.testing.assert_close(found * mask, like * mask)
    found.sum().backward()
    assert spoilt.grad is not None
    torch.testing.assert_close(spoilt.grad, factor.expand_as(image))  # The factor is taken as a constant.
    black = equally_bright(torch.full((1, 3, 6, 6), -1.0), like[:1], torch.zeros(1, 1, 6, 6))
    assert torch.equal(black, torch.full_like(black, -1))
