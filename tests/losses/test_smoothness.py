"""Second differences of polynomials, known by hand, and a loop over pixels."""

from __future__ import annotations

import pytest
import torch

from gan2shape.losses import smoothness


def _grid(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return y.double()[None, None], x.double()[None, None]


def test_quadratic_has_constant_second_differences() -> None:
    y, x = _grid(7, 9)
    # xx gives 2a, yy gives 2c, xy and yx give b each.
    assert smoothness(0.3 * x * x - 0.7 * x * y + 1.1 * y * y).item() == pytest.approx(0.6 + 2 * 0.7 + 2.2)


def test_planes_cost_nothing() -> None:
    y, x = _grid(8, 8)
    assert smoothness(3 * x - 2 * y + 5).item() == pytest.approx(0, abs=1e-12)


def test_equals_a_loop_over_pixels(rng: torch.Generator) -> None:
    values = torch.randn(2, 2, 5, 6, generator=rng, dtype=torch.float64)
    v = values.numpy().reshape(4, 5, 6)
    xx = [abs(m[i, j] - 2 * m[i, j + 1] + m[i, j + 2]) for m in v for i in range(5) for j in range(4)]
    yy = [abs(m[i, j] - 2 * m[i + 1, j] + m[i + 2, j]) for m in v for i in range(3) for j in range(6)]
    xy = [abs(m[i + 1, j + 1] - m[i, j + 1] - m[i + 1, j] + m[i, j]) for m in v for i in range(4) for j in range(5)]
    expected = sum(xx) / len(xx) + sum(yy) / len(yy) + 2 * sum(xy) / len(xy)
    assert smoothness(values).item() == pytest.approx(expected)


def test_too_small_maps_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 3×3"):
        smoothness(torch.zeros(1, 1, 2, 5))
