"""What is scored: predictions in memory, and result folders matched to the pictures of a truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.evaluate.truth import Truth
from gan2shape.io.arrays import Unreadable, read_array
from gan2shape.render import Camera, DepthRange, Scene, render
from gan2shape.result import ReconstructionResult

_SIGNS_OF_A_RESULT = ("depth.npy", "config.json", "scene.safetensors")


@dataclass(frozen=True, eq=False)
class Prediction:
    """What any method says about one picture.

    Attributes:
        depth: (1, 1, S, S) of the input view, scene units, finite everywhere.
        hit: (1, 1, S, S), 1 where the method has a surface.
        scene: its canonical object, batch 1, for everything but the shape; None for a method that has none.
        camera: of the scene; the method's own at its size when None.
        depth_range: of the scene.
    """

    depth: Tensor
    hit: Tensor
    scene: Scene | None = None
    camera: Camera | None = None
    depth_range: DepthRange = field(default_factory=DepthRange)

    @staticmethod
    def of_scene(scene: Scene, camera: Camera, depth_range: DepthRange = DepthRange()) -> Prediction:
        """The prediction that a scene of batch 1 is; depth and hits are those of its rendering."""
        view = render(scene, camera, depth_range=depth_range)
        return Prediction(view.depth, view.mask, scene, camera, depth_range)

    @property
    def scene_camera(self) -> Camera:
        """The camera of the scene."""
        return self.camera or Camera(self.depth.shape[-1])


@dataclass(frozen=True, eq=False)
class StoredResult:
    """A result folder: its prediction, and the whole result where the folder has more than a depth map."""

    folder: Path
    prediction: Prediction
    result: ReconstructionResult | None


def match_results(results: Path, truth: Truth) -> dict[int, Path]:
    """Result folders below ``results`` (or itself) by the picture of the truth to which they belong.

    A folder belongs to the picture of the same name, or else to the one whose name ends in the same number (in a truth
    file: the picture of this number, from 0).

    Raises:
        InputError: no result, one without depth.npy, or one that belongs to no picture, or two to the same.
    """
    if not results.is_dir():
        raise InputError(
            f"{results}: expected a folder with results; got {'a file' if results.exists() else 'nothing'}"
        )
    inside = sorted({file.parent for name in _SIGNS_OF_A_RESULT for file in results.glob(f"*/{name}")})
    folders = [results] if any((results / name).exists() for name in _SIGNS_OF_A_RESULT) else inside
    if not folders:
        raise InputError(f"{results}: expected result folders with depth.npy; found none")
    stems = [truth.name(index) for index in range(truth.count)]
    by_number: dict[int, list[int]] = {}
    for index, stem in enumerate(stems):
        by_number.setdefault(_number(stem), []).append(index)
    matched: dict[int, Path] = {}
    for folder in folders:
        if not (folder / "depth.npy").exists():
            raise InputError(f"{folder}: expected a result with depth.npy; got none; reconstruct or export it again")
        index = _picture_of(folder, stems, by_number)
        if index in matched:
            raise InputError(f"{folder} and {matched[index]} are both of picture {stems[index]}; keep one")
        matched[index] = folder
    return matched


def read_result(folder: Path) -> StoredResult:
    """Read what is scored of a result folder: ``depth.npy``, and the scene where there is one.

    Raises:
        InputError: damaged files, or numbers that are not possible.
    """
    depth, hit = read_depth(folder)
    if not any((folder / name).exists() for name in _SIGNS_OF_A_RESULT[1:]):
        return StoredResult(folder, Prediction(depth, hit), None)
    result = ReconstructionResult.load(folder)
    if depth.shape[-1] != result.camera.image_size:
        size = result.camera.image_size
        raise InputError(f"{folder / 'depth.npy'}: expected {size}x{size} as the scene; got {_size_of(depth)}")
    prediction = Prediction(depth, hit, result.scene, result.camera, _depth_range(result, folder))
    return StoredResult(folder, prediction, result)


def read_depth(folder: Path) -> tuple[Tensor, Tensor]:
    """Input-view depth (1, 1, S, S) and hits (1, 1, S, S) of a result folder; the depth is finite everywhere.

    Raises:
        InputError: damaged, not square, or numbers that cannot be depths.
    """
    file = folder / "depth.npy"
    try:
        values = read_array(file)
    except FileNotFoundError:
        raise InputError(f"{file}: expected a depth map; it cannot be read (no such file)") from None
    except Unreadable as error:
        raise InputError(f"{file}: expected a depth map; it cannot be read ({error})") from None
    if values.dtype.kind not in "biuf":
        raise InputError(f"{file}: expected a depth map; it cannot be read (no real numbers, but {values.dtype})")
    if values.ndim != 2 or values.shape[0] != values.shape[1] or values.shape[0] < 3:
        raise InputError(f"{file}: expected a depth map (S, S); got {values.shape}")
    depth = torch.from_numpy(values.astype(np.float32))[None, None]
    hit = torch.isfinite(depth)
    if not bool(hit.any()):
        raise InputError(f"{file}: expected a depth map; no pixel holds a finite depth")
    if bool((depth[hit] <= 0).any()):
        raise InputError(f"{file}: expected positive depths in scene units; got {float(depth[hit].min()):g}")
    return torch.where(hit, depth, depth[hit].max()), hit.float()


def _number(stem: str) -> int:
    """The number at a name's end, -1 where there is none."""
    digits = stem[len(stem.rstrip("0123456789")) :]
    return int(digits) if digits else -1


def _picture_of(folder: Path, stems: list[str], by_number: Mapping[int, list[int]]) -> int:
    name = folder.resolve().name
    if name in stems:
        return stems.index(name)
    number = _number(name)
    if number < 0:
        raise InputError(
            f"{folder}: expected a picture's name, or one that ends in the picture's number, like 000007; got {name}"
        )
    candidates = by_number.get(number, [])
    if len(candidates) != 1:
        has = f"{len(stems)} ({stems[0]} to {stems[-1]})" if not candidates else f"{len(candidates)} of this number"
        raise InputError(f"{folder}: picture {number}, but the truth has {has}")
    return candidates[0]


def _depth_range(result: ReconstructionResult, folder: Path) -> DepthRange:
    geometry = result.config.get("geometry")
    if not isinstance(geometry, Mapping) or not {"near", "far"} <= set(geometry):
        return DepthRange()
    try:
        return DepthRange(float(geometry["near"]), float(geometry["far"]))
    except (TypeError, ValueError) as error:
        raise InputError(f"{folder / 'config.json'}: expected a depth range; got {error}; reconstruct again") from None


def _size_of(depth: Tensor) -> str:
    return "x".join(map(str, depth.shape[2:]))
