"""A slow float64 rasteriser that shares nothing with the package: one triangle, one row, one span at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass
class Seen:
    """What the reference knows about n × n samples of one view."""

    depth: np.ndarray  # (n, n), inf where there is nothing
    face: np.ndarray  # (n, n), -1 where there is nothing
    unsure: np.ndarray  # (n, n) bool: an edge of some face passes so close that rounding decides


def focal_px(size: int, fov_deg: float) -> float:
    """Focal length in pixels from the opening angle between the outermost pixel centres."""
    return 0.5 * (size - 1) / math.tan(math.radians(0.5 * fov_deg))


def scanline(
    vertices: np.ndarray,
    faces: np.ndarray,
    size: int,
    fov_deg: float,
    positions: np.ndarray,
    *,
    near: float = 0.1,
    tie_px: float = 1e-3,
) -> Seen:
    """Nearest face of vertices (N, 3), faces (F, 3) at samples with columns and rows at `positions` (n,), in pixels."""
    n = len(positions)
    f, c = focal_px(size, fov_deg), 0.5 * (size - 1)
    seen = Seen(np.full((n, n), np.inf), np.full((n, n), -1), np.zeros((n, n), bool))
    for index, face in enumerate(faces):
        corners = vertices[face].astype(np.float64)
        if corners[:, 2].min() <= near:
            continue
        screen = corners[:, :2] / corners[:, 2:] * f + c
        for row in np.flatnonzero(np.abs(positions - np.clip(positions, *_range(screen[:, 1]))) < 0.01):
            y = positions[row]
            seen.unsure[row] |= _distance_to_edges(screen, positions, y) < tie_px
            span = _span(screen, y)
            if span is None:
                continue
            inside = np.flatnonzero((positions >= span[0]) & (positions <= span[1]))
            if not len(inside):
                continue
            depth = _plane_depth(corners, (positions[inside] - c) / f, (y - c) / f)
            nearer = inside[depth < seen.depth[row, inside]]
            seen.depth[row, nearer] = depth[depth < seen.depth[row, inside]]
            seen.face[row, nearer] = index
    return seen


def _range(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _span(screen: np.ndarray, y: float) -> tuple[float, float] | None:
    """Where the horizontal line at y cuts the triangle."""
    cuts = []
    for i in range(3):
        (x0, y0), (x1, y1) = screen[i], screen[(i + 1) % 3]
        if y0 == y1:
            cuts += [x0, x1] if y == y0 else []
        elif min(y0, y1) <= y <= max(y0, y1):
            cuts.append(x0 + (x1 - x0) * (y - y0) / (y1 - y0))
    return (min(cuts), max(cuts)) if len(cuts) >= 2 else None


def _distance_to_edges(screen: np.ndarray, xs: np.ndarray, y: float) -> np.ndarray:
    best = np.full(len(xs), np.inf)
    points = np.stack((xs, np.full(len(xs), y)), axis=1)
    for i in range(3):
        start, along = screen[i], screen[(i + 1) % 3] - screen[i]
        t = np.clip((points - start) @ along / max(float(along @ along), 1e-300), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - start - t[:, None] * along, axis=1))
    return best


def _plane_depth(corners: np.ndarray, x: np.ndarray, y: float) -> np.ndarray:
    """Depth where rays (x, y, 1) meet the plane of the corners, from the linear system of ray and edges."""
    a, b, c = corners
    depth = np.empty(len(x))
    for k, slope in enumerate(x):
        system = np.stack((np.array([slope, y, 1.0]), a - b, a - c), axis=1)
        depth[k] = np.linalg.solve(system, a)[0] if abs(np.linalg.det(system)) > 1e-18 else corners[:, 2].mean()
    return depth
