"""Network units to poses and lights and back."""

from __future__ import annotations

import math

import pytest
import torch

from gan2shape.render.shading import Lighting
from gan2shape.render.units import PoseRange, lighting_from_units, lighting_to_units, pose_from_units, pose_to_units


def test_one_unit_is_the_methods_range() -> None:
    pose = pose_from_units(torch.tensor([[0.0, 0.5, 0.0, 1.0, -1.0, 1.0]]).double())
    c, s = math.cos(math.pi / 6), math.sin(math.pi / 6)  # half of 60°
    turn = torch.tensor([[[c, 0, s], [0, 1, 0], [-s, 0, c]]]).double()
    assert torch.allclose(pose.rotation, turn)
    assert torch.allclose(pose.translation, torch.tensor([[0.1, -0.1, 0.0]]).double())


def test_pose_round_trip(rng: torch.Generator) -> None:
    units = torch.rand(50, 6, generator=rng, dtype=torch.float64) * 2 - 1
    ranges = PoseRange(rotation_deg=80, xy_translation=0.3, z_translation=0.2)
    assert torch.allclose(pose_to_units(pose_from_units(units, ranges), ranges), units, atol=1e-12)
    units[:, 5] = 0  # what a range of zero cannot say
    assert torch.allclose(pose_to_units(pose_from_units(units)), units, atol=1e-12)


def test_light_of_known_units() -> None:
    light = lighting_from_units(torch.tensor([[-0.2, 0.4, 3.0, 4.0]]).double())
    assert light.ambient.item() == pytest.approx(0.4)
    assert light.diffuse.item() == pytest.approx(0.7)
    assert torch.allclose(light.direction * math.sqrt(26), torch.tensor([[3.0, 4.0, 1.0]]).double())


def test_light_round_trip(rng: torch.Generator) -> None:
    units = torch.randn(50, 4, generator=rng, dtype=torch.float64)
    assert torch.allclose(lighting_to_units(lighting_from_units(units)), units, atol=1e-12)


def test_gradients_reach_the_units() -> None:
    units = torch.tensor([[0.1, -0.2, 0.3, 0.4, 0.5, 0.6]]).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda u: pose_from_units(u, PoseRange(z_translation=0.1)).rotation, (units,))
    light = torch.tensor([[0.1, -0.2, 0.3, 0.4]]).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda u: lighting_from_units(u).direction, (light,))


def test_what_cannot_be_said_is_refused() -> None:
    backwards = Lighting(torch.ones(1, 1), torch.ones(1, 1), torch.tensor([[0.0, 0.0, -1.0]]))
    with pytest.raises(ValueError, match="z > 0"):
        lighting_to_units(backwards)
    with pytest.raises(ValueError, match=r"\(B, 6\)"):
        pose_from_units(torch.zeros(1, 5))
    with pytest.raises(ValueError, match=r"\(B, 4\)"):
        lighting_from_units(torch.zeros(4))
