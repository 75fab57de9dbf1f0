"""The random numbers: by number alone, and of the recipe's distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gan2shape.data.draws import Drawn, draw_heads, draw_views
from tests.data.small import NAMES

COUNT = 1500


@pytest.fixture(scope="module")
def views() -> Drawn:
    return draw_views(3, range(COUNT))


@pytest.fixture(scope="module")
def heads() -> Drawn:
    return draw_heads(3, range(COUNT), 4, NAMES)


def test_a_number_decides_alone() -> None:
    for all_of_them, some in (
        (draw_views(5, range(20)), draw_views(5, [13, 2])),
        (draw_heads(5, range(20), 6, NAMES), draw_heads(5, [13, 2], 6, NAMES)),
    ):
        for name, value in some.values.items():
            assert torch.equal(value, all_of_them[name][[13, 2]]), name
            assert value.dtype == torch.float32
    assert not torch.equal(draw_views(5, [1])["view"], draw_views(6, [1])["view"])
    assert not torch.equal(draw_views(5, [1])["view"], draw_views(5, [2])["view"])
    assert draw_views(-1, [0])["view"].isfinite().all()


def clipped_normal_std(std: float, limit: float) -> float:
    """Standard deviation of a normal variable held within ±limit, by numerical integration."""
    x = np.linspace(-8 * std, 8 * std, 200_001)
    density = np.exp(-0.5 * (x / std) ** 2)
    return math.sqrt((np.clip(x, -limit, limit) ** 2 * density).sum() / density.sum())


def test_poses(views: Drawn) -> None:
    view, translation = views["view"].double(), views["translation"].double()
    for column, (std, limit) in enumerate(((8, 20), (25, 60), (3, math.inf))):
        wanted = clipped_normal_std(std, limit)
        assert abs(view[:, column].mean()) < 4 * wanted / math.sqrt(COUNT)
        assert float(view[:, column].std()) == pytest.approx(wanted, rel=4 / math.sqrt(2 * COUNT))
        assert view[:, column].abs().max() <= limit
    assert float(translation[:, :2].std()) == pytest.approx(0.002, rel=0.1)
    assert (translation[:, 2] == 0).all()


def test_light(views: Drawn) -> None:
    for name, low, high in (("ambient", 0.25, 0.65), ("diffuse", 0.35, 0.85)):
        ordered = views[name][:, 0].sort().values.numpy()
        wanted = np.linspace(low, high, COUNT)
        assert np.abs(ordered - wanted).max() < 2 * (high - low) / math.sqrt(COUNT)
        assert low <= ordered[0]
        assert ordered[-1] <= high
    light = views["light"]
    assert torch.allclose(light.norm(dim=1), torch.ones(COUNT))
    assert (light[:, 2] > 0).all()
    slopes = (light[:, :2] / light[:, 2:]).double()
    # x is uniform on ±1, and half as wide again in 30 of 100 pictures; y lies between -0.4 and 0.9, likewise.
    assert float(slopes[:, 0].square().mean()) == pytest.approx((0.7 + 0.3 * 2.25) / 3, rel=0.1)
    assert float(slopes[:, 1].mean()) == pytest.approx(0.25 * (0.7 + 0.3 * 1.5), abs=0.05)
    assert slopes[:, 0].abs().max() <= 1.5 + 1e-6
    assert slopes[:, 1].min() >= -0.6 - 1e-6
    assert slopes[:, 1].max() <= 1.35 + 1e-6


def test_background(views: Drawn) -> None:
    ends = views["background"]
    assert ends.shape == (COUNT, 2, 3)
    assert ends.min() >= 0
    assert ends.max() <= 1
    assert float(ends[:, 0].mean()) == pytest.approx(0.5, abs=0.02)


def test_heads(heads: Drawn) -> None:
    identity, expression = heads["identity"], heads["expression"]
    assert float(identity.std()) == pytest.approx(1.4, rel=0.05)
    assert (expression[:, NAMES.index("jawOpen")] == 0).all()
    assert expression.min() >= 0
    assert expression.max() <= 0.8
    # Four of the five shapes are drawn in 70 of 100 heads, and the jaw is among them in four of five.
    active = (expression > 0).sum(1).float()
    assert float((active > 0).float().mean()) == pytest.approx(0.7, abs=0.05)
    assert float(active[active > 0].mean()) == pytest.approx(3.2, abs=0.1)
    assert float(heads["hair_weight"].mean()) == pytest.approx(0.85, abs=0.04)
    assert float((heads["beard_weight"] > 0).float().mean()) == pytest.approx(0.25, abs=0.05)
    assert heads["beard_weight"].max() <= 0.6
    # The mean of the two ends of the skin's ramp, times the mean brightness.
    assert torch.allclose(heads["skin"].mean(0), torch.tensor([0.675, 0.515, 0.425]) * 0.975, atol=0.02)


def test_a_model_of_few_shapes() -> None:
    assert draw_heads(0, range(9), 1, ("smile",))["expression"].shape == (9, 1)
    assert draw_heads(0, range(9), 1, ())["expression"].shape == (9, 0)


def test_select_and_move(heads: Drawn) -> None:
    some = heads.select(torch.tensor([3, 3, 1])).to("cpu")
    assert len(some) == 3
    assert torch.equal(some["identity"][0], heads["identity"][3])
    assert torch.equal(some["identity"][2], heads["identity"][1])
