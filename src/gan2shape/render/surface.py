"""A depth map as a surface: its mesh and its normals.

Normals point along +z, away from the camera: a surface seen frontally has the normal (0, 0, 1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gan2shape.render.camera import Camera

_COMPAT_EPS = 1e-7
"""What the original program adds to a normal's length; it darkens normals at high resolution."""


def depth_to_vertices(depth: Tensor, camera: Camera) -> Tensor:
    """One vertex per pixel, row by row: (B, H·W, 3) in scene units, from depth (B, 1, H, W)."""
    return camera.unproject(depth).flatten(1, 2)


def grid_faces(height: int, width: int, device: torch.device | str | None = None) -> Tensor:
    """Two triangles per cell of a pixel grid: (F, 3) vertex indices, int64, F = 2 (height − 1)(width − 1).

    The diagonal joins top-right and bottom-left. All top-left triangles come first, then all bottom-right ones;
    both kinds turn the same way. Raises ValueError for a grid without cells.
    """
    if height < 2 or width < 2:
        raise ValueError(f"a grid needs at least 2 × 2 vertices; got {height} × {width}")
    index = torch.arange(height * width, device=device).view(height, width)
    top_left, top_right = index[:-1, :-1].flatten(), index[:-1, 1:].flatten()
    bottom_left, bottom_right = index[1:, :-1].flatten(), index[1:, 1:].flatten()
    upper = torch.stack((top_left, bottom_left, top_right), dim=1)
    lower = torch.stack((top_right, bottom_left, bottom_right), dim=1)
    return torch.cat((upper, lower))


def normals_from_depth(depth: Tensor, camera: Camera, *, compat: bool = False) -> Tensor:
    """Unit normals (B, 3, H, W) of a depth map (B, 1, H, W), pointing away from the camera (+z).

    Central differences of the unprojected points along the row and the column, their cross product normalised without
    regard to its scale. The outermost pixels have no neighbours on all sides and get (0, 0, 1).
    `compat` divides by length + 1e-7 as the original program does. Source: Unsup3D, `get_normal_from_depth`.
    """
    camera.check_map(depth, channels=1)
    points = camera.unproject(depth).permute(0, 3, 1, 2)
    along_row = (points[:, :, 1:-1, 2:] - points[:, :, 1:-1, :-2]).unbind(1)
    along_column = (points[:, :, 2:, 1:-1] - points[:, :, :-2, 1:-1]).unbind(1)
    normal = _cross(along_row, along_column)  # (B, 3, H - 2, W - 2)
    length = (normal * normal).sum(dim=1, keepdim=True).clamp(min=torch.finfo(normal.dtype).tiny).sqrt()
    normal = normal / (length + _COMPAT_EPS if compat else length)
    facing = torch.zeros_like(points)
    facing[:, 2] = 1
    facing[:, :, 1:-1, 1:-1] = normal
    return facing


def _cross(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
    """Cross product of two vector fields given by their components: much faster than `torch.linalg.cross`
    over a middle axis."""
    (ax, ay, az), (bx, by, bz) = a, b
    return torch.stack((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx), dim=1)
