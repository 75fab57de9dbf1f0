"""Which triangle is seen at which sample: a scan-line rasteriser in tensor operations, without gradient.

Every triangle becomes row spans, every span the exact samples it covers, and one packed minimum over
(depth bits, face index) keeps the nearest face of each sample. Work is proportional to the covered samples,
and the same code runs on CPU and GPU.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gan2shape.render.camera import Camera

NEAR_PLANE = 0.1
"""Faces with a vertex at this depth or nearer (scene units) are left out, not clipped."""
MAX_FRAGMENTS = 1 << 21
"""How many rows or covered samples are worked on at once: this bounds the memory (about 130 bytes each)."""

_SNAP_PX = 1e-4
"""Vertices this close to a line of samples are put on it, so that the border of an unmoved depth grid, which lies
exactly on the outermost samples, is hit in spite of rounding."""
_NOTHING = torch.iinfo(torch.int64).max
_FACE_BITS = 32


@dataclass(frozen=True)
class Samples:
    """Where a square picture is sampled: `supersample`² samples per pixel, symmetric about its centre.

    With `compat` the samples are those of the original's rasteriser: always 2 × 2, half a pixel down and to the right,
    at u in {c + ¼, c + ¾} for pixel column c.
    """

    camera: Camera
    supersample: int = 1
    compat: bool = False

    def __post_init__(self) -> None:
        if self.supersample < 1:
            raise ValueError(f"supersample must be at least 1; got {self.supersample}")

    @property
    def per_pixel(self) -> int:
        """Samples along one side of a pixel."""
        return 2 if self.compat else self.supersample

    @property
    def count(self) -> int:
        """Samples along one side of the picture."""
        return self.per_pixel * self.camera.image_size

    @property
    def centre(self) -> float:
        """Index (not an integer) of the sample on the optical axis."""
        shift_px = 0.0 if self.compat else 0.5
        return self.per_pixel * (self.camera.centre_px + shift_px) - 0.5

    @property
    def focal(self) -> float:
        """Focal length in samples."""
        return self.per_pixel * self.camera.focal_px

    def slopes(self, like: Tensor) -> Tensor:
        """x/z (the same as y/z) of every sample column: (count,)."""
        index = torch.arange(self.count, dtype=torch.float64, device=like.device)
        return ((index - self.centre) / self.focal).to(like.dtype)


@torch.no_grad()
def visible_faces(vertices: Tensor, faces: Tensor, samples: Samples, *, max_fragments: int = MAX_FRAGMENTS) -> Tensor:
    """Index of the nearest face at every sample, (B, n, n) int64, -1 where there is none.

    `vertices` (B, N, 3) in scene units, `faces` (F, 3) int64; both orientations are seen. Edges are inclusive; a tie
    in depth goes to the face with the lowest index.
    """
    batch, count, n = vertices.shape[0], faces.shape[0], samples.count
    nearest = torch.full((batch * n * n,), _NOTHING, dtype=torch.int64, device=vertices.device)
    triangle, corners = _triangles_on_screen(vertices, faces, samples)
    first_row = corners[0][1].clamp(min=0).ceil()
    rows = (corners[2][1].clamp(max=n - 1).floor() - first_row).long() + 1
    edges = _edges(corners)
    for piece in _pieces(rows, max_fragments):
        owner, y, left, right, spans = _row_spans(edges, first_row, rows, piece, n)
        (x_left, q_left), (x_right, q_right) = left, right
        width = x_right - x_left
        slope = torch.where(width != 0, (q_right - q_left) / width, 0)
        start = torch.minimum(x_left, x_right).clamp_(min=0).ceil_()
        q_start = torch.addcmul(q_left, start - x_left, slope)
        owner = take(triangle, owner)
        face = owner % count
        where = (torch.div(owner, count, rounding_mode="floor") * n + y.long()) * n + start.long()
        for part in _pieces(spans, max_fragments):
            span, step = _repeat(spans[part])
            q = torch.addcmul(take(q_start[part], span), step.to(slope.dtype), take(slope[part], span))
            # Positive floats sort like their bits, so one integer minimum finds the nearest face and keeps its index.
            bits = q.reciprocal_().float().view(torch.int32).long()
            packed = (bits << _FACE_BITS) | take(face[part], span)
            nearest.scatter_reduce_(0, take(where[part], span) + step, packed, "amin")
    seen = nearest & ((1 << _FACE_BITS) - 1)
    return torch.where(nearest == _NOTHING, -1, seen).view(batch, n, n)


def extent(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest of three tensors, element by element."""
    return torch.minimum(torch.minimum(a, b), c), torch.maximum(torch.maximum(a, b), c)


def take(values: Tensor, index: Tensor) -> Tensor:
    """`values[index]` along the first dimension; on a CPU this spelling is two to three times as fast."""
    return values.index_select(0, index)


