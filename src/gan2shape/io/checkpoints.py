"""Tensors on disk: safetensors files, and PyTorch files read as data only.

The kind of a file is found from its first bytes, not from its name. A tensor inside nested dictionaries is named by its
keys joined with "/": ``g_ema/conv1.conv.weight``; safetensors files written here use such names directly. Code inside a
pickle is never run: a file that needs it is refused.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gan2shape.errors import CheckpointError
from gan2shape.io.files import write_bytes

_CHUNK_BYTES = 1 << 20
_SPARE_BYTES = 1 << 20
_MOST_VALUES = 1_000_000
"""Values that a file's nested dictionaries may hold, one that is used twice counted twice."""
_DEEPEST = 100
"""Levels of nested dictionaries."""
_ZIP_MAGIC = b"PK\x03\x04"
_PICKLE_MAGIC = b"\x80"
_SIGNS_OF_CODE = (
    "unsupported global",
    "unsupported class",
    "unrecognized function",
    "can only build",
    "can only create",
)
"""What torch's weights-only reader says when a file asks for more than data."""


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Every tensor of a .safetensors, .pt or .pth file, on the CPU, by name; nested keys are joined with "/".

    What is not a tensor (numbers, texts, settings of a training) is left out.

    Raises:
        CheckpointError: the file is missing, truncated, not a checkpoint, holds no tensor, or needs code to be run.
    """
    path = Path(path)
    if _is_pytorch(path):
        return _read_pytorch(path)
    with _open_safetensors(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the handle is no dictionary
    return _not_empty(tensors, path)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts in the header of a safetensors file; nothing for a PyTorch file.

    Raises:
        CheckpointError: the file is missing, truncated or not a checkpoint.
    """
    path = Path(path)
    if _is_pytorch(path):
        return {}
    with _open_safetensors(path) as file:
        return dict(file.metadata() or {})


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file whole or not at all; `metadata` goes into its header.

    Raises:
        OutputError: the place cannot be written.
    """
    contiguous = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(Path(path), save(contiguous, metadata=dict(metadata or {})))


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        CheckpointError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {_reason(error)}") from error
    return digest.hexdigest()


def _is_pytorch(path: Path) -> bool:
    """Whether the first bytes are those of torch.save; raises where they belong to neither kind of file."""
    try:
        with open(path, "rb") as file:
            head = file.read(9)
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {_reason(error)}") from error
    if head.startswith((_ZIP_MAGIC, _PICKLE_MAGIC)) and head[8:9] != b"{":
        return True
    if len(head) == 9 and head[8:9] == b"{":
        return False
    raise CheckpointError(f"{path} is not a checkpoint: neither a safetensors nor a PyTorch file")


@contextlib.contextmanager
def _open_safetensors(path: Path) -> Iterator[Any]:
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError, ValueError) as error:
        _raise_if_out_of_memory(error)
        raise CheckpointError(f"{path} is not a whole safetensors file: {_first_line(error)}") from error


def _read_pytorch(path: Path) -> dict[str, Tensor]:
    _refuse_packed_storages(path)
    try:
        # An open file, because torch chooses another reader by a path's suffix.
        with open(path, "rb") as file, _plain_settings_allowed(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if any(sign in str(error).lower() for sign in _SIGNS_OF_CODE):
            raise CheckpointError(
                f"{path} refused: reading it would run code that it names (only tensors, numbers and texts are read)"
            ) from error
        raise CheckpointError(f"{path} is not a PyTorch checkpoint, or it is damaged") from error
    except MemoryError:
        raise
    except Exception as error:  # A damaged file makes torch raise errors of many kinds.
        _raise_if_out_of_memory(error)
        raise CheckpointError(f"{path} is truncated, damaged or not a PyTorch checkpoint") from error
    return _not_empty(_flatten(content, path), path)


def _refuse_packed_storages(path: Path) -> None:
    """torch.save stores tensors as they are; a file that packs them may unpack to more than the memory holds."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise CheckpointError(f"{path} is truncated, damaged or not a PyTorch checkpoint") from error
    if packed:
        raise CheckpointError(f"{path} refused: its entry {packed[0]!r} is compressed, which torch.save never does")


def _plain_settings_allowed() -> contextlib.AbstractContextManager[Any]:
    """Allow argparse.Namespace, a bare record of settings that common training programs store beside the weights."""
    allow = getattr(torch.serialization, "safe_globals", None)  # torch 2.5 and later
    return contextlib.nullcontext() if allow is None else allow([argparse.Namespace])


def _flatten(content: object, path: Path) -> dict[str, Tensor]:
    """The tensors of nested dictionaries, by joined keys.

    A small file may hold a dictionary within itself, one dictionary a million times, or a tensor that repeats a few
    bytes without end: all are refused.
    """
    most_bytes = 4 * path.stat().st_size + _SPARE_BYTES
    tensors: dict[str, Tensor] = {}
    waiting: list[tuple[str, object, int]] = [("", content, 0)]
    for _ in range(_MOST_VALUES):
        if not waiting:
            return tensors
        name, value, depth = waiting.pop()
        if isinstance(value, Tensor):
            most_bytes -= value.numel() * value.element_size()
            tensors[name] = value.detach()
        elif isinstance(value, Mapping):
            inside = [(f"{name}/{key}" if name else str(key), inner, depth + 1) for key, inner in value.items()]
            waiting.extend(reversed(inside))
        if depth > _DEEPEST or most_bytes < 0:
            break
    raise CheckpointError(f"{path} refused: what it holds is nested too deep, or much larger than the file")


def _not_empty(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    tensors = {name: tensor for name, tensor in tensors.items() if name}
    if not tensors:
        raise CheckpointError(f"{path} holds no named tensors")
    return tensors


def _raise_if_out_of_memory(error: BaseException) -> None:
    """A whole file that does not fit into memory is not damaged."""
    text = str(error).lower()
    if "cannot allocate memory" in text or "can't allocate memory" in text or "out of memory" in text:
        raise MemoryError(str(error)) from error


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
