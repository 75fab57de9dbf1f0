"""The head model: a mean shape, identity modes and expression shapes on one mesh.

Axes of the model: x to the left of the face, y up, z forward out of the face, centimetres.
A packed file is a NumPy .npz of plain arrays: `mean_vertices_cm` (V, 3), `identity_basis_cm` (I, V, 3),
`expression_basis_cm` (E, V, 3), `expression_names` (E,), `faces` (F, 3), `uv` (V, 2), `part` (V,), `part_names`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gan2shape.errors import InputError
from gan2shape.io.arrays import ArrayFile, Unreadable
from gan2shape.io.files import atomic_write

FACE, BACK, LEFT_EYE, RIGHT_EYE = range(4)
PART_NAMES = ("face", "back_of_head", "left_eyeball", "right_eyeball")
"""What the values of `HeadModel.part` mean."""
_KEYS = ("mean_vertices_cm", "identity_basis_cm", "expression_basis_cm", "expression_names", "faces", "uv", "part")
_FARTHEST_CM = 1000.0


@dataclass(frozen=True, eq=False)
class HeadModel:
    """A linear model of heads: vertices = mean + identity · I + expression · E, in centimetres."""

    mean: np.ndarray
    """(V, 3) float32, the mean head in cm."""
    identity: np.ndarray
    """(I, V, 3) float32, cm for a coefficient of 1."""
    expression: np.ndarray
    """(E, V, 3) float32, cm for a weight of 1."""
    names: tuple[str, ...]
    """Names of the E expression shapes."""
    faces: np.ndarray
    """(F, 3) int64, counter-clockwise as seen from outside."""
    uv: np.ndarray
    """(V, 2) float32 texture coordinates."""
    part: np.ndarray
    """(V,) uint8, an index of `PART_NAMES`."""

    def __post_init__(self) -> None:
        count = len(self.mean)
        wanted = {
            "mean": (count, 3),
            "identity": (len(self.identity), count, 3),
            "expression": (len(self.names), count, 3),
            "faces": (len(self.faces), 3),
            "uv": (count, 2),
            "part": (count,),
        }
        for name, shape in wanted.items():
            values = getattr(self, name)
            if values.shape != shape:
                raise ValueError(f"{name} must be {shape}; got {values.shape}")
            if not np.isfinite(values).all():
                raise ValueError(f"{name} must be finite; got NaN or infinity")
        if not count or not len(self.faces):
            raise ValueError("a head needs vertices and faces; got none")
        if self.faces.min() < 0 or self.faces.max() >= count:
            raise ValueError(f"faces must name vertices 0 to {count - 1}; got {self.faces.min()} to {self.faces.max()}")
        if self.part.max() >= len(PART_NAMES):
            raise ValueError(f"part must be 0 to {len(PART_NAMES) - 1}; got {self.part.max()}")
        if np.abs(self.mean).max() > _FARTHEST_CM:
            raise ValueError(f"mean must be a head in centimetres; got {np.abs(self.mean).max():g}")


def read_packed(file: Path) -> HeadModel:
    """Read a packed model.

    Raises:
        InputError: no such file, damaged, keys missing, or arrays that do not fit together.
    """
    try:
        archive = ArrayFile(file)
        missing = [key for key in _KEYS if key not in archive.headers]
        if missing:
            raise InputError(f"{file}: expected a packed head model; the key {missing[0]} is missing")
        values = {key: archive.read(key) for key in _KEYS}
    except FileNotFoundError:
        raise InputError(f"{file}: expected a packed head model (.npz); got no such file") from None
    except Unreadable as error:
        raise InputError(f"{file}: expected a packed head model (.npz); it cannot be read ({error})") from None
    for key, value in values.items():
        if value.dtype.kind not in ("U" if key == "expression_names" else "iu" if key in ("faces", "part") else "f"):
            raise InputError(f"{file}: expected numbers of another kind in {key}; got {value.dtype}")
    try:
        return HeadModel(
            values["mean_vertices_cm"].astype(np.float32),
            values["identity_basis_cm"].astype(np.float32),
            values["expression_basis_cm"].astype(np.float32),
            tuple(str(name) for name in values["expression_names"].ravel()),
            values["faces"].astype(np.int64),
            values["uv"].astype(np.float32),
            values["part"].astype(np.uint8),
        )
    except (ValueError, TypeError) as error:  # TypeError: len() of an array without dimensions.
        raise InputError(f"{file}: expected a packed head model; {error}") from None


def write_packed(file: Path, model: HeadModel) -> None:
    """Write a packed model, bases as float16 (a hundredth of a millimetre). Raises `OutputError`."""
    small = np.uint16 if len(model.mean) <= np.iinfo(np.uint16).max else np.uint32
    arrays = {
        "mean_vertices_cm": model.mean.astype(np.float32),
        "identity_basis_cm": model.identity.astype(np.float16),
        "expression_basis_cm": model.expression.astype(np.float16),
        "expression_names": np.array(model.names, dtype=np.str_),
        "faces": model.faces.astype(small),
        "uv": model.uv.astype(np.float32),
        "part": model.part.astype(np.uint8),
        "part_names": np.array(PART_NAMES),
    }
    with atomic_write(file) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
