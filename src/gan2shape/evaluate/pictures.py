"""Likeness of two pictures inside a mask: PSNR and SSIM. Pictures are in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MOST_DB = 100.0
"""PSNR of equal pictures, and the most that any pair scores: a mean needs a finite number."""

WINDOW, SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def psnr(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB (B,) of pictures (B, C, H, W) in [0, 1] over the mask (B, 1, H, W) of booleans.

    At most `MOST_DB`. Raises ValueError for a mask without a pixel.
    """
    _check_not_empty(mask)
    ratios = []
    for one, other, m in zip(a, b, mask, strict=True):
        error = (one[:, m[0]].double() - other[:, m[0]].double()).square().mean()
        ratios.append(-10 * torch.log10(error.clamp(min=10 ** (-MOST_DB / 10))))
    return torch.stack(ratios).to(a.dtype)


def ssim(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Structural similarity (B,) of pictures (B, C, H, W) in [0, 1] over the mask (B, 1, H, W) of booleans.

    A Gaussian window of 11 × 11 pixels with σ = 1.5, population variances, K = 0.01 and 0.03, the mean over masked
    pixels and channels. Only masked pixels enter a window; its weights are normalised by their sum. With a full mask
    and away from the border this is the index of Wang et al. 2004. Raises ValueError for a mask without a pixel.
    """
    _check_not_empty(mask)
    channels = a.shape[1]
    kept = mask.expand(-1, channels, -1, -1)
    x, y = (torch.where(kept, picture.double(), 0.0) for picture in (a, b))
    weight = _blurred(mask.double()).clamp(min=torch.finfo(torch.float64).tiny)
    mean_x, mean_y, xx, yy, xy = (_blurred(values) / weight for values in (x, y, x * x, y * y, x * y))
    covariance = xy - mean_x * mean_y
    variances = xx - mean_x.square() + yy - mean_y.square()
    index = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    index = index / ((mean_x.square() + mean_y.square() + _C1) * (variances + _C2))
    return torch.stack([values[:, m[0]].mean() for values, m in zip(index, mask, strict=True)]).to(a.dtype)


def _blurred(values: Tensor) -> Tensor:
    """Every channel (B, C, H, W) weighted with the Gaussian window; outside the picture is 0."""
    channels = values.shape[1]
    steps = torch.arange(WINDOW, dtype=values.dtype, device=values.device) - WINDOW // 2
    line = torch.exp(-steps.square() / (2 * SIGMA**2))
    line = (line / line.sum()).view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    across = F.conv2d(values, line, padding=(0, WINDOW // 2), groups=channels)
    return F.conv2d(across, line.transpose(2, 3), padding=(WINDOW // 2, 0), groups=channels)


def _check_not_empty(mask: Tensor) -> None:
    if not bool(mask.flatten(1).any(1).all()):
        raise ValueError("expected a mask with at least one pixel in every picture")
