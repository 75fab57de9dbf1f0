"""The object as a coloured point cloud with normals: binary PLY."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from gan2shape.export.surface import Surface, directions_to_file_frame, to_file_frame
from gan2shape.io.files import write_bytes

_ROW = np.dtype(
    [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")] + [(name, "u1") for name in ("red", "green", "blue")]
)
_KINDS = {"<f4": "float", "|u1": "uchar"}


def write_ply(path: str | Path, surface: Surface, colours: Tensor) -> None:
    """Write the surface's vertices with their normals and colours.

    Args:
        path: the .ply file.
        surface: the object.
        colours: (N, 3) signed, one for each vertex.

    Raises:
        OutputError: the place cannot be written.
    """
    rows = np.empty(surface.vertices.shape[0], dtype=_ROW)
    places = to_file_frame(surface.vertices).cpu().numpy()
    normals = directions_to_file_frame(surface.normals).cpu().numpy()
    levels = ((colours.clamp(-1, 1) + 1) / 2 * 255).round().byte().cpu().numpy()
    for values, names in ((places, ("x", "y", "z")), (normals, ("nx", "ny", "nz")), (levels, ("red", "green", "blue"))):
        for column, name in enumerate(names):
            rows[name] = values[:, column]
    properties = [f"property {_KINDS[_ROW[name].str]} {name}" for name in _ROW.names or ()]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}", *properties, "end_header", ""]
    write_bytes(path, "\n".join(header).encode("ascii") + rows.tobytes())
