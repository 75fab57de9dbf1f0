"""The public ICT FaceKit's folder of OBJ files (USC ICT, MIT licence), cut to what a render needs.

The folder holds `generic_neutral_mesh.obj`, `identity000.obj` to `identity099.obj`, one OBJ file per expression shape,
named after it, and `vertex_indices.json`, which lists the expression shapes. All of them are one mesh of 26,719
vertices in centimetres; a shape is its file's difference from the neutral mesh. Kept are face, head and neck, the
sockets of mouth and eyes, and the whites of the eyes with the cornea; gums, teeth, tears and lashes are left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gan2shape.data.model import BACK, FACE, LEFT_EYE, RIGHT_EYE, HeadModel
from gan2shape.errors import InputError

NEUTRAL = "generic_neutral_mesh.obj"
"""The file by which a model folder is recognised."""
SUBFOLDER = "FaceXModel"
"""Where the files lie in the repository."""
_LISTS = "vertex_indices.json"


@dataclass(frozen=True)
class Layout:
    """Which vertices of the files make the head."""

    vertex_count: int = 26719
    """Vertices of every file."""
    identity_count: int = 100
    """Identity modes, files identity000.obj and on."""
    head: range = range(14062)
    """Face, head and neck, sockets."""
    left_eye: range = range(21451, 22221)
    """White of the left eye with the cornea."""
    right_eye: range = range(23021, 23791)
    """White of the right eye with the cornea."""


FACEKIT = Layout()
"""The public light model, as its own description numbers it."""


def model_folder(path: Path) -> Path | None:
    """The folder with the OBJ files: ``path``, or its `SUBFOLDER`; None if neither is one."""
    for folder in (path, path / SUBFOLDER):
        if (folder / NEUTRAL).is_file():
            return folder
    return None


def read_facekit(
    path: Path, *, layout: Layout = FACEKIT, on_progress: Callable[[int, int], None] | None = None
) -> HeadModel:
    """Read the model from its folder of OBJ files, or from the repository's folder.

    Args:
        path: the folder.
        layout: which vertices to keep.
        on_progress: called with the number of files read and of all files.

    Raises:
        InputError: a file is missing, damaged, or of another mesh; the line names it.
    """
    folder = model_folder(path)
    if folder is None:
        raise InputError(f"{path}: expected a folder of the ICT FaceKit model; it holds no {NEUTRAL}")
    identities = [folder / f"identity{index:03d}.obj" for index in range(layout.identity_count)]
    expressions = _expressions(folder)
    total = 1 + len(identities) + len(expressions)
    keep = np.concatenate([np.asarray(part, np.int64) for part in (layout.head, layout.left_eye, layout.right_eye)])
    text = _read(folder / NEUTRAL)
    mean = _vertices(folder / NEUTRAL, text, layout)[keep]
    triangles, uv = _surface(folder / NEUTRAL, text, keep, layout)
    shapes = np.empty((total - 1, len(keep), 3), np.float32)
    for done, file in enumerate([*identities, *expressions]):
        if on_progress is not None:
            on_progress(done + 1, total)
        shapes[done] = _vertices(file, _read(file), layout)[keep] - mean
    if on_progress is not None:
        on_progress(total, total)
    eyes = np.arange(len(keep)) - len(layout.head)
    part = np.where(uv[:, 0] >= 1, BACK, FACE)
    part = np.where(eyes >= 0, np.where(eyes < len(layout.left_eye), LEFT_EYE, RIGHT_EYE), part)
    names = tuple(file.stem for file in expressions)
    split = layout.identity_count
    try:
        return HeadModel(
            mean.astype(np.float32), shapes[:split], shapes[split:], names, triangles, uv, part.astype(np.uint8)
        )
    except ValueError as error:
        raise InputError(f"{folder}: expected the ICT FaceKit model; {error}") from None


def _expressions(folder: Path) -> list[Path]:
    """All files that are neither the neutral mesh nor an identity; those that the list names must be there."""
    files = {file.stem: file for file in folder.glob("*.obj") if not file.stem.startswith("identity")}
    files.pop(Path(NEUTRAL).stem)
    lists = folder / _LISTS
    try:
        listed = json.loads(_read(lists))["expressions"]
        if not all(isinstance(name, str) for name in listed):
            raise TypeError("a name is no text")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f'{lists}: expected JSON with a list "expressions"; it cannot be used ({error})') from None
    for name in listed:
        if name not in files:
            raise InputError(f"{folder / name}.obj: expected an expression shape, since {_LISTS} names it; got no file")
    return [files[name] for name in sorted(files)]


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{file}: expected a file of the head model; got no such file") from None
    except OSError as error:
        raise InputError(f"{file}: expected a file of the head model; it cannot be read ({error.strerror})") from None


def _vertices(file: Path, text: bytes, layout: Layout) -> np.ndarray:
    """(V, 3) float64."""
    lines = [line[2:].split()[:3] for line in text.split(b"\n") if line.startswith(b"v ")]
    if len(lines) != layout.vertex_count:
        raise InputError(f"{file}: expected an OBJ file of {layout.vertex_count} vertices; got {len(lines)}")
    try:
        values = np.array(lines, dtype="S").astype(np.float64)
    except ValueError as error:
        raise InputError(f"{file}: expected an OBJ file; a vertex cannot be read ({error})") from None
    if values.shape != (layout.vertex_count, 3) or not np.isfinite(values).all():
        raise InputError(f"{file}: expected three finite numbers for every vertex; got others")
    return values


def _surface(file: Path, text: bytes, keep: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (F, 3) of the kept vertices, and their texture coordinates (V, 2).

    A vertex on a seam of the texture has several; the last polygon's count.
    """
    renumber = np.full(layout.vertex_count, -1)
    renumber[keep] = np.arange(len(keep))
    uv = np.zeros((len(keep), 2), np.float32)
    triangles = []
    try:
        table = np.array([line.split()[1:3] for line in text.split(b"\n") if line.startswith(b"vt ")]).astype(float)
        for line in text.split(b"\n"):
            if not line.startswith(b"f "):
                continue
            corners = [corner.split(b"/") for corner in line.split()[1:]]
            numbers = [int(renumber[_from_one(corner[0])]) for corner in corners]
            if min(numbers) < 0:
                continue
            uv[numbers] = table[[_from_one(corner[1]) for corner in corners]]
            triangles += [(numbers[0], *numbers[k : k + 2]) for k in range(1, len(numbers) - 1)]
    except (ValueError, IndexError) as error:
        raise InputError(f"{file}: expected an OBJ file with faces v/vt; one cannot be read ({error})") from None
    if not triangles:
        raise InputError(f"{file}: expected faces of the head; got none")
    return np.array(triangles, np.int64), uv


def _from_one(number: bytes) -> int:
    """OBJ counts from 1; a number below would silently count from the end."""
    value = int(number)
    if value < 1:
        raise ValueError(f"number {value}")
    return value - 1
