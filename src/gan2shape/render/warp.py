"""Reprojection between the canonical frame and a view (the paper's Π), and the only image sampling of the package.

A view pixel finds its colour by the way back: the moved surface is rasterised to the view's depth, that depth is
unprojected and moved back by the inverse pose, and the canonical texture is read where the point falls.
Gradients flow through the rasterised depth (exact inside triangles, none at silhouettes) and through the sampling.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from gan2shape.render.camera import Camera
from gan2shape.render.depth import DepthRange
from gan2shape.render.pose import Pose
from gan2shape.render.rasterize import BACKGROUND_DEPTH, Rasterizer, rasterize, rasterize_depth, to_pixels
from gan2shape.render.surface import depth_to_vertices, grid_faces
from gan2shape.render.visibility import Samples


@dataclass(frozen=True, eq=False)
class Rendering:
    """A picture of a surface from a view, with what is known about each pixel."""

    image: Tensor
    """(B, C, H, W) the texture seen from the view; not meaningful where the mask is 0."""
    depth: Tensor
    """(B, 1, H, W) view depth in scene units, the range's hit limit where nothing was hit."""
    mask: Tensor
    """(B, 1, H, W) 1 where the surface was hit, else 0; without gradient."""


def sample_image(image: Tensor, grid: Tensor, *, mode: str = "bilinear") -> Tensor:
    """Read `image` (B, C, H, W) at `grid` (B, h, w, 2), normalised (x, y) with corners aligned: (B, C, h, w).

    Outside the image is 0. `mode` is "bilinear", "nearest" or "bicubic". Batches of one go with any batch.
    Raises ValueError for wrong shapes.
    """
    if image.dim() != 4 or grid.dim() != 4 or grid.shape[3] != 2:
        raise ValueError(
            f"expected an image (B, C, H, W) and a grid (B, h, w, 2); got {tuple(image.shape)}, {tuple(grid.shape)}"
        )
    batch = max(image.shape[0], grid.shape[0])
    image, grid = image.expand(batch, -1, -1, -1), grid.expand(batch, -1, -1, -1)
    return F.grid_sample(image, grid, mode=mode, padding_mode="zeros", align_corners=True)


def forward_grid(depth: Tensor, pose: Pose, camera: Camera) -> Tensor:
    """Where each canonical pixel goes in the view: (B, H, W, 2) normalised, from canonical depth (B, 1, H, W)."""
    return camera.project(pose.apply(camera.unproject(depth), camera))


def canonical_grid(view_depth: Tensor, pose: Pose, camera: Camera) -> Tensor:
    """Where each view pixel comes from in the canonical frame: (B, H, W, 2) normalised, from the view's depth."""
    return camera.project(pose.inverse().apply(camera.unproject(view_depth), camera))


def view_depth(
    depth: Tensor,
    pose: Pose,
    camera: Camera,
    *,
    depth_range: DepthRange = DepthRange(),
    rasterize: Rasterizer = rasterize_depth,
    supersample: int = 1,
    compat: bool = False,
) -> Tensor:
    """Depth (B, 1, H, W) of the canonical surface `depth` (B, 1, H, W) as seen after the motion `pose`.

    In scene units, held in the range with its margin; pixels that are not hit have exactly `depth_range.hit_limit`.
    """
    vertices = pose.apply(depth_to_vertices(depth, camera), camera)
    faces = grid_faces(camera.image_size, camera.image_size, depth.device)
    background = max(BACKGROUND_DEPTH, depth_range.hit_limit)
    seen = rasterize(vertices, faces, camera, supersample=supersample, background=background, compat=compat)
    return depth_range.clamp(seen)


def visible(depth: Tensor, pose: Pose, camera: Camera, *, behind: float) -> Tensor:
    """Which canonical pixels of depth (B, 1, H, W) a view shows after the motion `pose`: booleans (B, 1, H, W).

    A place counts if it falls into the picture less than `behind` (scene units) behind the surface that is met there.
    """
    moved = pose.apply(camera.unproject(depth), camera)
    grid = camera.project(moved)
    met = sample_image(view_depth(depth, pose, camera), grid)
    inside = (grid.abs() <= 1).all(dim=-1)[:, None]
    return inside & (moved[..., 2][:, None] < met + behind)


def reproject(
    texture: Tensor,
    depth: Tensor,
    pose: Pose,
    camera: Camera,
    *,
    depth_range: DepthRange = DepthRange(),
    rasterize: Rasterizer = rasterize_depth,
    supersample: int = 1,
    compat: bool = False,
) -> Rendering:
    """The canonical surface with its texture, seen after the motion `pose` (the paper's Π).

    `texture` (B, C, H, W), `depth` (B, 1, H, W) in scene units, `pose` of batch B; batches of one go with any batch.
    `supersample` and `compat` are those of `rasterize_depth`. Raises ValueError for wrong shapes.
    """
    seen = view_depth(
        depth, pose, camera, depth_range=depth_range, rasterize=rasterize, supersample=supersample, compat=compat
    )
    image = sample_image(texture, canonical_grid(seen, pose, camera))
    mask = (seen.detach() < depth_range.hit_limit).to(seen.dtype)
    return Rendering(image, seen, mask)


def render_textured(
    vertices: Tensor,
    faces: Tensor,
    uv: Tensor,
    texture: Tensor,
    camera: Camera,
    *,
    supersample: int = 1,
    background: float = 0.0,
    compat: bool = False,
) -> tuple[Tensor, Tensor]:
    """Picture (B, C, S, S) of any mesh with a texture map, and mask (B, 1, S, S), 1 = hit.

    `vertices` (B, N, 3) in scene units, `faces` (F, 3) int64, `uv` (B, N, 2) places in the texture, normalised (x, y)
    with corners aligned, `texture` (B, C, H, W). At texture seams, vertices occur once per side. Every sample reads
    the texture; samples are averaged as in `rasterize_depth`. Batches of one of `uv` and `texture` go with any batch.
    Gradients reach vertices, uv and texture. Raises ValueError for wrong shapes.
    """
    if uv.dim() != 3 or uv.shape[1:] != (vertices.shape[1], 2):
        raise ValueError(f"uv must be (B, {vertices.shape[1]}, 2); got {tuple(uv.shape)}")
    fragments = rasterize(vertices, faces, camera, supersample=supersample, compat=compat)
    grid = fragments.interpolate(uv, faces).permute(0, 2, 3, 1)
    colours = sample_image(texture, grid)
    return to_pixels(colours, fragments.face, Samples(camera, supersample, compat), background)
