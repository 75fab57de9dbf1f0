"""A folder of pictures with their truth, as ``gan2shape data synface`` writes it, read as arrays.

``image/NAME.png``, ``mask/NAME.png`` and ``albedo/NAME.png`` (linear), ``depth/NAME.npy`` (S, S) and
``normal/NAME.npy`` (S, S, 3), and ``parameters.jsonl`` with one object for each picture, ordered by name. Depth and
mask must be there.
Pictures with the same ``head`` in ``parameters.jsonl`` are further views of one another.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from gan2shape.errors import InputError
from gan2shape.io.arrays import Unreadable, read_array
from gan2shape.io.images import read_grey, read_image, to_uint8

_MAPS = {"depth": ".npy", "mask": ".png", "normal": ".npy", "albedo": ".png", "image": ".png"}
_NUMBERS = {"view_deg": (3,), "translation": (3,), "ambient": (), "diffuse": (), "light": (3,)}


def read_folder_arrays(folder: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The keys of a truth file for a truth folder, and the pictures' stems.

    Raises:
        InputError: maps missing or damaged, or not one of each kind for every picture.
    """
    names = tuple(sorted(file.stem for file in (folder / "depth").glob("*.npy")))
    if not names:
        raise InputError(f"{folder}: expected a truth folder with depth/*.npy and mask/*.png; found no depth")
    if not (folder / "mask").is_dir():
        raise InputError(f"{folder}: expected a truth folder with depth/*.npy and mask/*.png; found no mask")
    arrays = {kind: _read_maps(folder / kind, names, end) for kind, end in _MAPS.items() if (folder / kind).is_dir()}
    file = folder / "parameters.jsonl"
    if file.exists():
        rows = _read_rows(file, len(names))
        arrays.update(_numbers(file, rows))
        arrays.update(_further_views(rows, arrays))
    return arrays, names


def _read_maps(folder: Path, names: tuple[str, ...], ending: str) -> np.ndarray:
    """All maps of a kind, (N, S, S) or (N, S, S, 3)."""
    found = {file.stem for file in folder.glob(f"*{ending}")}
    odd = sorted(found.symmetric_difference(names))
    if odd:
        there = "is missing" if odd[0] in names else "has no depth beside it"
        raise InputError(f"{folder / (odd[0] + ending)}: expected one map for each picture; this one {there}")
    maps = [_read_map(folder / f"{name}{ending}", folder.name) for name in names]
    for name, values in zip(names, maps, strict=True):
        if values.shape != maps[0].shape:
            shapes = f"{maps[0].shape}; got {values.shape}"
            raise InputError(f"{folder / (name + ending)}: expected the shape of the first map, {shapes}")
    return np.stack(maps)


def _read_map(file: Path, kind: str) -> np.ndarray:
    if kind == "mask":
        return read_grey(file)[0, 0].numpy() >= 0.5
    if file.suffix == ".png":
        return to_uint8(read_image(file))
    try:
        values = read_array(file)
    except FileNotFoundError:
        raise InputError(f"{file}: expected a {kind} map; got no such file") from None
    except Unreadable as error:
        raise InputError(f"{file}: expected a {kind} map; it cannot be read ({error})") from None
    if values.dtype.kind not in "iuf":
        raise InputError(f"{file}: expected an array of numbers; got {values.dtype}")
    return values


def _read_rows(file: Path, count: int) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: expected one JSON object on each line; got {' '.join(str(error).split())}") from None
    if len(rows) != count or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{file}: expected one JSON object for each of {count} pictures; got {len(rows)} lines")
    return rows


def _numbers(file: Path, rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The parameters that every picture has."""
    arrays = {}
    for key, shape in _NUMBERS.items():
        if not all(key in row for row in rows):
            continue
        try:
            values = np.array([np.asarray(row[key], dtype=np.float64).reshape(shape) for row in rows])
        except (TypeError, ValueError):
            raise InputError(f"{file}: expected numbers of shape {shape} in {key}; got something else") from None
        arrays[key] = values
    return arrays


def _further_views(rows: list[dict[str, Any]], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The other pictures of the same head as ``extra_`` keys, where all heads have equally many (at least two)."""
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        if "head" not in row:
            return {}
        groups.setdefault(json.dumps(row["head"]), []).append(index)
    sizes = {len(group) for group in groups.values()}
    if len(sizes) != 1 or sizes == {1}:
        return {}
    others = [[o for o in groups[json.dumps(row["head"])] if o != index] for index, row in enumerate(rows)]
    kinds = ("image", "mask", *_NUMBERS)
    return {f"extra_{kind}": arrays[kind][np.array(others)] for kind in kinds if kind in arrays}
