"""The object's visible surface, cut out of the depth grid: what mesh, points, turntable and rotated views are made of.

Everything here is in the camera's frame (x right, y down, z forward, scene units); files use `to_file_frame`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gan2shape.render import (
    Camera,
    Pose,
    Scene,
    depth_to_vertices,
    forward_grid,
    grid_faces,
    rasterize,
    sample_image,
)

FILE_ORIGIN_DEPTH = 1.0
"""Depth of the files' origin, scene units: the middle of the method's depth range, whatever the camera's pivot."""

FILE_SCALE = 10.0
"""The object is about 0.2 scene units wide; files have it about 2 units wide, which viewers like better."""

MASK_THRESHOLD = 0.5
"""A vertex belongs to the object where its mask is at least this."""

JUMP = 0.25
"""A cell that spans more than this share of the depth range joins two surfaces, one behind the other: left out."""

_VIEWS_AT_ONCE = 4


@dataclass(frozen=True, eq=False)
class Surface:
    """A triangle mesh of the object in the canonical frame, N vertices and F faces.

    Attributes:
        vertices: (N, 3) in scene units, camera frame.
        normals: (N, 3) unit, pointing out of the object, towards the camera.
        faces: (F, 3) int64; seen from the camera they turn counter-clockwise.
        uv: (N, 2) in the canonical picture, (0, 0) its lower left and (1, 1) its upper right corner.
        pixel: (N,) int64 index of the vertex's pixel in the canonical picture, row by row.
    """

    vertices: Tensor
    normals: Tensor
    faces: Tensor
    uv: Tensor
    pixel: Tensor

    def pick(self, image: Tensor) -> Tensor:
        """Values (N, C) of a canonical map (1, C, S, S) at the vertices."""
        return image[0].flatten(1).t()[self.pixel]


def canonical_mask(scene: Scene, mask: Tensor, camera: Camera) -> Tensor:
    """The input view's mask (1, 1, S, S) brought to the canonical frame: (1, 1, S, S).

    Each canonical pixel takes the mask's value at the place where the input view shows it. A mask that keeps everything
    keeps everything here too, also what lies outside the input picture.
    """
    if bool((mask >= MASK_THRESHOLD).all()):
        return torch.ones_like(scene.depth)
    return sample_image(mask.to(scene.depth), forward_grid(scene.depth, scene.pose, camera))


def cut_surface(depth: Tensor, mask: Tensor, camera: Camera, *, depth_extent: float) -> Surface:
    """The part of the canonical depth grid that is the object.

    A face stays when all its vertices are inside the mask (at least `MASK_THRESHOLD`) and their depths differ by at
    most `JUMP` of the range's extent. Where nothing would stay, the mask is left out of account.

    Args:
        depth: (1, 1, S, S) canonical depth in scene units.
        mask: (1, 1, S, S) in the canonical frame, in [0, 1].
        camera: of the maps.
        depth_extent: far − near of the depth range, scene units.
    """
    size = camera.image_size
    vertices = depth_to_vertices(depth, camera)[0]  # (S·S, 3)
    faces = grid_faces(size, size, depth.device)
    corners = vertices[:, 2][faces]  # (F, 3)
    whole = corners.amax(1) - corners.amin(1) <= JUMP * depth_extent
    inside = (mask.flatten() >= MASK_THRESHOLD)[faces].all(dim=1)
    kept = inside & whole
    faces = faces[kept if bool(kept.any()) else torch.ones_like(kept)]
    pixel, renumbered = faces.unique(return_inverse=True)
    row, column = torch.div(pixel, size, rounding_mode="floor"), pixel % size
    uv = torch.stack((column + 0.5, size - row - 0.5), dim=1).to(depth) / size
    vertices = vertices[pixel]
    return Surface(vertices, _vertex_normals(vertices, renumbered), renumbered, uv, pixel)


def to_file_frame(points: Tensor) -> Tensor:
    """Points (..., 3) of the camera's frame as files have them: (x, −y, 1 − z) · 10, y up, the object facing +z."""
    origin = points.new_tensor([0.0, 0.0, FILE_ORIGIN_DEPTH])
    return (points - origin) * points.new_tensor([1.0, -1.0, -1.0]) * FILE_SCALE


def directions_to_file_frame(directions: Tensor) -> Tensor:
    """Directions (..., 3) of the camera's frame as files have them: (x, −y, −z)."""
    return directions * directions.new_tensor([1.0, -1.0, -1.0])


def render_surface(
    surface: Surface, colours: Tensor, pose: Pose, camera: Camera, *, supersample: int = 2, background: float = 1.0
) -> Tensor:
    """Pictures (B, C, S, S) of the moved surface before a plain background, with smooth outlines.

    Args:
        surface: the object.
        colours: (1, N, C) or (B, N, C) at its vertices.
        pose: B motions from the canonical frame.
        camera: of the picture; any size.
        supersample: samples along one side of a pixel; covered and uncovered ones are averaged.
        background: value where nothing is hit.
    """
    batch = pose.batch
    colours = colours.expand(batch, -1, -1)
    pictures = []
    for start in range(0, batch, _VIEWS_AT_ONCE):
        some = slice(start, start + _VIEWS_AT_ONCE)
        moved = pose[some].apply(surface.vertices[None], camera)
        seen = rasterize(moved, surface.faces, camera, supersample=supersample)
        hit = seen.face >= 0
        for view, table in enumerate(colours[some]):
            corners = surface.faces[seen.face[view][hit[view]]]  # (P, 3)
            values = (table[corners] * seen.barycentric[view][hit[view]].unsqueeze(-1)).sum(1)  # (P, C)
            picture = values.new_full((*hit.shape[1:], values.shape[1]), background)
            picture[hit[view]] = values
            pictures.append(F.avg_pool2d(picture.permute(2, 0, 1)[None], supersample))
    return torch.cat(pictures)


def clay(surface: Surface, pose: Pose) -> Tensor:
    """Grey, signed colours (B, N, 3) that show the shape alone: a lamp beside the camera, above its left."""
    towards_lamp = F.normalize(surface.normals.new_tensor([-0.35, -0.45, -1.0]), dim=0)
    turned = surface.normals @ pose.rotation.transpose(1, 2)  # (B, N, 3)
    brightness = 0.12 + 0.8 * (turned @ towards_lamp).clamp(min=0)
    return (brightness * 2 - 1).unsqueeze(-1).expand(-1, -1, 3)


def _vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Mean of the adjoining faces' normals, weighted by their areas, from the cut mesh alone: (N, 3).

    `normals_from_depth` would mix in the background at the outline.
    """
    a, b, c = vertices[faces].unbind(1)
    weighted = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total = total.index_add(0, faces[:, corner], weighted)
    return F.normalize(total, dim=1, eps=torch.finfo(total.dtype).tiny)
