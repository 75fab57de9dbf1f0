"""Poses and lights: moments, ranges, order of drawing, determinism."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys

import pytest
import torch

from gan2shape.priors import GENERIC_LIGHTING, GENERIC_POSE, SYNFACE_LIGHTING, LightingPrior, PosePrior
from gan2shape.render.shading import Lighting
from gan2shape.render.units import PoseRange, lighting_from_units, pose_to_units

COUNT = 20_000


def _base(ambient: float = 0.4, diffuse: float = 0.5) -> Lighting:
    return Lighting(torch.tensor([[ambient]]), torch.tensor([[diffuse]]), torch.tensor([[0.0, 0.0, 1.0]]))


def test_generic_poses_have_the_stated_spread(rng: torch.Generator) -> None:
    pose = GENERIC_POSE.sample(COUNT, rng=rng)
    angles = torch.rad2deg(pose.euler())
    assert angles.std(dim=0).tolist() == pytest.approx([8, 20, 3], rel=0.03)
    assert angles.mean(dim=0).abs().max() < 0.5
    assert pose.translation.std(dim=0).tolist() == pytest.approx([0.005, 0.005, 0], rel=0.03)


def test_from_degrees_gives_the_same_poses_in_any_range(rng: torch.Generator) -> None:
    ranges = PoseRange(rotation_deg=90, xy_translation=0.2, z_translation=0.1)
    prior = PosePrior.from_degrees(pitch_deg=5, yaw_deg=10, roll_deg=2, translation=0.01, ranges=ranges)
    pose = prior.sample(COUNT, rng=rng, ranges=ranges)
    assert torch.rad2deg(pose.euler()).std(dim=0).tolist() == pytest.approx([5, 10, 2], rel=0.03)
    assert pose.translation.std(dim=0).tolist() == pytest.approx([0.01] * 3, rel=0.03)
    assert PosePrior.from_degrees() == GENERIC_POSE


def test_yaw_scale_stretches_mean_and_spread(rng: torch.Generator) -> None:
    plain = PosePrior(mean=(0.1, 0.2, 0.0, 0.0, 0.0, 0.0))
    wide = dataclasses.replace(plain, yaw_scale=1.2)
    drawn = plain.sample_units(8, rng=rng)
    scaled = wide.sample_units(8, rng=torch.Generator().manual_seed(0))
    assert torch.allclose(scaled[:, 1], 1.2 * drawn[:, 1])
    assert torch.equal(scaled[:, [0, 2, 3, 4, 5]], drawn[:, [0, 2, 3, 4, 5]])


def test_covariance_is_reproduced_even_if_singular(rng: torch.Generator) -> None:
    factor = torch.randn(6, 4, generator=rng, dtype=torch.float64) * 0.3  # rank 4
    covariance = factor @ factor.T
    rows = tuple(tuple(row) for row in covariance.tolist())
    drawn = PosePrior(mean=(0.5, 0, 0, 0, 0, -1), covariance=rows).sample_units(COUNT, rng=rng).double()
    assert torch.allclose(torch.cov(drawn.T), covariance, atol=0.03)
    assert torch.allclose(drawn.mean(dim=0), torch.tensor([0.5, 0, 0, 0, 0, -1]).double(), atol=0.03)


def test_units_survive_the_way_through_poses(rng: torch.Generator) -> None:
    ranges = PoseRange(z_translation=0.1)
    units = GENERIC_POSE.sample_units(20, rng=rng)
    pose = GENERIC_POSE.sample(20, rng=torch.Generator().manual_seed(0), ranges=ranges)
    assert torch.allclose(pose_to_units(pose, ranges), units, atol=1e-5)


def test_lights_are_drawn_in_the_documented_order() -> None:
    light = GENERIC_LIGHTING.sample(5, _base(), rng=torch.Generator().manual_seed(3))
    rng = torch.Generator().manual_seed(3)
    x = torch.rand(5, 1, generator=rng) * 2 - 1
    y = torch.rand(5, 1, generator=rng) - 0.2
    strength = torch.rand(5, 1, generator=rng) * 0.7 - 0.1
    assert torch.allclose(light.ambient, 0.4 - 0.6 * strength)
    assert torch.allclose(light.diffuse, 0.5 + strength)
    assert torch.allclose(light.direction[:, :1] / light.direction[:, 2:], x, atol=1e-5)
    assert torch.allclose(light.direction[:, 1:2] / light.direction[:, 2:], y, atol=1e-5)
    assert torch.allclose(light.direction.norm(dim=1), torch.ones(5))


def test_synface_lights_keep_to_their_ranges(rng: torch.Generator) -> None:
    light = SYNFACE_LIGHTING.sample(COUNT, _base(), rng=rng)
    slopes = light.direction[:, :2] / light.direction[:, 2:]
    assert slopes.min(dim=0).values.tolist() == pytest.approx([-0.9, -0.3], abs=0.01)
    assert slopes.max(dim=0).values.tolist() == pytest.approx([0.9, 0.8], abs=0.01)
    strength = light.diffuse - 0.5
    assert [strength.min().item(), strength.max().item()] == pytest.approx([-0.1, 0.7], abs=0.01)
    assert torch.allclose(light.ambient, 0.4 - 0.4 * strength, atol=1e-6)


def test_each_picture_of_a_batch_keeps_its_own_light() -> None:
    base = Lighting(torch.tensor([[0.1], [0.9]]), torch.zeros(2, 1), torch.tensor([[0.0, 0.0, 1.0]] * 2))
    still = LightingPrior(strength_min=0.0, strength_max=0.0)
    assert torch.equal(still.sample(2, base, rng=torch.Generator()).ambient, base.ambient)


def test_dtype_follows_the_base() -> None:
    base = Lighting(torch.ones(1, 1).double(), torch.ones(1, 1).double(), torch.tensor([[0.0, 0.0, 1.0]]).double())
    assert GENERIC_LIGHTING.sample(2, base, rng=torch.Generator()).direction.dtype == torch.float64


def test_mean_light_in_network_units() -> None:
    assert GENERIC_LIGHTING.mean_units == pytest.approx((-0.1, 0.2, 0.0, 0.25))
    light = lighting_from_units(torch.tensor([GENERIC_LIGHTING.mean_units]))
    assert light.ambient.item() == pytest.approx(0.45)
    assert light.diffuse.item() == pytest.approx(0.6)
    assert light.direction[0, 1].item() == pytest.approx(0.25 / math.hypot(0.25, 1))


def test_same_seed_same_draw() -> None:
    first, second = (GENERIC_POSE.sample_units(4, rng=torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)


def test_round_trips_through_json() -> None:
    prior = PosePrior(covariance=tuple(tuple(float(i == j) for j in range(6)) for i in range(6)), yaw_scale=1.2)
    data = json.loads(json.dumps(dataclasses.asdict(prior)))
    data = {
        key: tuple(tuple(v) if isinstance(v, list) else v for v in value) if isinstance(value, list) else value
        for key, value in data.items()
    }
    assert PosePrior(**data) == prior


def test_impossible_numbers_are_refused(rng: torch.Generator) -> None:
    with pytest.raises(ValueError, match="6 numbers"):
        PosePrior(mean=(0.0,) * 5)
    with pytest.raises(ValueError, match="finite"):
        PosePrior(mean=(math.nan, 0, 0, 0, 0, 0))
    with pytest.raises(ValueError, match="6 rows of 6"):
        PosePrior(covariance=((1.0,) * 6,) * 5)
    negative = tuple(tuple(-float(i == j) for j in range(6)) for i in range(6))
    with pytest.raises(ValueError, match="semi-definite"):
        PosePrior(covariance=negative).sample_units(1, rng=rng)
    with pytest.raises(ValueError, match="must not exceed"):
        LightingPrior(x_min=2.0)


def test_configurations_load_no_torch() -> None:
    code = (
        "import sys, gan2shape.networks.widths, gan2shape.priors.distributions, gan2shape.priors.ellipsoid\n"
        "from gan2shape.priors import auto_mask\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
