"""Pictures with their exact truth, from one file (.npz) or from a folder of pictures and maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.errors import InputError
from gan2shape.evaluate.truth_folder import read_folder_arrays
from gan2shape.io.arrays import ArrayFile, Unreadable
from gan2shape.render import Lighting, Pose

SHAPES: Mapping[str, str] = {
    "image": "SSC",
    "mask": "SS",
    "depth": "SS",
    "normal": "SSC",
    "albedo": "SSC",
    "view_deg": "C",
    "translation": "C",
    "ambient": "",
    "diffuse": "",
    "light": "C",
}
"""What a truth may hold of each picture: S is the picture's side, C is 3. Further views have ``extra_`` before it."""
_VIEW_KEYS = ("image", "mask", "view_deg", "translation", "ambient", "diffuse", "light")


@dataclass(frozen=True, eq=False)
class Views:
    """V pictures of one object under known poses and lights.

    Attributes:
        image: (V, 3, S, S) signed.
        mask: (V, 1, S, S), 1 = object.
        pose: of batch V.
        lighting: of batch V, in camera axes.
    """

    image: Tensor
    mask: Tensor
    pose: Pose
    lighting: Lighting


@dataclass(frozen=True, eq=False)
class Truth:
    """The truth of N pictures; what is None is not known, and what needs it is not scored.

    Attributes:
        depth: (N, 1, S, S) scene units, 0 = background.
        mask: (N, 1, S, S), 1 = object.
        normal: (N, 3, S, S) of the object's mesh, +z away from the camera, in camera axes.
        albedo: (N, 3, S, S) in [0, 1], linear.
        image: (N, 3, S, S) signed.
        pose: of batch N: the motion from the frontal object to the view.
        lighting: of batch N, in camera axes.
        extra: for each picture, further views of the same object.
        names: a stem for each picture; their numbers where left out.
    """

    depth: Tensor
    mask: Tensor
    normal: Tensor | None = None
    albedo: Tensor | None = None
    image: Tensor | None = None
    pose: Pose | None = None
    lighting: Lighting | None = None
    extra: Sequence[Views] | None = None
    names: Sequence[str] = ()

    @property
    def count(self) -> int:
        """Number of pictures."""
        return self.depth.shape[0]

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        return self.depth.shape[-1]

    def name(self, picture: int) -> str:
        """Stem of a picture."""
        return self.names[picture] if self.names else f"{picture:06d}"

    def item(self, picture: int) -> Truth:
        """The truth of one picture. Raises IndexError for a number that there is not."""
        if not 0 <= picture < self.count:
            raise IndexError(f"picture {picture} of {self.count}")
        some = slice(picture, picture + 1)

        def pick(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[some]

        return Truth(
            self.depth[some],
            self.mask[some],
            normal=pick(self.normal),
            albedo=pick(self.albedo),
            image=pick(self.image),
            pose=None if self.pose is None else self.pose[picture],
            lighting=None if self.lighting is None else self.lighting[picture],
            extra=None if self.extra is None else self.extra[some],
            names=(self.name(picture),),
        )


def read_truth(place: Path) -> Truth:
    """Read the truth of a set of pictures.

    Args:
        place: a ``.npz`` file with the keys ``depth`` (N, S, S) and ``mask`` (N, S, S), and any others of `SHAPES` with
            a first dimension N, and any of them with ``extra_`` before the name and first dimensions N, V; or a folder,
            see `gan2shape.evaluate.truth_folder`. Pictures and albedo are bytes.

    Raises:
        InputError: nothing there, damaged, keys missing, sizes that do not fit, or numbers that are not possible.
    """
    if place.is_dir():
        arrays, names = read_folder_arrays(place)
    else:
        arrays, names = _read_archive(place), ()
    _check_arrays(place, arrays)
    extra = _extra_views(arrays)
    return Truth(
        depth=_real(arrays["depth"])[:, None],
        mask=_flags(arrays["mask"])[:, None],
        normal=None if "normal" not in arrays else _real(arrays["normal"]).permute(0, 3, 1, 2).contiguous(),
        albedo=None if "albedo" not in arrays else _pictures(arrays["albedo"]),
        image=None if "image" not in arrays else _pictures(arrays["image"]) * 2 - 1,
        pose=_pose(arrays, ""),
        lighting=_lighting(arrays, ""),
        extra=extra,
        names=names,
    )


def _read_archive(file: Path) -> dict[str, np.ndarray]:
    wanted = {*SHAPES, *(f"extra_{key}" for key in _VIEW_KEYS)}
    try:
        archive = ArrayFile(file)
        missing = sorted({"depth", "mask"} - set(archive.headers))
        if missing:
            raise InputError(f"{file}: expected the keys depth and mask; {missing[0]} is missing")
        return {key: archive.read(key) for key in archive.headers if key in wanted}
    except FileNotFoundError:
        raise InputError(f"{file}: expected a truth file (.npz) or folder; got no such file") from None
    except Unreadable as error:
        raise InputError(f"{file}: expected a truth file (.npz); it cannot be read ({error})") from None


def _check_arrays(place: Path, arrays: dict[str, np.ndarray]) -> None:
    """Shapes, kinds and values; a trailing dimension of one of ambient and diffuse is taken away."""
    for key, values in arrays.items():
        if values.dtype.kind not in "biuf":
            raise InputError(f"{place}: expected numbers in {key}; it cannot be read ({values.dtype})")
    depth, mask = arrays["depth"], arrays["mask"]
    if depth.ndim != 3 or depth.shape[1] != depth.shape[2] or mask.shape != depth.shape:
        raise InputError(f"{place}: expected depth and mask (N, S, S) alike; got {depth.shape} and {mask.shape}")
    if len(depth) == 0:
        raise InputError(f"{place}: expected depth and mask of pictures; got no picture")
    if not np.isfinite(depth).all() or (depth[mask > 0] <= 0).any():
        raise InputError(f"{place}: expected positive depth on the whole mask; got NaN, infinity or 0")
    empty = np.flatnonzero(~(mask > 0).any((1, 2)))
    if len(empty):
        raise InputError(f"{place}: expected an object in every mask; the mask of picture {empty[0]} is empty")
    views = next((v.shape[1] for k, v in arrays.items() if k.startswith("extra_") and v.ndim > 1), 0)
    for key, values in arrays.items():
        first = (len(depth), views) if key.startswith("extra_") else (len(depth),)
        letters = SHAPES[key.removeprefix("extra_")]
        shape = (*first, *({"S": depth.shape[1], "C": 3}[letter] for letter in letters))
        if not letters and values.shape == (*shape, 1):
            arrays[key] = values[..., 0]
        elif values.shape != shape:
            raise InputError(f"{place}: expected {key} of shape {shape}; got {values.shape}")
        if not np.isfinite(values).all():
            raise InputError(f"{place}: expected finite numbers in {key}; got NaN or infinity")
        if letters == "SSC" and not key.endswith("normal") and values.dtype != np.uint8:
            raise InputError(f"{place}: expected bytes (uint8) in {key}; got {values.dtype}")
        if key.endswith("light") and (np.linalg.norm(values.astype(np.float64), axis=-1) < 1e-6).any():
            raise InputError(f"{place}: expected directions in {key}; got a vector of length 0")


def _extra_views(arrays: Mapping[str, np.ndarray]) -> tuple[Views, ...] | None:
    if not all(f"extra_{key}" in arrays for key in _VIEW_KEYS if key != "translation"):
        return None
    count, views = arrays["extra_mask"].shape[:2]
    if views == 0:
        return None
    flat = {key: values.reshape(-1, *values.shape[2:]) for key, values in arrays.items() if key.startswith("extra_")}
    image, mask = _pictures(flat["extra_image"]) * 2 - 1, _flags(flat["extra_mask"])[:, None]
    pose, lighting = _pose(flat, "extra_"), _lighting(flat, "extra_")
    assert pose is not None
    assert lighting is not None
    parts = [slice(index * views, (index + 1) * views) for index in range(count)]
    return tuple(Views(image[part], mask[part], pose[part], lighting[part]) for part in parts)


def _pose(arrays: Mapping[str, np.ndarray], prefix: str) -> Pose | None:
    if f"{prefix}view_deg" not in arrays:
        return None
    angles = torch.deg2rad(_real(arrays[f"{prefix}view_deg"]))
    shift = arrays.get(f"{prefix}translation")
    return Pose.from_euler(angles, None if shift is None else _real(shift))


def _lighting(arrays: Mapping[str, np.ndarray], prefix: str) -> Lighting | None:
    keys = [f"{prefix}{key}" for key in ("ambient", "diffuse", "light")]
    if not all(key in arrays for key in keys):
        return None
    ambient, diffuse, direction = (_real(arrays[key]) for key in keys)
    return Lighting(ambient[:, None], diffuse[:, None], F.normalize(direction, dim=1))


def _real(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _flags(values: np.ndarray) -> Tensor:
    return _real(values > 0)


def _pictures(levels: np.ndarray) -> Tensor:
    """(N, S, S, 3) bytes to (N, 3, S, S) in [0, 1]."""
    return torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255
