"""Pictures from files as endless sequences, shuffled anew in every pass.

The order of pass e depends on (seed, e) alone, so that picture number i is the same in every run.
"""

from __future__ import annotations

import functools
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.io.arrays import ArrayFile, Unreadable
from gan2shape.io.images import read_image, to_uint8

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".gif")
"""Names of files that are taken for pictures, whatever their case."""
CACHE_BYTES = 4 << 30
"""How much decoded pictures of a folder may take in memory; the rest is decoded anew each time."""
_SHUFFLE_STREAM = 2
_MAPS = {"mask": 0, "depth": 0, "normal": 3, "albedo": 3}
_NUMBERS = {"view_deg": 3, "translation": 3, "ambient": 0, "diffuse": 0, "light": 3}
_DAMAGED = (OSError, ValueError, EOFError, AttributeError, KeyError, zipfile.BadZipFile, zlib.error, RuntimeError)


class Shuffle:
    """Which of N stored pictures picture number i is.

    Args:
        count: how many are stored.
        seed: of the orders.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.seed = seed
        self._order = functools.lru_cache(maxsize=2)(self._draw_order)

    def __call__(self, start: int, count: int) -> np.ndarray:
        """Places of pictures ``start`` to ``start + count - 1``: (count,) int64.

        Raises:
            ValueError: a negative number, or no picture asked for.
        """
        if start < 0 or count < 1:
            raise ValueError(f"pictures are numbered from 0 and asked for one at least; got {start} and {count}")
        numbers = np.arange(start, start + count)
        passes, places = np.divmod(numbers, self.count)
        return np.array([self._order(int(e))[p] for e, p in zip(passes, places, strict=True)])

    def _draw_order(self, number: int) -> np.ndarray:
        sequence = np.random.SeedSequence([self.seed % 2**64, _SHUFFLE_STREAM, number])
        return np.random.Generator(np.random.Philox(sequence)).permutation(self.count)


class PackedPictures:
    """Pictures of one ``.npz`` file: ``image`` (N, S, S, 3) uint8 and, where there are any, the truth's arrays.

    Args:
        file: the file, with the keys of `gan2shape.data.writing`.
        size: side in pixels that the pictures must have.
        seed: of the shuffling.
        device: where the pictures are wanted.

    Attributes:
        size: side of the pictures in pixels.
        count: how many there are.
        description: one line for logs.

    Raises:
        InputError: missing, damaged, of another size, or arrays that do not fit together.
    """

    def __init__(self, file: Path, *, size: int, seed: int = 0, device: torch.device | str = "cpu") -> None:
        self._archive = _open_packed(file)
        headers = self._archive.headers
        self.count, stored = headers["image"].shape[:2]
        if stored != size:
            raise InputError(f"{file}: expected pictures of {size} px; got {stored} px")
        self.size = size
        self._keys = tuple(key for key in ("image", *_MAPS, *_NUMBERS) if key in headers)
        self._arrays: dict[str, np.ndarray] = {}
        self.description = f"{self.count} packed pictures of {size} px from {file.name}"
        self._device = device
        self._shuffle = Shuffle(self.count, seed)

    def __call__(self, start: int, count: int) -> Mapping[str, Tensor]:
        """Pictures ``start`` to ``start + count - 1``, each map read from the file when it is first looked at.

        Returns:
            ``image`` (B, 3, S, S) signed and, if the file has them, ``mask``, ``depth`` (B, 1, S, S), ``normal``,
            ``albedo`` (B, 3, S, S) in [0, 1], ``view`` (B, 3) degrees, ``translation``, ``light`` (B, 3), ``ambient``,
            ``diffuse`` (B, 1).

        Raises:
            ValueError: a negative number, or no picture asked for.
        """
        places = self._shuffle(start, count)
        made = {("view" if key == "view_deg" else key): functools.partial(self._map, key, places) for key in self._keys}
        return _Lazy(made)

    def _map(self, key: str, places: np.ndarray) -> Tensor:
        """One map or number of the pictures at ``places`` (B,)."""
        small = torch.from_numpy(self._array(key)[places]).to(self._device)
        scaled = small.float() / 255 if small.dtype == torch.uint8 and key in ("image", "albedo") else small.float()
        if key == "image":
            scaled = scaled * 2 - 1
        if key in _NUMBERS:
            return scaled.view(len(places), -1)
        return scaled.unsqueeze(1) if scaled.dim() == 3 else scaled.permute(0, 3, 1, 2).contiguous()

    def _array(self, key: str) -> np.ndarray:
        """One array of the file, kept from the first time on."""
        if key not in self._arrays:
            file = self._archive.file
            try:
                values = self._archive.read(key)
            except FileNotFoundError:
                raise InputError(f"{file}: expected packed pictures (.npz); the file is gone") from None
            except Unreadable as error:
                raise InputError(f"{file}: expected packed pictures (.npz); {key} cannot be read ({error})") from None
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise InputError(f"{file}: expected finite numbers in {key}; got NaN or infinity")
            self._arrays[key] = values
        return self._arrays[key]


class _Lazy(Mapping[str, Tensor]):
    """Maps by name, each made when it is first looked at."""

    def __init__(self, made: Mapping[str, Callable[[], Tensor]]) -> None:
        self._made = made
        self._kept: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._kept:
            self._kept[name] = self._made[name]()
        return self._kept[name]

    def __contains__(self, name: object) -> bool:
        return name in self._made  # That of `Mapping` makes the map.

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


class FolderPictures:
    """Pictures of a folder, with its sub-folders, or of a zip file, in the order of their names, then shuffled.

    Each is read as `gan2shape.io.images.read_image` does: centre square, resized, as RGB. Decoded pictures are kept in
    memory up to `CACHE_BYTES`.

    Args:
        source: the folder or zip file.
        size: side in pixels to resize to.
        seed: of the shuffling.
        device: where the pictures are wanted.

    Attributes:
        size: side of the pictures in pixels.
        count: how many there are.
        description: one line for logs.

    Raises:
        InputError: missing, damaged, or without pictures. A picture that cannot be read is told when its turn comes.
    """

    def __init__(self, source: Path, *, size: int, seed: int = 0, device: torch.device | str = "cpu") -> None:
        self._source = source
        self._names = _names(source)
        if not self._names:
            raise InputError(f"{source}: expected pictures ({', '.join(SUFFIXES)}); found none")
        self.size = size
        self.count = len(self._names)
        self.description = f"{self.count} pictures from {source.name}, {size} px"
        self._device = device
        self._shuffle = Shuffle(self.count, seed)
        self._kept: dict[int, np.ndarray] = {}
        self._most_kept = CACHE_BYTES // (3 * size * size)

    def __call__(self, start: int, count: int) -> dict[str, Tensor]:
        """Pictures ``start`` to ``start + count - 1`` as ``image`` (B, 3, S, S), signed.

        Raises:
            InputError: one of them cannot be read.
            ValueError: a negative number, or no picture asked for.
        """
        levels = np.stack([self._levels(int(place)) for place in self._shuffle(start, count)])
        image = torch.from_numpy(levels).to(self._device).permute(0, 3, 1, 2)
        return {"image": image.contiguous().float() / 127.5 - 1}

    def _levels(self, place: int) -> np.ndarray:
        """(S, S, 3) uint8 of one stored picture."""
        if place in self._kept:
            return self._kept[place]
        name = self._names[place]
        if self._source.is_dir():
            levels = to_uint8(read_image(self._source / name, size=self.size))
        else:
            levels = _from_zip(self._source, name, self.size)
        if len(self._kept) < self._most_kept:
            self._kept[place] = levels
        return levels


def _names(source: Path) -> list[str]:
    """Relative names of the pictures, sorted; hidden ones are left out."""
    try:
        if source.is_dir():
            found = [file.relative_to(source).as_posix() for file in source.rglob("*") if file.is_file()]
        else:
            with zipfile.ZipFile(source) as archive:
                found = [name for name in archive.namelist() if not name.endswith("/")]
    except FileNotFoundError:
        raise InputError(f"{source}: expected a folder or zip file of pictures; got no such place") from None
    except _DAMAGED as error:
        raise InputError(f"{source}: expected a folder or zip file of pictures; it cannot be read ({error})") from None
    return sorted(
        name
        for name in found
        if Path(name).suffix.lower() in SUFFIXES
        and not any(part.startswith((".", "__MACOSX")) for part in Path(name).parts)
    )


def _from_zip(source: Path, name: str, size: int) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(folder) / f"picture{Path(name).suffix}"
        try:
            with zipfile.ZipFile(source) as archive:
                unpacked.write_bytes(archive.read(name))
        except _DAMAGED as error:
            raise InputError(f"{source}: expected a whole zip file; {name} cannot be unpacked ({error})") from None
        try:
            return to_uint8(read_image(unpacked, size=size))
        except InputError as error:
            raise InputError(str(error).replace(str(unpacked), f"{source}: {name}")) from None


def _open_packed(file: Path) -> ArrayFile:
    """The file, after a look at what its arrays say of themselves."""
    try:
        archive = ArrayFile(file)
    except FileNotFoundError:
        raise InputError(f"{file}: expected packed pictures (.npz); got no such file") from None
    except Unreadable as error:
        raise InputError(f"{file}: expected packed pictures (.npz); it cannot be read ({error})") from None
    headers = archive.headers
    if "image" not in headers:
        raise InputError(f"{file}: expected packed pictures; the key image is missing")
    image = headers["image"]
    if image.dtype != np.uint8 or len(image.shape) != 4 or image.shape[1:] != (image.shape[1], image.shape[1], 3):
        raise InputError(f"{file}: expected image (N, S, S, 3) of uint8; got {image.shape} of {image.dtype}")
    if not image.shape[0]:
        raise InputError(f"{file}: expected pictures; got none")
    for key, channels in {**_MAPS, **_NUMBERS}.items():
        if key not in headers:
            continue
        place = () if key in _NUMBERS else image.shape[1:3]
        wanted = (image.shape[0], *place, *((channels,) if channels else ()))
        got = headers[key]
        if got.shape != wanted or got.dtype.kind not in "biuf":
            raise InputError(f"{file}: expected {key} {wanted} of numbers; got {got.shape} of {got.dtype}")
    return archive
