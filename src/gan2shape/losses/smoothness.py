"""Second differences of a map, which vanish where it is planar."""

from __future__ import annotations

from torch import Tensor


def smoothness(values: Tensor) -> Tensor:
    """Sum of the mean absolute second differences along xx, xy, yx and yy.

    The original program applies it to the canonical depth and to the diffuse shading (the paper's Eq. 3 names the
    depth only); it does not depend on the offset or on the slope of the map.

    Args:
        values: (B, C, H, W), at least 3×3 pixels.

    Returns:
        A scalar in the map's units per squared pixel.

    Raises:
        ValueError: if the map is not (B, C, H, W) or smaller than 3×3.
    """
    if values.ndim != 4 or min(values.shape[2:]) < 3:
        raise ValueError(f"map must be (B, C, H, W) with at least 3×3 pixels; got {tuple(values.shape)}")
    dx = values.diff(dim=3)
    dy = values.diff(dim=2)
    seconds = (dx.diff(dim=3), dx.diff(dim=2), dy.diff(dim=3), dy.diff(dim=2))
    return sum((second.abs().mean() for second in seconds), start=values.new_zeros(()))
