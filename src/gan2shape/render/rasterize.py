"""Rendering of any triangle mesh: visibility without gradient, then exact interpolation with gradient.

For a fixed visible face, depth and barycentric coordinates are smooth functions of its three vertices, and the
gradients here are their exact derivatives. Silhouettes have no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from gan2shape.render.camera import Camera
from gan2shape.render.visibility import Samples, extent, take, visible_faces

BACKGROUND_DEPTH = 100.0
"""Depth of pixels without a surface, in scene units, unless the caller says otherwise."""

_CPU_CHUNK = 1 << 16
_GPU_CHUNK = 1 << 24
"""Views are rendered in groups of about this many faces or samples: on a CPU they then stay in the cache."""


class Rasterizer(Protocol):
    """Anything that turns a mesh into a depth map as `rasterize_depth` does."""

    def __call__(
        self,
        vertices: Tensor,
        faces: Tensor,
        camera: Camera,
        *,
        supersample: int = 1,
        background: float = BACKGROUND_DEPTH,
        compat: bool = False,
    ) -> Tensor:
        """Depth (B, 1, S, S) of vertices (B, N, 3) and faces (F, 3)."""
        ...


@dataclass(frozen=True, eq=False)
class Fragments:
    """What each of the n × n samples of B views sees."""

    face: Tensor
    """(B, n, n) int64 index of the visible face, -1 where there is none."""
    barycentric: Tensor
    """(B, n, n, 3) weights of its three vertices in space (perspective-correct), 0 where there is none."""
    depth: Tensor
    """(B, n, n) in scene units, infinite where there is no face."""

    def interpolate(self, attributes: Tensor, faces: Tensor) -> Tensor:
        """Per-vertex attributes (B, N, C) at the samples: (B, C, n, n), zero where there is no face.

        Interpolation is linear in space, hence perspective-correct. Attributes of a batch of one go with any batch.
        """
        batch = self.face.shape[0]
        attributes = attributes.expand(batch, -1, -1)
        first = torch.arange(batch, device=faces.device).view(-1, 1, 1, 1) * attributes.shape[1]
        corners = faces[self.face.clamp(min=0)] + first  # (B, n, n, 3)
        table = attributes.reshape(-1, attributes.shape[2])
        values = (table[corners] * self.barycentric.unsqueeze(-1)).sum(dim=3)
        return values.permute(0, 3, 1, 2)


def rasterize(
    vertices: Tensor,
    faces: Tensor,
    camera: Camera,
    *,
    size: int | None = None,
    supersample: int = 1,
    compat: bool = False,
) -> Fragments:
    """Visible face, barycentric coordinates and depth at every sample of the picture.

    `vertices` (B, N, 3) in scene units in the camera's frame, `faces` (F, 3) int64. The picture has `size` pixels
    (default: the camera's) and `supersample`² samples each, hence n = size · supersample (2 · size with `compat`).
    Gradients reach the vertices through depth and barycentrics. Raises ValueError for wrong shapes.
    """
    samples = Samples(camera if size is None else camera.resized(size), supersample, compat)
    _check_mesh(vertices, faces)
    parts = [_fragments(some, faces, samples) for some in _chunks(vertices, faces, samples)]
    return Fragments(
        torch.cat([part.face for part in parts]),
        torch.cat([part.barycentric for part in parts]),
        torch.cat([part.depth for part in parts]),
    )


def rasterize_depth(
    vertices: Tensor,
    faces: Tensor,
    camera: Camera,
    *,
    supersample: int = 1,
    background: float = BACKGROUND_DEPTH,
    compat: bool = False,
) -> Tensor:
    """Depth (B, 1, S, S) of a mesh, vertices (B, N, 3) in scene units and faces (F, 3) int64.

    With supersampling a pixel is the mean over its covered samples, and counts as hit if at least half of them are
    covered; else it is `background`. `compat` takes the original's 2 × 2 samples (half a pixel off) and averages the
    background with the rest. The gradient with respect to the vertices is exact for the visible faces.
    """
    samples = Samples(camera, supersample, compat)
    _check_mesh(vertices, faces)
    parts = []
    for some in _chunks(vertices, faces, samples):
        seen = _see(some, faces, samples)
        depth = _spread(_FaceDepth.apply(some, seen.corners, seen.x, seen.y), seen, 0.0)
        parts.append(to_pixels(depth.unsqueeze(1), seen.face, samples, background)[0])
    return torch.cat(parts)


def render_attributes(
    vertices: Tensor,
    faces: Tensor,
    attributes: Tensor,
    camera: Camera,
    *,
    supersample: int = 1,
    background: float = 0.0,
    compat: bool = False,
) -> tuple[Tensor, Tensor]:
    """Picture (B, C, S, S) of per-vertex attributes (B, N, C), such as colours, and mask (B, 1, S, S), 1 = hit.

    Attributes are interpolated in space (perspective-correct). Supersampled pixels are averaged as in
    `rasterize_depth`; with `compat` the mask holds the fully covered pixels. Attributes of a batch of one go with any
    batch. Gradients reach attributes and vertices. Raises ValueError for wrong shapes.
    """
    if attributes.dim() != 3 or attributes.shape[1] != vertices.shape[1]:
        raise ValueError(f"attributes must be (B, {vertices.shape[1]}, C); got {tuple(attributes.shape)}")
    samples = Samples(camera, supersample, compat)
    fragments = rasterize(vertices, faces, camera, supersample=supersample, compat=compat)
    return to_pixels(fragments.interpolate(attributes, faces), fragments.face, samples, background)


def to_pixels(values: Tensor, face: Tensor, samples: Samples, background: float) -> tuple[Tensor, Tensor]:
    """Values at samples (B, C, n, n) as a picture (B, C, S, S), and the mask (B, 1, S, S) of the pixels that were hit.

    `face` (B, n, n) says which samples see a surface. A pixel is the mean over its covered samples, or `background`
    if fewer than half of them are covered. With `samples.compat` background samples are averaged with the others, and
    the mask holds the fully covered pixels.
    """
    k = samples.per_pixel
    covered = (face >= 0).unsqueeze(1)
    if k == 1:
        return torch.where(covered, values, background), covered.to(values.dtype)
    share = F.avg_pool2d(covered.to(values.dtype), k)
    if samples.compat:
        image = F.avg_pool2d(torch.where(covered, values, background), k)
        return image, (share == 1).to(values.dtype)
    image = F.avg_pool2d(torch.where(covered, values, 0.0), k) / share.clamp(min=1 / k**2)
    hit = share >= 0.5
    return torch.where(hit, image, background), hit.to(values.dtype)


@dataclass(frozen=True, eq=False)
class _Seen:
    """The P samples that see a face: their place among all samples, its corners among all vertices, their rays."""

    face: Tensor  # (B, n, n)
    place: Tensor  # (P,)
    corners: Tensor  # (3, P)
    x: Tensor  # (P,)
    y: Tensor  # (P,)


def _see(vertices: Tensor, faces: Tensor, samples: Samples) -> _Seen:
    face = visible_faces(vertices.detach(), faces, samples)
    flat = face.view(-1)
    place = (flat >= 0).nonzero().squeeze(1)
    n = samples.count
    line = torch.div(place, n, rounding_mode="floor")
    view = torch.div(line, n, rounding_mode="floor")
    slopes = samples.slopes(vertices)
    corners = faces.t().contiguous().index_select(1, take(flat, place)) + view * vertices.shape[1]
    return _Seen(face, place, corners, take(slopes, place - line * n), take(slopes, line - view * n))


def _spread(values: Tensor, seen: _Seen, fill: float) -> Tensor:
    """Values (P, ...) put in their places among all samples: (B, n, n, ...)."""
    rest = values.shape[1:]
    flat = values.new_full((seen.face.numel(), *rest), fill).index_copy(0, seen.place, values)
    return flat.view(*seen.face.shape, *rest)


def _fragments(vertices: Tensor, faces: Tensor, samples: Samples) -> Fragments:
    seen = _see(vertices, faces, samples)
    depth, weights = _interpolate(vertices, seen)
    return Fragments(seen.face, _spread(weights, seen, 0.0), _spread(depth, seen, torch.inf))


def _interpolate(vertices: Tensor, seen: _Seen) -> tuple[Tensor, Tensor]:
    """Depth (P,) and weights (P, 3) where the rays meet the planes of their faces, differentiable."""
    a, b, c = vertices.reshape(-1, 3).t()[:, seen.corners].unbind(1)
    to_b, to_c = b - a, c - a
    normal = torch.linalg.cross(to_b, to_c, dim=0)
    along = _nonzero(normal[0] * seen.x + normal[1] * seen.y + normal[2])
    raw_depth = (normal * a).sum(0) / along
    lowest, highest = extent(a[2], b[2], c[2])
    # Rounding may leave the triangle a little; the values are held in it, the gradients are those of the plane.
    depth = raw_depth + (torch.minimum(torch.maximum(raw_depth, lowest), highest) - raw_depth).detach()
    point = torch.stack((seen.x * raw_depth, seen.y * raw_depth, raw_depth)) - a
    area = _nonzero((normal * normal).sum(0))
    weight_b = (torch.linalg.cross(point, to_c, dim=0) * normal).sum(0) / area
    weight_c = (torch.linalg.cross(to_b, point, dim=0) * normal).sum(0) / area
    weights = torch.stack((1 - weight_b - weight_c, weight_b, weight_c), dim=1)
    held = weights.detach().clamp(0, 1)
    held = held / held.sum(dim=1, keepdim=True)
    return depth, weights + (held - weights).detach()


class _FaceDepth(torch.autograd.Function):
    """Depth (P,) where the rays meet the planes of their faces: n·a / n·ray, with n the plane's normal.

    Moving corner k by δ moves the plane's point under the ray by weight_k · n·δ / n·ray along the ray, so the backward
    pass needs no more than the barycentric weights. A hand-written twin of `_interpolate`, three times as fast.
    """

    @staticmethod
    def forward(ctx: Any, vertices: Tensor, corners: Tensor, x: Tensor, y: Tensor) -> Tensor:
        planar = vertices.reshape(-1, 3).t().contiguous()
        a, b, c = (planar.index_select(1, index) for index in corners.unbind(0))
        to_b, to_c = b - a, c - a
        normal = _cross(to_b, to_c)
        along = _nonzero(torch.addcmul(torch.addcmul(normal[2], normal[0], x), normal[1], y))
        depth = _dot(normal, a) / along
        lowest, highest = extent(a[2], b[2], c[2])
        depth = torch.minimum(torch.maximum(depth, lowest), highest)
        ctx.save_for_backward(a, to_b, to_c, *normal, along, depth, corners, x, y)
        ctx.shape = vertices.shape
        return depth

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        a, to_b, to_c, nx, ny, nz, along, depth, corners, x, y = ctx.saved_tensors
        normal = (nx, ny, nz)
        point = (torch.addcmul(-a[0], x, depth), torch.addcmul(-a[1], y, depth), depth - a[2])
        inverse = _nonzero(_dot(normal, normal)).reciprocal()
        weight_b = (_dot(_cross(point, to_c), normal) * inverse).clamp_(0, 1)
        weight_c = (_dot(_cross(to_b, point), normal) * inverse).clamp_(0, 1)
        weight_a = (1 - weight_b - weight_c).clamp_(0, 1)
        push = gradient / along
        shares = torch.cat((weight_a * push, weight_b * push, weight_c * push))
        index = corners.flatten()
        planar = gradient.new_zeros(3, ctx.shape[0] * ctx.shape[1])
        for axis in range(3):
            planar[axis].index_add_(0, index, shares * normal[axis].repeat(3))
        return planar.t().reshape(ctx.shape), None, None, None


def _chunks(vertices: Tensor, faces: Tensor, samples: Samples) -> tuple[Tensor, ...]:
    """Groups of views that are worked on together."""
    limit = _CPU_CHUNK if vertices.device.type == "cpu" else _GPU_CHUNK
    return vertices.split(max(1, limit // max(faces.shape[0], samples.count**2)))


def _check_mesh(vertices: Tensor, faces: Tensor) -> None:
    if vertices.dim() != 3 or vertices.shape[0] < 1 or vertices.shape[2] != 3 or not vertices.is_floating_point():
        raise ValueError(
            f"vertices must be floating (B, N, 3) with B ≥ 1; got {tuple(vertices.shape)} {vertices.dtype}"
        )
    if faces.dim() != 2 or faces.shape[1] != 3 or faces.dtype != torch.int64:
        raise ValueError(f"faces must be int64 (F, 3); got {tuple(faces.shape)} {faces.dtype}")


def _nonzero(value: Tensor) -> Tensor:
    """A divisor; zero (a face without area or seen edge-on) becomes one, so that no gradient is infinite."""
    return torch.where(value == 0, 1.0, value)


def _cross(a: Any, b: Any) -> tuple[Tensor, Tensor, Tensor]:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _dot(a: Any, b: Any) -> Tensor:
    return torch.addcmul(torch.addcmul(a[0] * b[0], a[1], b[1]), a[2], b[2])
