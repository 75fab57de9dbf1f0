"""Tensors on disk: safetensors files, and PyTorch files read as data only.

The kind of a file is found from its first bytes, not from its name. A tensor inside nested dictionaries is named by its
keys joined with "/": ``g_ema/conv1.conv.weight``; safetensors files written here use such names directly. PyTorch files
go through `gan2shape.io.pickles`, which runs nothing that a file names; not through torch.load, whose weights-only
reader can be made to hang (tuples doubled sixty times as a key) or to fill memory (many entries over one storage).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gan2shape.errors import CheckpointError
from gan2shape.io.files import write_bytes
from gan2shape.io.pickle_machine import shown
from gan2shape.io.pickles import ZIP_START, read_saved_file

_CHUNK_BYTES = 1 << 20
_PICKLE_MAGIC = b"\x80"
_MOST_HEADER_BYTES = 16 << 20
"""Of a safetensors file; a thousand tensors need about 100,000 bytes."""
_LONGEST_NAME = 500
_LONGEST_REASON = 200


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Every tensor of a .safetensors, .pt or .pth file, on the CPU, by name; nested keys are joined with "/".

    What is not a tensor (numbers, texts, settings of a training) is left out.

    Raises:
        CheckpointError: the file is missing, truncated, not a checkpoint, holds no tensor, or needs code to be run.
    """
    path = Path(path)
    if _is_pytorch(path):
        return _checked(_flatten(read_saved_file(path)), path)
    with _open_safetensors(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the handle is no dictionary
    return _checked(tensors, path)


def read_one_tensor(path: str | os.PathLike[str], name: str) -> Tensor:
    """The tensor of a file that holds nothing else: bare, by itself under any name, or the one called `name`.

    Raises:
        CheckpointError: as `read_tensors`; several tensors, none of them called `name`.
    """
    path = Path(path)
    if _is_pytorch(path):
        content = read_saved_file(path)
        if isinstance(content, Tensor):
            return content
        tensors = _checked(_flatten(content), path)
    else:
        tensors = read_tensors(path)
    if name not in tensors and len(tensors) != 1:
        raise CheckpointError(
            f"{path}: expected one tensor, or one called {name}; got {', '.join(sorted(tensors)[:5])}"
        )
    return tensors[name] if name in tensors else next(iter(tensors.values()))


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts in the header of a safetensors file, control characters shown as "?"; nothing for a PyTorch file.

    Raises:
        CheckpointError: the file is missing, truncated or not a checkpoint.
    """
    path = Path(path)
    if _is_pytorch(path):
        return {}
    with _open_safetensors(path) as file:
        return {_printable(key): _printable(text) for key, text in (file.metadata() or {}).items()}


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
        if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
            raise CheckpointError(f"{path} is no file")
        with open(path, "rb") as file:
            head = file.read(9)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {_reason(error)}") from error
    if len(head) == 9 and head[8:9] == b"{":
        announced = int.from_bytes(head[:8], "little")
        if announced > size - 8:
            raise CheckpointError(f"{path} is not a whole safetensors file: its header is longer than the file")
        if announced > _MOST_HEADER_BYTES:
            raise CheckpointError(f"{path} refused: its header has {announced} bytes, more than any checkpoint's")
        return False
    if head.startswith((ZIP_START, _PICKLE_MAGIC)):
        return True
    raise CheckpointError(f"{path} is not a checkpoint: neither a safetensors nor a PyTorch file")


@contextlib.contextmanager
def _open_safetensors(path: Path) -> Iterator[Any]:
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        _raise_if_out_of_memory(error)
        raise CheckpointError(f"{path} is not a whole safetensors file: {_first_line(error)}") from error


def _flatten(content: object) -> dict[str, Tensor]:
    """The tensors of nested dictionaries, by joined keys; the reader of pickles has bounded their size and depth."""
    tensors: dict[str, Tensor] = {}
    waiting: list[tuple[str, object]] = [("", content)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Tensor):
            tensors[name] = value
        elif isinstance(value, Mapping):
            inside = [(f"{name}/{key}" if name else str(key), inner) for key, inner in value.items()]
            waiting.extend(reversed(inside))
    return tensors


def _checked(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The named tensors; names may reach a terminal, in what is said of them."""
    tensors = {name: tensor for name, tensor in tensors.items() if name}
    if not tensors:
        raise CheckpointError(f"{path} holds no named tensors")
    for name in tensors:
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise CheckpointError(f"{path} refused: it has a tensor of the name {shown(name)}")
    return tensors


def _raise_if_out_of_memory(error: BaseException) -> None:
    """A whole file that does not fit into memory is not damaged."""
    text = str(error).lower()
    if "cannot allocate memory" in text or "can't allocate memory" in text or "out of memory" in text:
        raise MemoryError(str(error)) from error


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _first_line(error: BaseException) -> str:
    return _printable((str(error) or type(error).__name__).splitlines()[0][:_LONGEST_REASON])


def _printable(text: str) -> str:
    """A text that a terminal may show: lines are kept, what steers the terminal is not."""
    return "".join(character if character.isprintable() or character in "\n\t" else "?" for character in text)
