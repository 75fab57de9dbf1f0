"""PSNR and SSIM inside a mask, against loops in float64 and analytic cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gan2shape.evaluate.pictures import MOST_DB, psnr, ssim

SIZE = 16


def round_mask(count: int = 2) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return (torch.hypot(rows - 7.0, columns - 8.0) < 6)[None, None].expand(count, -1, -1, -1)


def slow_ssim(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> float:
    """Every masked pixel of every channel, with the weights of the masked pixels of its 11 × 11 window."""
    values = []
    for x, y in zip(a, b, strict=True):
        for row, column in zip(*np.nonzero(mask), strict=True):
            weights, first, second = [], [], []
            for r in range(max(0, row - 5), min(SIZE, row + 6)):
                for c in range(max(0, column - 5), min(SIZE, column + 6)):
                    if mask[r, c]:
                        weights.append(math.exp(-((r - row) ** 2 + (c - column) ** 2) / (2 * 1.5**2)))
                        first.append(x[r, c])
                        second.append(y[r, c])
            w, p, q = (np.array(v, dtype=np.float64) for v in (weights, first, second))
            w /= w.sum()
            mp, mq = (w * p).sum(), (w * q).sum()
            vp, vq, cov = (w * (p - mp) ** 2).sum(), (w * (q - mq) ** 2).sum(), (w * (p - mp) * (q - mq)).sum()
            top = (2 * mp * mq + 1e-4) * (2 * cov + 9e-4)
            values.append(top / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4)))
    return float(np.mean(values))


def test_psnr_is_that_of_the_slow_loops(rng: torch.Generator) -> None:
    a, b = torch.rand(2, 2, 3, SIZE, SIZE, generator=rng)
    mask = round_mask()
    for index in range(2):
        squares = [
            (float(a[index, channel, row, column]) - float(b[index, channel, row, column])) ** 2
            for channel in range(3)
            for row, column in mask[index, 0].nonzero().tolist()
        ]
        expected = 10 * math.log10(1 / (sum(squares) / len(squares)))
        assert float(psnr(a, b, mask)[index]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("error, decibel", [(0.1, 20), (0.01, 40), (1.0, 0)])
def test_psnr_of_a_known_error(error: float, decibel: float) -> None:
    black = torch.zeros(1, 3, SIZE, SIZE)
    assert float(psnr(black, black + error, round_mask(1))) == pytest.approx(decibel, abs=1e-4)


def test_equal_pictures_score_the_most_there_is(rng: torch.Generator) -> None:
    picture = torch.rand(2, 3, SIZE, SIZE, generator=rng)
    assert psnr(picture, picture, round_mask()).tolist() == [MOST_DB] * 2
    assert ssim(picture, picture, round_mask()).tolist() == pytest.approx([1, 1])


def test_ssim_is_that_of_the_slow_loops(rng: torch.Generator) -> None:
    a = torch.rand(2, 3, SIZE, SIZE, generator=rng)
    b = (a + 0.3 * torch.randn(a.shape, generator=rng)).clamp(0, 1)
    found = ssim(a, b, round_mask())
    for index in range(2):
        expected = slow_ssim(a[index].numpy(), b[index].numpy(), round_mask()[index, 0].numpy())
        assert float(found[index]) == pytest.approx(expected, abs=1e-5)


def test_ssim_of_plain_pictures_is_the_luminance_term() -> None:
    """Without any variance only (2ab + C1) / (a² + b² + C1) is left."""
    a, b = torch.full((1, 3, SIZE, SIZE), 0.4), torch.full((1, 3, SIZE, SIZE), 0.6)
    expected = (2 * 0.4 * 0.6 + 1e-4) / (0.4**2 + 0.6**2 + 1e-4)
    assert float(ssim(a, b, round_mask(1))) == pytest.approx(expected, abs=1e-6)


def test_the_negative_is_unlike(rng: torch.Generator) -> None:
    picture = torch.rand(1, 1, SIZE, SIZE, generator=rng)
    assert float(ssim(picture, 1 - picture, round_mask(1))) < -0.5


def test_the_background_does_not_count(rng: torch.Generator) -> None:
    a, b, c = torch.rand(3, 2, 3, SIZE, SIZE, generator=rng)
    mask = round_mask()
    for measure in (psnr, ssim):
        torch.testing.assert_close(measure(torch.where(mask, a, c), b, mask), measure(a, b, mask))
        spoiled = torch.where(mask, a, torch.nan)
        torch.testing.assert_close(measure(spoiled, b, mask), measure(a, b, mask))


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_an_empty_mask_is_refused(measure: object) -> None:
    mask = round_mask().clone()
    mask[1] = False
    with pytest.raises(ValueError, match="at least one pixel"):
        measure(torch.zeros(2, 3, SIZE, SIZE), torch.zeros(2, 3, SIZE, SIZE), mask)  # type: ignore[operator]
