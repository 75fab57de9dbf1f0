"""The range of depths a surface may have, and the way from a network's raw map into it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DepthRange:
    """Depths between near and far, in scene units; the left and right image border is tied to one depth."""

    near: float = 0.9
    """Smallest depth, the value of a signed map at -1."""
    far: float = 1.1
    """Largest depth, the value of a signed map at 1."""
    border: float | None = None
    """Depth of the border columns; None means 0.7 · far + 0.3 · near."""
    border_columns: int = 2
    """How many columns at the left and at the right are tied to the border depth."""
    border_weight: float = 1.0
    """How strongly they are tied: 1 exactly, 0 not at all (the original program has 1.02)."""

    def __post_init__(self) -> None:
        if not 0.0 < self.near < self.far:
            raise ValueError(f"a depth range needs 0 < near < far; got near {self.near}, far {self.far}")

    @property
    def margin(self) -> float:
        """How far a moved surface may leave the range, in scene units: half its extent."""
        return (self.far - self.near) / 2

    @property
    def hit_limit(self) -> float:
        """The view depth of pixels that were not hit, far + margin."""
        return self.far + self.margin

    @property
    def border_depth(self) -> float:
        """Depth of the tied border columns, in scene units."""
        return 0.7 * self.far + 0.3 * self.near if self.border is None else self.border

    def rescale(self, signed: Tensor) -> Tensor:
        """Signed values [-1, 1] to scene units: -1 is near, 1 is far."""
        return (1 + signed) / 2 * self.far + (1 - signed) / 2 * self.near

    def to_signed(self, depth: Tensor) -> Tensor:
        """Scene units to signed values, the inverse of `rescale`."""
        return (2 * depth - (self.far + self.near)) / (self.far - self.near)

    def tie_border(self, depth: Tensor) -> Tensor:
        """The map (B, 1, H, W) with its left and right columns drawn to the border depth."""
        columns = torch.arange(depth.shape[-1], device=depth.device)
        tied = (columns < self.border_columns) | (columns >= depth.shape[-1] - self.border_columns)
        weight = tied.to(depth.dtype) * self.border_weight
        return depth * (1 - weight) + weight * self.border_depth

    def from_raw(self, raw: Tensor) -> Tensor:
        """A network's raw map (B, 1, H, W) to depth in scene units.

        The map minus its own mean goes through tanh and into the range; then the border columns are tied.
        Raises ValueError if the map has another shape. Source: GAN2Shape's depth network, as in Unsup3D.
        """
        if raw.dim() != 4 or raw.shape[1] != 1:
            raise ValueError(f"raw depth must be (B, 1, H, W); got {tuple(raw.shape)}")
        return self.tie_border(self.rescale(torch.tanh(raw - raw.mean(dim=(1, 2, 3), keepdim=True))))

    def clamp(self, depth: Tensor) -> Tensor:
        """View depth kept in [near − margin, far + margin]."""
        return depth.clamp(self.near - self.margin, self.hit_limit)
