"""Pictures and their mirror images: rendered heads that are alike on both sides, and the parts by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.networks.agreement import shading_of
from gan2shape.networks.mirror import WIDEST_DEG, framed, mirror_disagreement, solve_sideways
from gan2shape.networks.trained import NetworkSizes
from gan2shape.networks.turned import TurnedNetworks
from gan2shape.networks.turning import TURN_DEG, pose_of_moves
from gan2shape.render import Camera, Pose, normals_from_depth
from gan2shape.render.warp import visible
from tests.train.turnable import EVEN, Says, head, rendered
from tests.train.turnable import Heads as Rendered

SIZE, FAR = 64, 1.02
LEFT, RIGHT, TOP = (0.0, 0.0, 0.5, 0.0), (-0.2, 0.3, -0.6, 0.2), (0.2, 0.0, 0.1, 0.6)
"""Lights as network numbers, in the camera's axes."""


def shown(yaw_deg: float, light: tuple[float, ...], pitch_deg: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """A head's picture and mask (1, ., S, S), and its true depth."""
    depth, mask = head(Rendered(SIZE).camera)
    return (*rendered([(pitch_deg, yaw_deg)], [light], depth, mask, lopsided=0.0), depth)


def units_of(yaw_deg: float, roll_deg: float = 0.0, pitch_deg: float = 0.0) -> Tensor:
    return pose_of_moves(torch.tensor([yaw_deg / TURN_DEG]), torch.tensor([pitch_deg]), torch.tensor([roll_deg]))


def knowing(light: tuple[float, ...]) -> TurnedNetworks:
    """Networks that say this light; what they see else is no matter."""
    network = TurnedNetworks(NetworkSizes.scaled(SIZE, 1 / 32))
    network.light_net = Says(light)
    return network


@pytest.mark.parametrize("light", [EVEN, LEFT, RIGHT, TOP])
@pytest.mark.parametrize("yaw_deg", [9.0, -12.0])
def test_true_depth_and_pose_agree_whatever_side_the_light_comes_from(yaw_deg: float, light: tuple[float, ...]) -> None:
    """The network says nothing of the side; it is solved for."""
    image, mask, depth = shown(yaw_deg, light)
    network = knowing((light[0], light[1], 0.0, light[3]))

    def error(depth: Tensor, units: Tensor) -> float:
        with torch.no_grad():
            return float(mirror_disagreement(network, depth, image, mask, units)[0])

    right = error(depth, units_of(yaw_deg))
    assert 0 < right < 0.03
    assert error(depth, units_of(0)) > 1.3 * right
    assert error(depth, units_of(-yaw_deg)) > 2 * right
    assert error(depth, units_of(yaw_deg, roll_deg=8)) > 1.3 * right
    assert error(torch.full_like(depth, FAR), units_of(yaw_deg)) > 1.3 * right
    assert error(2.0 - depth, units_of(yaw_deg)) > 2 * right  # Hollow.


def test_a_head_that_nods_agrees_under_its_nod() -> None:
    """Both images nod alike, so the pitch counts as it is."""
    image, mask, depth = shown(10.0, EVEN, pitch_deg=8.0)
    with torch.no_grad():
        true, none, wrong = (
            float(mirror_disagreement(knowing(EVEN), depth, image, mask, units_of(10.0, pitch_deg=nod))[0])
            for nod in (8.0, 0.0, -8.0)
        )
    assert 0 < true < 0.01
    assert none > 3 * true
    assert wrong > 1.3 * none


def test_slopes_of_yaw_roll_and_relief_point_to_the_truth_and_the_pitch_has_none() -> None:
    image, mask, depth = shown(15.0, EVEN)
    for yaw_deg, roll_deg, place, sign in (
        (11.0, 0.0, 1, -1),
        (19.0, 0.0, 1, 1),
        (15.0, -5.0, 2, -1),
        (15.0, 5.0, 2, 1),
    ):
        units = units_of(yaw_deg, roll_deg).requires_grad_()
        mirror_disagreement(knowing(EVEN), depth, image, mask, units).sum().backward()
        assert units.grad is not None
        assert torch.sign(units.grad[0, place]) == sign
        assert units.grad[0, 0] == 0
    image, mask, depth = shown(9.0, EVEN)
    for share, sign in ((0.6, -1), (1.2, 1)):
        scale = torch.tensor(share, requires_grad=True)
        mirror_disagreement(knowing(EVEN), FAR + scale * (depth - FAR), image, mask, units_of(9.0)).sum().backward()
        assert scale.grad is not None
        assert torch.sign(scale.grad) == sign


def test_a_head_that_is_turned_too_far_or_hardly_seen_is_not_compared() -> None:
    image, mask, depth = shown(20.0, EVEN)
    for units, known in ((units_of(WIDEST_DEG + 1), mask), (units_of(20.0), torch.zeros_like(mask))):
        units = units.requires_grad_()
        error = mirror_disagreement(knowing(EVEN), depth, image, known, units)
        assert error.tolist() == [0.0]
        error.sum().backward()
        assert units.grad is not None
        assert bool((units.grad == 0).all())


def test_a_batch_is_its_pictures() -> None:
    pictures = [shown(yaw, light) for yaw, light in ((10.0, LEFT), (-25.0, TOP))]
    units = torch.cat([units_of(10.0), units_of(-25.0)])
    image, mask, depth = (torch.cat(parts) for parts in zip(*pictures, strict=True))
    with torch.no_grad():
        both = mirror_disagreement(knowing(EVEN), depth, image, mask, units)
        for place, (picture, known, shape) in enumerate(pictures):
            alone = mirror_disagreement(knowing(EVEN), shape, picture, known, units[place : place + 1])
            torch.testing.assert_close(both[place], alone[0])


def test_the_side_that_the_light_comes_from_is_found() -> None:
    """Colours that were lit by hand; a wrong side is told, all else is right."""
    depth, mask = head(Camera(SIZE))
    normals, rng = normals_from_depth(depth, Camera(SIZE)), torch.Generator().manual_seed(0)
    albedo = 0.2 + 0.6 * torch.rand(1, 3, SIZE, SIZE, generator=rng)
    for side in (0.3, -0.2, 0.0):
        light = torch.tensor([[0.5, side, 0.1, 0.45]])
        other = light * torch.tensor([1.0, -1.0, 1.0, 1.0])
        one, two = (albedo * shading_of(own, normals) for own in (light, other))
        near = torch.tensor([[0.5, -side, 0.1, 0.45]])
        found = solve_sideways(one, two, normals, mask, near)
        torch.testing.assert_close(found, light, atol=0.03, rtol=0)


def test_a_hidden_side_is_not_seen() -> None:
    """Of a half ellipsoid that is turned by 50° a strip at the left is hidden; nothing is from the front."""
    camera = Rendered(SIZE).camera
    depth, mask = head(camera)
    turned = Pose.from_euler(torch.tensor([[0.0, math.radians(50), 0.0]]))
    here = visible(depth, turned, camera, behind=0.006) & (mask > 0)
    flat = F.max_pool2d(-mask, 5, stride=1, padding=2) < -0.5
    sides = here.float().flatten(2).unflatten(2, (SIZE, 2, SIZE // 2)).sum((0, 1, 2, 4))
    assert float(sides[0]) < 0.7 * float(sides[1])
    assert bool((visible(depth, Pose.identity(1, like=depth), camera, behind=0.006) | ~flat).all())


def test_a_framed_mask_ends_before_the_picture_does() -> None:
    mask = framed(torch.ones(2, 1, 64, 64))
    assert float(mask[..., 2:-2, 2:-2].min()) == 1
    assert float(mask.sum()) == 2 * 60 * 60
    assert float(framed(torch.ones(1, 1, 32, 32)).sum()) == 30 * 30
    assert bool((framed(torch.ones(1, 1, 16, 16)) == 1).all())
