"""The lights, brightnesses and yaws of the training from turned views, by hand."""

from __future__ import annotations

import pytest
import torch

from gan2shape.render.units import pose_from_units
from gan2shape.train.turned import drawn_lights, equally_bright, pose_error, with_yaw


def test_drawn_lights(rng: torch.Generator) -> None:
    lights = drawn_lights(torch.zeros(500, 3, 2, 2), rng)
    torch.testing.assert_close(lights.ambient + lights.diffuse, torch.ones(500, 1))
    torch.testing.assert_close(lights.direction.norm(dim=1), torch.ones(500))
    slopes = lights.direction[:, :2] / lights.direction[:, 2:]
    for values, least, most in ((lights.diffuse, 0.4, 0.8), (slopes[:, 0], -0.9, 0.9), (slopes[:, 1], -0.9, 0.9)):
        assert least - 1e-6 <= values.min() < least + 0.05
        assert most - 0.05 < values.max() <= most + 1e-6


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


def test_a_yaw_that_was_read_takes_the_place_of_the_networks() -> None:
    units = torch.tensor([[0.1, 0.2, -0.3, 0.4, -0.5, 0.6], [-0.7, 0.8, 0.9, 0.0, 0.1, 0.2]], requires_grad=True)
    turns = torch.tensor([1.5, -0.6])
    found = with_yaw(units, turns)
    expected = torch.tensor([[0.1, 30 / 60, -0.3, 0.4, -0.5, 0.6], [-0.7, -12 / 60, 0.9, 0.0, 0.1, 0.2]])
    torch.testing.assert_close(found, expected)
    angles = torch.rad2deg(pose_from_units(found.detach() * torch.tensor([0.0, 1, 0, 0, 0, 0])).euler())
    torch.testing.assert_close(angles, torch.tensor([[0.0, 30, 0], [0.0, -12, 0]]))  # 20 degrees a deviation.
    found.sum().backward()
    assert units.grad is not None
    assert units.grad.tolist() == [[1, 0, 1, 1, 1, 1]] * 2


def test_the_error_of_a_pose() -> None:
    turns = torch.tensor([1.5, -0.6])  # Units of 0.5 and -0.2.
    units = torch.tensor([[0.1, 0.2, -0.3, 0.4, -0.5, 0.6], [-0.7, 0.8, 0.9, 0.0, 0.1, 0.2]])
    yaw = (0.3 + 1.0) / 2
    rest = (0.1 + 0.3 + 0.4 + 0.5 + 0.6 + 0.7 + 0.9 + 0.0 + 0.1 + 0.2) / 2
    assert pose_error(units, turns).item() == pytest.approx(yaw + 0.1 * rest)
    right = torch.tensor([[0.0, 0.5, 0, 0, 0, 0], [0.0, -0.2, 0, 0, 0, 0]])
    assert pose_error(right, turns).item() == pytest.approx(0, abs=1e-6)
    assert pose_error(right, -turns).item() == pytest.approx(0.7)
