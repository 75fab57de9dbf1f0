"""Comparisons that know how far off they expect to be: negative log-likelihoods with a predicted deviation.

Where a reconstruction cannot be right (hair, background, what symmetry does not hold for), a large deviation makes the
difference cheap, at the price of its logarithm. Source: Unsup3D (Wu et al., CVPR 2020), eqs. 3 and 7.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.losses.masked import masked_mean


def laplace_distance(a: Tensor, b: Tensor, sigma: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of ``√2 |a - b| / σ + log σ``: least, for a difference d, at ``σ = √2 |d|``.

    Args:
        a, b: images (B, C, H, W), signed.
        sigma: deviations (B, 1, H, W), positive; common to the channels.
        mask: (B or 1, 1, H, W) in [0, 1], 1 = keep.

    Returns:
        A scalar, which may be negative.

    Raises:
        ValueError: if the shapes do not fit.
    """
    _check(a, b, sigma)
    return masked_mean(math.sqrt(2) * (a - b).abs() / sigma + sigma.log(), mask)


def gaussian_distance(a: Tensor, b: Tensor, sigma: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of ``(a - b)² / 2σ² + log σ`` over a map of features: least, for a difference d, at ``σ = |d|``.

    Args:
        a, b: features (B, C, h, w).
        sigma: deviations (B, 1, h, w), positive; common to the channels.
        mask: (B or 1, 1, H, W) in [0, 1], 1 = keep, at a multiple of the map's size; it is averaged to that size.

    Returns:
        A scalar, which may be negative.

    Raises:
        ValueError: if the shapes do not fit.
    """
    _check(a, b, sigma)
    if mask is not None:
        mask = F.avg_pool2d(mask, mask.shape[-1] // a.shape[-1]) if mask.shape[-1] > a.shape[-1] else mask
    return masked_mean(((a - b) / sigma).square() / 2 + sigma.log(), mask)


def _check(a: Tensor, b: Tensor, sigma: Tensor) -> None:
    if a.ndim != 4 or a.shape != b.shape:
        raise ValueError(f"what is compared must be (B, C, H, W) alike; got {tuple(a.shape)} and {tuple(b.shape)}")
    if sigma.ndim != 4 or sigma.shape[1] != 1 or torch.broadcast_shapes(sigma.shape, a.shape) != a.shape:
        raise ValueError(f"sigma must be (B, 1, H, W) to fit {tuple(a.shape)}; got {tuple(sigma.shape)}")
