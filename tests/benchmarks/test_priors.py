"""The script benchmarks/priors.py: priors estimated from what the networks see."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from gan2shape.generators import load_generator
from gan2shape.networks.trained import NetworkSizes
from gan2shape.networks.turned import TurnedNetworks
from gan2shape.reconstruct.presets import PRESETS
from tests.benchmarks.conftest import script


@pytest.fixture
def priors(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("priors", monkeypatch)


class _Says(nn.Module):
    """A network that says the same numbers of every picture, one of them growing from picture to picture."""

    def __init__(self, numbers: list[float], growing: int, step: float) -> None:
        super().__init__()
        self.numbers, self.growing, self.step, self.count = torch.tensor(numbers), growing, step, 0

    def forward(self, images: Tensor) -> Tensor:
        said = self.numbers.repeat(len(images), 1)
        said[:, self.growing] += self.step * (self.count + torch.arange(len(images)))
        self.count += len(images)
        return said


def test_estimated_priors_are_those_of_poses_and_lights_on_the_object(priors: ModuleType) -> None:
    """Yaw is 0, 1, ... 99 hundredths of 60 degrees; the light comes straight from the camera, so on the object its
    direction is minus tan(yaw), as far as it comes from the front."""
    networks = TurnedNetworks(NetworkSizes(64, map_width=8, vector_width=8, code_size=16))
    networks.view_net = _Says([0.1, 0.0, 0.0, 0.0, 0.2, 0.0], growing=1, step=0.005)  # type: ignore[assignment]
    networks.light_net = _Says([0.0, 0.0, 0.0, 0.0], growing=2, step=0.0)  # type: ignore[assignment]
    rng = torch.Generator().manual_seed(0)
    found = priors.estimated(networks, load_generator(), PRESETS["ellipsoid"], count=100, rng=rng)
    yaw = torch.arange(100) * 0.005
    mean = torch.tensor([0.1, yaw.mean(), 0.0, 0.0, 0.2, 0.0])
    torch.testing.assert_close(torch.tensor(found.pose.mean), mean, atol=1e-4, rtol=0)
    assert found.pose.std[1] == pytest.approx(float(yaw.std()), abs=1e-4)
    assert max(found.pose.std[:1] + found.pose.std[2:]) < 1e-4
    # In the object's axes: a nod of 6 degrees, R = Rx Ry Rz in some order, only magnitudes of x are compared.
    slope = [abs(math.tan(float(quantile) * math.pi / 3)) for quantile in yaw.quantile(torch.tensor([0.05, 0.95]))]
    seen = sorted([abs(found.lighting.x_min), abs(found.lighting.x_max)])
    assert seen == pytest.approx(slope, rel=0.02)
    assert found.lighting.mean_ambient == pytest.approx(0.5, abs=1e-4)
    assert found.lighting.strength_max - found.lighting.strength_min == pytest.approx(0.0, abs=1e-4)


def test_the_factor_on_the_drawn_yaw_stays(priors: ModuleType) -> None:
    preset = PRESETS["ellipsoid"]
    applied = priors.Priors(priors.PosePrior(mean=(0.5, 0, 0, 0, 0, 0)), priors.LightingPrior()).applied_to(preset)
    assert applied.pose.yaw_scale == preset.pose.yaw_scale != 1.0
    assert applied.pose.mean[0] == 0.5
    assert applied.lighting == priors.LightingPrior()
    assert applied.stages == preset.stages