def _triangles_on_screen(vertices: Tensor, faces: Tensor, samples: Samples) -> tuple[Tensor, list[list[Tensor]]]:
    """Triangles that may cover a sample: their index in (batch, face) order, and three corners (x, y, 1/z) from top
    to bottom, in samples."""
    x, y, z = vertices.unbind(-1)
    q = z.reciprocal()
    scale = q * samples.focal
    n = samples.count
    tolerance = max(_SNAP_PX * samples.per_pixel, 4 * torch.finfo(x.dtype).eps * n)
    screen = [_snap(torch.addcmul(scale.new_tensor(samples.centre), value, scale), tolerance) for value in (x, y)]
    screen.append(torch.where(z > NEAR_PLANE, q, -1.0))
    corners = [[value.index_select(1, index).flatten() for value in screen] for index in faces.unbind(1)]
    (x_min, x_max), (y_min, y_max), (q_min, _) = (extent(*values) for values in zip(*corners, strict=True))
    on_screen = x_min.clamp_(min=0).ceil_() <= x_max.clamp_(max=n - 1).floor_()
    on_screen &= y_min.clamp_(min=0).ceil_() <= y_max.clamp_(max=n - 1).floor_()
    on_screen &= q_min > 0
    index = on_screen.nonzero().squeeze(1)
    a, b, c = ([take(value, index) for value in corner] for corner in corners)
    a, b = _top_first(a, b)
    b, c = _top_first(b, c)
    a, b = _top_first(a, b)
    return index, [a, b, c]


def _snap(coordinate: Tensor, tolerance: float) -> Tensor:
    line = coordinate.round()
    return torch.where((coordinate - line).abs() < tolerance, line, coordinate)


def _top_first(a: list[Tensor], b: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    swap = a[1] > b[1]
    upper = [torch.where(swap, v, u) for u, v in zip(a, b, strict=True)]
    lower = [torch.where(swap, u, v) for u, v in zip(a, b, strict=True)]
    return upper, lower


@dataclass(frozen=True, eq=False)
class _Edges:
    """Two lists of edges, each (x, y, 1/z at the upper end; slopes of x and 1/z per row).

    `long` goes from the top corner to the bottom one; `short` holds the edges top-middle, then the edges middle-bottom.
    """

    long: list[Tensor]
    short: list[Tensor]
    middle: Tensor


def _edges(corners: list[list[Tensor]]) -> _Edges:
    top, middle, bottom = corners

    def edge(upper: list[Tensor], lower: list[Tensor]) -> list[Tensor]:
        height = lower[1] - upper[1]
        inverse = torch.where(height > 0, height.reciprocal(), 0)
        return [*upper, (lower[0] - upper[0]) * inverse, (lower[2] - upper[2]) * inverse]

    short = [torch.cat(pair) for pair in zip(edge(top, middle), edge(middle, bottom), strict=True)]
    return _Edges(edge(top, bottom), short, middle[1])


def _row_spans(
    edges: _Edges, first_row: Tensor, rows: Tensor, piece: slice, n: int
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor]:
    """The non-empty spans of the triangles in `piece`: triangle, row, (x, 1/z) on the long and on the short edge,
    and how many samples lie between them."""
    local, step = _repeat(rows[piece])
    owner = local + piece.start
    y = take(first_row, owner) + step.to(first_row.dtype)
    lower_half = y >= take(edges.middle, owner)
    long = _on_edge(edges.long, owner, y)
    short = _on_edge(edges.short, torch.where(lower_half, owner + rows.numel(), owner), y)
    start = torch.minimum(long[0], short[0]).clamp_(min=0).ceil_()
    stop = torch.maximum(long[0], short[0]).clamp_(max=n - 1).floor_()
    count = (stop - start + 1).clamp_(min=0).long()
    some = count.nonzero().squeeze(1)
    ends = [(take(x, some), take(q, some)) for x, q in (long, short)]
    return take(owner, some), take(y, some), ends[0], ends[1], take(count, some)


def _on_edge(edges: list[Tensor], index: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    x0, y0, q0, dx, dq = (take(value, index) for value in edges)
    down = y - y0
    return torch.addcmul(x0, down, dx), torch.addcmul(q0, down, dq)


def _repeat(counts: Tensor) -> tuple[Tensor, Tensor]:
    """For counts (2, 3): owners (0, 0, 1, 1, 1) and steps (0, 1, 0, 1, 2)."""
    owner = torch.repeat_interleave(counts)
    first = counts.cumsum(0) - counts
    return owner, torch.arange(owner.numel(), device=counts.device) - take(first, owner)


def _pieces(counts: Tensor, limit: int) -> Iterator[slice]:
    """Slices of `counts` whose sums hardly exceed `limit`."""
    if counts.numel() == 0:
        return
    total = counts.cumsum(0)
    whole = int(total[-1])
    if whole <= limit:
        yield slice(0, counts.numel())
        return
    marks = torch.arange(limit, whole, limit, device=counts.device)
    cuts = [0, *torch.searchsorted(total, marks, right=True).tolist(), counts.numel()]
    for start, stop in itertools.pairwise(cuts):
        if start < stop:
            yield slice(start, stop)
