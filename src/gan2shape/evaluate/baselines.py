"""Rows of a table that know nothing of the picture: constant depth, and the average true depth of other pictures."""

from __future__ import annotations

import torch
from torch import Tensor

PIVOT_DEPTH = 1.0
"""Where a constant depth stands, in scene units; SIDE and MAD do not see it, the mean absolute error does."""
NOTHING_KNOWN = 1.1
"""Depth in scene units where no other picture has foreground: the far end of the depth range."""


def constant_depth(like: Tensor) -> Tensor:
    """A plane facing the camera: depth (B, 1, S, S) in scene units, of the shape of ``like``."""
    return torch.full_like(like, PIVOT_DEPTH)


def average_depth(depth: Tensor, mask: Tensor, leave_out: int) -> Tensor:
    """The mean true depth of all pictures but one, for each pixel over the pictures that show the object there.

    Args:
        depth: true depths (N, 1, S, S), scene units; anything outside the masks.
        mask: (N, 1, S, S), 1 = object.
        leave_out: number of the picture that the result is scored against.

    Returns:
        (1, 1, S, S), `NOTHING_KNOWN` where no other picture has foreground.
    """
    others = torch.arange(depth.shape[0], device=depth.device) != leave_out
    depth, inside = depth[others], mask[others] > 0
    total = torch.where(inside, depth, 0).sum(0, keepdim=True)
    count = inside.sum(0, keepdim=True)
    return torch.where(count > 0, total / count.clamp(min=1), NOTHING_KNOWN)
