"""Colours of skin, eyes and hair."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan2shape.data.albedo import BRIGHTEST, DARKEST, Places, albedo, hair_cover
from gan2shape.data.draws import Drawn, draw_heads
from gan2shape.data.look import DETAILED, PLAIN
from tests.data.small import NAMES

BALD = {"hair_weight": 0.0, "beard_weight": 0.0, "cheeks": 0.0, "waves": 0.0, "wave_phases": 0.0}


def heads(count: int, **fixed: float) -> Drawn:
    drawn = draw_heads(1, range(count), 2, NAMES)
    return Drawn({k: torch.full_like(v, fixed[k]) if k in fixed else v for k, v in drawn.values.items()})


def places(count: int, chart: list[list[float]], points: list[list[float]]) -> Places:
    """The same points (N, 6) and (N, 3) on every head."""
    return Places(
        torch.tensor(chart).T.expand(count, 6, -1),
        torch.tensor(points).T.expand(count, 3, -1),
    )


def colour_at(drawn: Drawn, chart: list[float], point: list[float]) -> Tensor:
    return albedo(places(len(drawn), [chart], [point]), drawn, PLAIN)[:, :, 0]


def test_bare_skin_is_the_skin_colour() -> None:
    drawn = heads(6, **BALD)
    # The forehead's middle: no cheek, lip, brow or rim of an eye within reach.
    colour = colour_at(drawn, [0.0, 0.95, 1, 0, 0, 0], [0.0, 8.0, 9.0])
    assert torch.allclose(colour, drawn["skin"].clamp(DARKEST, BRIGHTEST), atol=2e-3)


def test_eyeball_from_the_middle_outwards() -> None:
    drawn = heads(6, **BALD)
    point = [3.0, 3.6, 9.5]
    pupil = colour_at(drawn, [0.2, 0.5, 0, 0.0, 0.05, 1], point)
    iris = colour_at(drawn, [0.2, 0.5, 0, 0.3, 0.25, 1], point)
    white = colour_at(drawn, [0.2, 0.5, 0, 0.9, 0.9, 1], point)
    behind = colour_at(drawn, [0.2, 0.5, 0, 0.0, 0.05, 2], point)
    assert torch.allclose(pupil, torch.full((6, 3), 0.02))
    ratio = iris / drawn["iris"]
    assert torch.allclose(ratio, ratio[:, :1].expand(-1, 3), atol=1e-4)  # The iris's own hue.
    assert torch.allclose(white, torch.tensor([0.82, 0.80, 0.78]).expand(6, 3), atol=1e-6)
    assert torch.equal(behind, white)


def test_lips_and_brows_are_on_the_face_only() -> None:
    drawn = heads(6, **BALD)
    for chart, name in (([0.0, 0.432], "lips"), ([0.16, 0.795], "hair")):
        bare = colour_at(drawn, [*chart, 0, 0, 0, 0], [0.0, 0.0, 0.0])
        painted = colour_at(drawn, [*chart, 1, 0, 0, 0], [0.0, 0.0, 0.0])
        assert torch.allclose(bare, drawn["skin"].clamp(DARKEST, BRIGHTEST), atol=2e-3)
        wanted = drawn[name].clamp(DARKEST, BRIGHTEST)
        assert ((painted - wanted).norm(dim=1) < (bare - wanted).norm(dim=1) + 1e-6).all()
        assert (painted - bare).norm(dim=1).max() > 0.05


def test_hair_begins_at_its_line() -> None:
    drawn = heads(8, hair_weight=1.0)
    line, slope, side = drawn["hair_line"].T
    x, z = 1.0, 6.0
    edge = line + slope * 1.2 * (z - 4) + side * x
    for above, wanted in ((-0.1, 0.0), (0.35, 0.5), (0.8, 1.0)):
        point = torch.stack([torch.full_like(edge, x), edge + above, torch.full_like(edge, z)], 1).unsqueeze(2)
        cover = hair_cover(point, torch.ones(8, 1), drawn)
        assert torch.allclose(cover, torch.full((8, 1), wanted), atol=1e-3)
    low = torch.tensor([0.0, -9.0, -9.0]).view(1, 3, 1).expand(8, 3, 1)
    assert (hair_cover(low, torch.zeros(8, 1), drawn) == 0).all()
    assert (hair_cover(point, torch.ones(8, 1), heads(8, hair_weight=0.0)) == 0).all()


@pytest.mark.parametrize("look", [PLAIN, DETAILED], ids=lambda look: look.name)
def test_colours_are_colours_everywhere(look: object) -> None:
    rng = torch.Generator().manual_seed(0)
    chart = torch.rand(4, 6, 500, generator=rng)
    chart[:, 5] = (chart[:, 5] * 3).floor()
    chart[:, 2] = chart[:, 2].round()
    point = (torch.rand(4, 3, 500, generator=rng) - 0.5) * 30
    colour = albedo(Places(chart, point), heads(4), look)  # type: ignore[arg-type]
    assert colour.shape == (4, 3, 500)
    assert colour.isfinite().all()
    assert colour.min() >= DARKEST
    assert colour.max() <= BRIGHTEST
