"""The weighted mean that masked losses share."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of `values` (B, C, H, W), weighted by a mask of one channel.

    Args:
        values: (B, C, H, W).
        mask: (B or 1, 1 or C, H, W), weights ≥ 0, or None for the plain mean.

    Returns:
        A scalar; 0 where all weights are 0, because then nothing is known to be wrong.

    Raises:
        ValueError: if the mask does not broadcast to the values.
    """
    if mask is None:
        return values.mean()
    if mask.ndim != 4 or mask.shape[2:] != values.shape[2:] or mask.shape[1] not in (1, values.shape[1]):
        raise ValueError(f"mask must be (B, 1, H, W) to fit {tuple(values.shape)}; got {tuple(mask.shape)}")
    weights = mask.expand_as(values)
    return (values * weights).sum() / weights.sum().clamp(min=torch.finfo(values.dtype).tiny)
