"""The object as voxels.

One picture shows only the front. The solid is the visible surface extruded away from the camera, along the viewing
rays, back to the far plane of the depth range (or to the deepest point of the surface, where that lies behind it),
inside the object's mask.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan2shape.export.surface import FILE_ORIGIN_DEPTH, FILE_SCALE, MASK_THRESHOLD, to_file_frame
from gan2shape.io.files import write_bytes
from gan2shape.render import Camera, sample_image

LONGEST_SIDE = 96


@dataclass(frozen=True, eq=False)
class Voxels:
    """A solid on a regular grid, in the frame of the mesh files (y up, the object facing +z).

    Attributes:
        occupancy: (Z, Y, X) bool; index [z, y, x] grows with the coordinates.
        origin: (3,) x, y, z of the centre of voxel [0, 0, 0].
        spacing: side of a voxel.
    """

    occupancy: Tensor
    origin: Tensor
    spacing: float


def solid_voxels(
    depth: Tensor, mask: Tensor, camera: Camera, *, far: float, longest_side: int = LONGEST_SIDE
) -> Voxels:
    """The extruded surface as voxels.

    Args:
        depth: (1, 1, S, S) canonical depth in scene units.
        mask: (1, 1, S, S) in the canonical frame, in [0, 1]; where it is empty, everything counts as the object.
        camera: of the maps.
        far: depth of the solid's flat back, scene units.
        longest_side: voxels along the longest side of the object.
    """
    inside = mask >= MASK_THRESHOLD
    if not bool(inside.any()):
        mask, inside = torch.ones_like(mask), torch.ones_like(inside)
    back = max(far, float(depth[inside].max()))
    lowest, highest = _bounds(depth, inside, back, camera)
    spacing = float((highest - lowest).max()) / longest_side
    counts = [max(1, int(n)) for n in ((highest - lowest) / spacing - 1e-4).ceil().tolist()]
    origin = (lowest + highest) / 2 - spacing / 2 * (lowest.new_tensor(counts) - 1)
    x, y, z = (origin[axis] + spacing * torch.arange(counts[axis], device=depth.device) for axis in range(3))
    layers = []
    for height in z:  # One layer at a time keeps the memory small.
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        points = torch.stack((columns, rows, height.expand_as(rows)), dim=-1)  # (Y, X, 3)
        layers.append(_is_inside(points, depth, mask, back, camera))
    return Voxels(torch.stack(layers), origin, spacing)


def write_voxels(path: str | Path, voxels: Voxels) -> None:
    """Write ``occupancy`` [z, y, x] bool, ``origin`` (3,) and ``spacing`` as compressed .npz. Raises `OutputError`."""
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        occupancy=voxels.occupancy.cpu().numpy(),
        origin=voxels.origin.cpu().numpy().astype(np.float32),
        spacing=np.float32(voxels.spacing),
    )
    write_bytes(path, stream.getvalue())


def _bounds(depth: Tensor, inside: Tensor, back: float, camera: Camera) -> tuple[Tensor, Tensor]:
    """Opposite corners (3,) of the solid's box in the file frame; pixels reach half a pixel beyond their centres."""
    half_px = 0.5 / camera.focal_px
    rays = camera.rays(depth)[inside[0, 0]]  # (P, 3)
    reach = rays.new_tensor([half_px, half_px, 0.0])
    corners = [
        (rays + sign * reach) * length
        for sign in (-1, 1)
        for length in (depth[inside].unsqueeze(1), torch.full_like(rays[:, :1], back))
    ]
    placed = to_file_frame(torch.cat(corners))
    return placed.amin(0), placed.amax(0)


def _is_inside(points: Tensor, depth: Tensor, mask: Tensor, back: float, camera: Camera) -> Tensor:
    """Whether points (Y, X, 3) of the file frame lie in the solid: (Y, X) bool."""
    origin = points.new_tensor([0.0, 0.0, FILE_ORIGIN_DEPTH])
    seen = points * points.new_tensor([1.0, -1.0, -1.0]) / FILE_SCALE + origin
    grid = camera.project(seen)[None]
    # Half a pixel around the picture belongs to its outermost pixels.
    edge = 1 + 1 / (camera.image_size - 1)
    within = (grid.abs() <= edge).all(-1)[0]
    grid = grid.clamp(-1, 1)
    # The object's own depth, without the background's share beside the outline.
    share = sample_image((mask >= MASK_THRESHOLD).to(depth), grid)
    front = sample_image(torch.where(mask >= MASK_THRESHOLD, depth, 0.0), grid) / share.clamp(min=1e-6)
    return within & (share >= 0.5)[0, 0] & (seen[..., 2] >= front[0, 0]) & (seen[..., 2] <= back)
