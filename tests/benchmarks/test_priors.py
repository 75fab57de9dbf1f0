"""The script benchmarks/priors.py: what the rows differ in."""

from __future__ import annotations

from types import ModuleType

import pytest

from gan2shape.reconstruct.presets import PRESETS
from tests.benchmarks.conftest import script


@pytest.fixture
def priors(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("priors", monkeypatch)


def test_the_factor_on_the_drawn_yaw_stays(priors: ModuleType) -> None:
    preset = PRESETS["ellipsoid"]
    applied = priors.Priors(priors.PosePrior(mean=(0.5, 0, 0, 0, 0, 0)), priors.LightingPrior()).applied_to(preset)
    assert applied.pose.yaw_scale == preset.pose.yaw_scale != 1.0
    assert applied.pose.mean[0] == 0.5
    assert applied.lighting == priors.LightingPrior()
    assert applied.stages == preset.stages
