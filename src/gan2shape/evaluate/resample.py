"""Maps of a larger size brought to the truth's size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.render import sample_image


def check_sizes(size: int, wanted: int) -> None:
    """Raise ValueError unless maps of ``size`` pixels can be scored at ``wanted``: alike, or a whole multiple."""
    if size < wanted or size % wanted:
        raise ValueError(f"expected maps of {wanted}x{wanted} as the truth, or a whole multiple; got {size}x{size}")


def resample(values: Tensor, size: int) -> Tensor:
    """Maps (B, C, k·S, k·S) as maps (B, C, S, S): each pixel is the mean of k × k bilinear samples on its own area.

    A camera's outermost pixel centres look along the same rays at every size, so that blocks of k × k pixels do not
    cover the larger pixels exactly; the samples do. What would lie outside the picture takes the border's value.
    Raises ValueError as `check_sizes`.
    """
    factor = values.shape[-1] // size
    check_sizes(values.shape[-1], size)
    if factor == 1:
        return values
    steps = torch.arange(factor * size, dtype=values.dtype, device=values.device)
    pixel = (steps + 0.5) / factor - 0.5  # places in pixels of the smaller map
    line = (pixel / (size - 1) * 2 - 1).clamp(-1, 1)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return F.avg_pool2d(sample_image(values, torch.stack((x, y), dim=-1)[None]), factor)


def resample_hits(hit: Tensor, size: int) -> Tensor:
    """Hits (B, 1, k·S, k·S) as hits (B, 1, S, S): a pixel is hit when all that `resample` mixes into it is."""
    return (resample(hit, size) > 1 - 1e-4).to(hit.dtype)
