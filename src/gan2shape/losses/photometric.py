"""Pixel-by-pixel comparison of two images."""

from __future__ import annotations

import torch
from torch import Tensor

from gan2shape.losses.masked import masked_mean


def photometric(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference, over the kept pixels where a mask is given.

    Args:
        a: images (B, C, H, W), signed [-1, 1].
        b: images that broadcast against `a`.
        mask: (B or 1, 1, H, W) in [0, 1], 1 = keep; it counts every channel alike.

    Returns:
        A scalar ``sum(|a - b| m) / sum(m)``; 0 where the mask keeps nothing.

    Raises:
        ValueError: if the shapes do not fit.
    """
    _check_images(a, b)
    return masked_mean((a - b).abs(), mask)


def _check_images(a: Tensor, b: Tensor) -> None:
    if a.ndim != 4 or b.ndim != 4 or a.shape[1:] != b.shape[1:]:
        raise ValueError(f"images must be (B, C, H, W) of one size; got {tuple(a.shape)} and {tuple(b.shape)}")
    torch.broadcast_shapes(a.shape, b.shape)
