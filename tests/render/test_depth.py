from __future__ import annotations

import math

import pytest
import torch

from gan2shape.render import DepthRange


def test_the_published_numbers() -> None:
    default = DepthRange()
    assert default.margin == pytest.approx(0.1)
    assert default.hit_limit == pytest.approx(1.2)
    assert default.border_depth == pytest.approx(1.04)
    assert DepthRange(border=1.07).border_depth == 1.07


def test_rescale_and_back() -> None:
    signed = torch.linspace(-1, 1, 9, dtype=torch.float64)
    depth = DepthRange().rescale(signed)
    torch.testing.assert_close(depth[[0, 4, 8]], torch.tensor([0.9, 1.0, 1.1], dtype=torch.float64))
    torch.testing.assert_close(DepthRange().to_signed(depth), signed)


def test_a_raw_map_pixel_by_pixel(rng: torch.Generator) -> None:
    """Against the formula written out for single numbers."""
    raw = torch.randn(2, 1, 5, 7, generator=rng, dtype=torch.float64)
    depth = DepthRange(border_weight=1.02).from_raw(raw)
    for b in range(2):
        mean = sum(raw[b].flatten().tolist()) / 35
        for r in range(5):
            for c in range(7):
                signed = math.tanh(raw[b, 0, r, c].item() - mean)
                expected = (1 + signed) / 2 * 1.1 + (1 - signed) / 2 * 0.9
                if c in (0, 1, 5, 6):
                    expected = 1.02 * 1.04 - 0.02 * expected
                assert depth[b, 0, r, c].item() == pytest.approx(expected, abs=1e-12)


def test_the_border_is_exact_and_has_no_gradient(rng: torch.Generator) -> None:
    raw = torch.randn(1, 1, 8, 8, generator=rng, requires_grad=True)
    depth = DepthRange().from_raw(raw)
    torch.testing.assert_close(depth[..., [0, 1, 6, 7]], torch.full((1, 1, 8, 4), 1.04))
    (inner,) = torch.autograd.grad(depth[..., 2:6].sum(), raw, retain_graph=True)
    (outer,) = torch.autograd.grad(depth[..., :2].sum(), raw)
    assert inner.abs().sum() > 0
    assert outer.abs().sum() == 0


def test_clamp() -> None:
    depth = torch.tensor([0.1, 0.8, 1.0, 1.2, 100.0])
    torch.testing.assert_close(DepthRange().clamp(depth), torch.tensor([0.8, 0.8, 1.0, 1.2, 1.2]))


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="near < far"):
        DepthRange(near=1.1, far=0.9)
    with pytest.raises(ValueError, match="raw depth"):
        DepthRange().from_raw(torch.zeros(1, 3, 4, 4))
