"""Truth files: pictures with their exact depth and mask, and the results that belong to them."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan2shape.errors import InputError


@dataclass(frozen=True, eq=False)
class Truth:
    """The truth of N pictures.

    Attributes:
        depth: (N, 1, S, S) scene units, 0 = background.
        mask: (N, 1, S, S), 1 = object.
    """

    depth: Tensor
    mask: Tensor

    @property
    def count(self) -> int:
        """Number of pictures."""
        return self.depth.shape[0]


def read_truth(file: Path) -> Truth:
    """Read a ``.npz`` file with the keys ``depth`` (N, S, S) and ``mask`` (N, S, S).

    Raises:
        InputError: no such file, damaged, keys missing, sizes that do not fit, or numbers that cannot be depths.
    """
    try:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array")
        with archive:
            missing = sorted({"depth", "mask"} - set(archive.files))
            if missing:
                raise InputError(f"{file}: expected the keys depth and mask; {missing[0]} is missing")
            depth, mask = _real(archive["depth"]), _real(archive["mask"])
    except FileNotFoundError:
        raise InputError(f"{file}: expected a truth file (.npz); got no such file") from None
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{file}: expected a truth file (.npz); it cannot be read ({error})") from None
    if depth.ndim != 3 or depth.shape[1] != depth.shape[2] or mask.shape != depth.shape:
        raise InputError(f"{file}: expected depth and mask (N, S, S) alike; got {depth.shape} and {mask.shape}")
    if len(depth) == 0:
        raise InputError(f"{file}: expected depth and mask of pictures; got no picture")
    if not np.isfinite(depth).all() or (depth[mask > 0] <= 0).any():
        raise InputError(f"{file}: expected positive depth on the whole mask; got NaN, infinity or 0")
    empty = np.flatnonzero(~(mask > 0).any((1, 2)))
    if len(empty):
        raise InputError(f"{file}: expected an object in every mask; the mask of picture {empty[0]} is empty")
    return Truth(
        torch.from_numpy(depth.astype(np.float32))[:, None], torch.from_numpy((mask > 0).astype(np.float32))[:, None]
    )


def match_results(results: Path, truth: Truth) -> dict[int, Path]:
    """Result folders below ``results`` (or itself) by the picture that their name's trailing number counts from 0.

    Raises:
        InputError: no result with a depth, a name without a number, or a number that the truth does not have.
    """
    if not results.is_dir():
        raise InputError(
            f"{results}: expected a folder with results; got {'a file' if results.exists() else 'nothing'}"
        )
    folders = [results] if (results / "depth.npy").exists() else sorted(f.parent for f in results.glob("*/depth.npy"))
    if not folders:
        raise InputError(f"{results}: expected result folders with depth.npy; found none")
    matched: dict[int, Path] = {}
    for folder in folders:
        digits = folder.name[len(folder.name.rstrip("0123456789")) :]
        if not digits:
            raise InputError(
                f"{folder}: expected a name that ends in the picture's number, like 000007; got {folder.name}"
            )
        index = int(digits)
        if index >= truth.count:
            raise InputError(f"{folder}: picture {index}, but the truth has {truth.count} (from 0)")
        if index in matched:
            raise InputError(f"{folder} and {matched[index]} are both of picture {index}; keep one")
        matched[index] = folder
    return matched


def read_depth(folder: Path, size: int) -> tuple[Tensor, Tensor]:
    """Input-view depth (1, 1, S, S) and hits (1, 1, S, S) of a result folder; the depth is finite everywhere.

    Raises:
        InputError: damaged, another size than the truth's, or numbers that cannot be depths.
    """
    file = folder / "depth.npy"
    try:
        depth = torch.from_numpy(_real(np.load(file, allow_pickle=False)).astype(np.float32))[None, None]
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file}: expected a depth map; it cannot be read ({error})") from None
    if depth.shape[2:] != (size, size):
        raise InputError(f"{file}: expected {size}x{size} as the truth; got {'x'.join(map(str, depth.shape[2:]))}")
    hit = torch.isfinite(depth)
    if not bool(hit.any()):
        raise InputError(f"{file}: expected a depth map; no pixel holds a finite depth")
    if bool((depth[hit] <= 0).any()):
        raise InputError(f"{file}: expected positive depths in scene units; got {float(depth[hit].min()):g}")
    return torch.where(hit, depth, depth[hit].max()), hit.float()


def _real(values: object) -> np.ndarray:
    """The array, if it holds real numbers.

    Raises:
        ValueError: several arrays, texts, complex numbers or the like.
    """
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        raise ValueError(f"expected an array of real numbers; got {getattr(values, 'dtype', 'several arrays')}")
    return values
