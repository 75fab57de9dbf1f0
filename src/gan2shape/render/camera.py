"""The pinhole camera of the method: how pixels, rays, points and normalised image coordinates belong together.

Axes: x right, y down, z forward (into the picture), scene units with the object near z = 1.
Pixel (row r, column c) is the point (u, v) = (c, r); pixel centres are the integers 0 … S-1.
Normalised coordinates are u / (S-1) · 2 - 1, so that -1 and 1 are the centres of the outermost pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Camera:
    """Pinhole camera looking along +z; x right, y down. The object turns about a pivot on the optical axis."""

    image_size: int
    """Width and height of the picture in pixels, at least 2."""
    fov_deg: float = 10.0
    """Full opening angle in degrees, from the centre of the first pixel to the centre of the last."""
    pivot_depth: float = 1.0
    """Depth of the point about which the object turns, in scene units."""

    def __post_init__(self) -> None:
        if self.image_size < 2:
            raise ValueError(f"image_size must be at least 2 pixels; got {self.image_size}")
        if not 0.0 < self.fov_deg < 180.0:
            raise ValueError(f"fov_deg must lie between 0 and 180 degrees; got {self.fov_deg}")

    @property
    def focal_px(self) -> float:
        """Focal length in pixels, the same in x and y."""
        return self.centre_px / math.tan(math.radians(self.fov_deg) / 2)

    @property
    def centre_px(self) -> float:
        """Column and row of the optical axis, in pixels."""
        return (self.image_size - 1) / 2

    def resized(self, size: int) -> Camera:
        """The same camera with a picture of `size` pixels: same opening angle, same pivot."""
        return replace(self, image_size=size)

    def pivot(self, like: Tensor) -> Tensor:
        """The pivot as a point (3,), with the dtype and device of `like`."""
        return like.new_tensor([0.0, 0.0, self.pivot_depth])

    def pixel_grid(self, like: Tensor) -> Tensor:
        """Pixel centres (H, W, 2) as (u, v) in pixels, with the dtype and device of `like`."""
        steps = torch.arange(self.image_size, dtype=like.dtype, device=like.device)
        v, u = torch.meshgrid(steps, steps, indexing="ij")
        return torch.stack((u, v), dim=-1)

    def rays(self, like: Tensor) -> Tensor:
        """Direction (H, W, 3) through every pixel centre, scaled to z = 1: a point is depth · ray."""
        return self._planar_rays(like).permute(1, 2, 0)

    def unproject(self, depth: Tensor) -> Tensor:
        """Points (B, H, W, 3) in scene units seen at `depth` (B, 1, H, W), which is the z coordinate.

        The three coordinates lie in memory one plane after the other, which makes everything behind them faster.
        Raises ValueError if the map is not (B, 1, S, S) with S = image_size.
        """
        self.check_map(depth, channels=1)
        return (self._planar_rays(depth) * depth).permute(0, 2, 3, 1)

    def to_pixels(self, points: Tensor) -> Tensor:
        """Where points (..., 3) fall in the picture: (..., 2) as (u, v) in pixels. Meaningless for z ≤ 0."""
        return points[..., :2] / points[..., 2:] * self.focal_px + self.centre_px

    def project(self, points: Tensor) -> Tensor:
        """Where points (..., 3) fall in the picture: (..., 2) normalised, corners aligned. Meaningless for z ≤ 0."""
        return points[..., :2] / points[..., 2:] * (self.focal_px / self.centre_px)

    def check_map(self, values: Tensor, channels: int) -> None:
        """Raise ValueError unless `values` is (B, channels, S, S) with S = image_size."""
        size = self.image_size
        if values.dim() != 4 or values.shape[1:] != (channels, size, size):
            raise ValueError(f"expected a map of shape (B, {channels}, {size}, {size}); got {tuple(values.shape)}")

    def _planar_rays(self, like: Tensor) -> Tensor:
        steps = torch.arange(self.image_size, dtype=torch.float64, device=like.device)
        slope = ((steps - self.centre_px) / self.focal_px).to(like.dtype)
        y, x = torch.meshgrid(slope, slope, indexing="ij")
        return torch.stack((x, y, torch.ones_like(x)))  # (3, H, W)
