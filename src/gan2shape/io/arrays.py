"""NumPy's .npy and .npz files as data, one array at a time.

Arrays of objects, which are pickles, are refused in our own words: numpy's text would tell a user to allow them. What a
header claims is compared with the bytes that are there before any array is made.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

_DENSEST = 1040
"""Bytes that one byte of a deflated entry can stand for, at most."""
_MOST_DIMENSIONS = 32
_DAMAGED = (
    ValueError,
    TypeError,
    EOFError,
    AttributeError,
    KeyError,
    IndexError,
    OverflowError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


class Unreadable(ValueError):
    """A file that holds no such arrays; the text is the reason, in a few words."""


@dataclass(frozen=True)
class ArrayHeader:
    """What an array says of itself before its numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype
    """The type of its elements."""

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_array(file: Path) -> np.ndarray:
    """The array of a .npy file.

    Raises:
        FileNotFoundError: there is no such file.
        Unreadable: it is damaged, of another kind, or holds objects.
    """
    with _told(), _regular(file) as stream:
        if stream.read(4).startswith(b"PK"):
            raise Unreadable("it holds several arrays")
        stream.seek(0)
        return _array(stream, os.fstat(stream.fileno()).st_size)


class ArrayFile:
    """The arrays of a .npz file by name; each is read when it is asked for.

    Attributes:
        file: where it is.
        headers: shape and type of every array by its name.

    Raises:
        FileNotFoundError: there is no such file.
        Unreadable: it is damaged, or of another kind.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        headers: dict[str, ArrayHeader] = {}
        with _told(), _regular(file) as stream:
            if stream.read(6) == b"\x93NUMPY":
                raise Unreadable("it is a single array")
            with zipfile.ZipFile(stream) as archive:
                for entry in archive.infolist():
                    if entry.filename.endswith(".npy"):
                        with archive.open(entry) as inside:
                            headers[entry.filename.removesuffix(".npy")] = _header(inside)
        self.headers: Mapping[str, ArrayHeader] = headers

    def read(self, name: str) -> np.ndarray:
        """One array.

        Raises:
            KeyError: there is none of this name.
            Unreadable: it is damaged, or holds objects.
        """
        if name not in self.headers:
            raise KeyError(name)
        with _told(), _regular(self.file) as stream, zipfile.ZipFile(stream) as archive:
            entry = archive.getinfo(f"{name}.npy")
            if entry.file_size > _DENSEST * entry.compress_size + _DENSEST:
                raise Unreadable(f"{name} claims more than it holds")
            with archive.open(entry) as inside:
                return _array(inside, entry.file_size)


def _array(stream: IO[bytes], size: int) -> np.ndarray:
    """The array in an open file of ``size`` bytes."""
    header = _header(stream)
    if header.dtype.hasobject:
        raise Unreadable("it holds Python objects, and only numbers and texts are read")
    if header.nbytes > size:
        raise Unreadable(f"it claims {header.nbytes} bytes and has {size}")
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


def _header(stream: IO[bytes]) -> ArrayHeader:
    version = np.lib.format.read_magic(stream)
    reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if reader is None:
        raise Unreadable("it is of another version of NumPy's format")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shape, _, dtype = reader(stream)
    except Exception as error:
        # NumPy hands the text to Python's parser, which fails in many ways, for want of memory too.
        raise Unreadable("an array's header is damaged") from error
    if len(shape) > _MOST_DIMENSIONS or any(type(extent) is not int or extent < 0 for extent in shape):
        raise Unreadable("an array's shape is no list of sizes")
    return ArrayHeader(tuple(shape), dtype)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Every way in which a damaged file fails, in our words."""
    try:
        yield
    except (Unreadable, FileNotFoundError):
        raise
    except OSError as error:
        raise Unreadable(error.strerror or "damaged, or another kind of file") from error
    except _DAMAGED as error:
        raise Unreadable("damaged, or another kind of file") from error


@contextlib.contextmanager
def _regular(file: Path) -> Iterator[IO[bytes]]:
    """The file, open; a pipe or device might never end."""
    if file.exists() and not stat.S_ISREG(file.stat().st_mode):
        raise Unreadable("it is no file")
    with open(file, "rb") as stream:
        yield stream
