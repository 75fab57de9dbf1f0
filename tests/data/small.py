"""A head model of spheres: everything about its pictures is known in closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gan2shape.data.facekit import Layout
from gan2shape.data.mesh import CENTRE_CM
from gan2shape.data.model import BACK, FACE, LEFT_EYE, RIGHT_EYE, HeadModel

RADIUS_CM = 8.0
NAMES = ("jawOpen", "mouthSmile_L", "noseSneer_L", "browDown_L", "cheekPuff_R")


def sphere(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (V, 3) of the unit sphere and triangles (F, 3), counter-clockwise from outside, poles at +y and -y."""
    polar = np.pi * np.arange(1, rows) / rows
    around = 2 * np.pi * np.arange(columns) / columns
    ring = np.stack(
        [
            np.outer(np.sin(polar), np.sin(around)),
            np.outer(np.cos(polar), np.ones(columns)),
            np.outer(np.sin(polar), np.cos(around)),
        ],
        -1,
    ).reshape(-1, 3)
    points = np.concatenate([ring, [[0, 1, 0], [0, -1, 0]]])
    top, bottom = len(ring), len(ring) + 1
    triangles = []
    for c in range(columns):
        d = (c + 1) % columns
        triangles += [(top, c, d), (bottom, len(ring) - columns + d, len(ring) - columns + c)]
        for r in range(rows - 2):
            a, b = r * columns + c, r * columns + d
            triangles += [(a, a + columns, b), (b, a + columns, b + columns)]
    return points, np.array(triangles)


def sphere_model(
    *, rows: int = 12, columns: int = 16, shapes: float = 0.0, offset: tuple[float, ...] = (0, 0, 0)
) -> HeadModel:
    """A ball of `RADIUS_CM` about the point of turning, moved by ``offset`` cm, with two small balls inside as eyes.

    ``shapes`` scales three identity modes (growth, stretch along y, shift along x) and the expression shapes.
    """
    unit, triangles = sphere(rows, columns)
    small, small_triangles = sphere(4, 6)
    middle = np.array(CENTRE_CM) + offset
    parts = [unit * RADIUS_CM, small * 1.5 + [3, 2, 2], small * 1.5 + [-3, 2, 2]]
    mean = np.concatenate(parts) + middle
    faces = np.concatenate([triangles, small_triangles + len(unit), small_triangles + len(unit) + len(small)])
    modes = np.stack([mean - middle, (mean - middle) * [0, 1, 0], np.ones_like(mean) * [1, 0, 0]]) * 0.05 * shapes
    expressions = np.stack([(mean - middle) * 0.02 * shapes * (k + 1) for k in range(len(NAMES))])
    part = np.concatenate(
        [np.where(unit[:, 2] >= 0, FACE, BACK), np.full(len(small), LEFT_EYE), np.full(len(small), RIGHT_EYE)]
    )
    directions = np.concatenate([unit, small, small])
    uv = np.stack([0.5 + 0.45 * directions[:, 0], 0.5 + 0.45 * directions[:, 1]], 1) + np.stack(
        [part == BACK, np.zeros(len(part))], 1
    )
    return HeadModel(
        mean.astype(np.float32),
        modes.astype(np.float32),
        expressions.astype(np.float32),
        NAMES,
        faces.astype(np.int64),
        uv.astype(np.float32),
        part.astype(np.uint8),
    )


def write_obj_folder(folder: Path, model: HeadModel) -> Layout:
    """Write a model as the FaceKit's files are, with three vertices and a face too many, and say how to read it."""
    folder.mkdir(parents=True)
    count, eye = len(model.mean), int((model.part == LEFT_EYE).sum())
    extra = np.full((3, 3), 5.0)

    def write(name: str, points: np.ndarray) -> None:
        lines = ["mtllib some.mtl", *(f"v {x:.9f} {y:.9f} {z:.9f}" for x, y, z in np.concatenate([points, extra]))]
        lines += [f"vt {u:.7f} {v:.7f}" for u, v in model.uv]
        lines += ["f " + " ".join(f"{i + 1}/{i + 1}" for i in face) for face in model.faces]
        lines.append("f " + " ".join(f"{i}/1" for i in range(count + 1, count + 4)))
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    write("generic_neutral_mesh.obj", model.mean)
    for index, mode in enumerate(model.identity):
        write(f"identity{index:03d}.obj", model.mean + mode)
    for name, shape in zip(model.names, model.expression, strict=True):
        write(f"{name}.obj", model.mean + shape)
    (folder / "vertex_indices.json").write_text('{"expressions": ["jawOpen", "browDown_L"]}', encoding="utf-8")
    head = count - 2 * eye
    return Layout(
        count + 3, len(model.identity), range(head), range(head, head + eye), range(head + eye, head + 2 * eye)
    )
