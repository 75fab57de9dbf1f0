"""Pickles of networks, read as data: nothing that a file names is imported, looked up or called.

Python's own `pickle.Unpickler` with a list of allowed names would be shorter, but its safety rests on every allowed
class: its C code sets attributes and items of whatever it built, trusts lengths enough to allocate first, recurses
where nested values are hashed or freed, and has no bound on what it makes. So the opcodes are worked through by a small
machine of our own (`gan2shape.io.pickle_machine`) in which a name is an inert pair of texts and a call is a look-up in
a table of our own functions (`gan2shape.io.pickle_values`); what is not in the table is refused by name. Opcodes and
bytes are counted against a budget while reading, and the result is measured as the tree that a reader of it would walk,
so that values shared millions of times, values that hold themselves and very deep ones are refused too.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from torch import Tensor

from gan2shape.errors import CheckpointError
from gan2shape.io.pickle_machine import Budget, Damaged, Machine, Refused, shown
from gan2shape.io.pickle_values import SAVE_MAGIC, Name, NetworkBuilders, Record, TensorBuilders, read_saved
from gan2shape.io.stored_zip import StoredZip

__all__ = ["Record", "read_pickle", "read_saved_file"]

MOST_BYTES = 4 << 30
"""Larger files are refused."""
MOST_OPERATIONS = 1_000_000
"""Opcodes of one file; 200 layers with 600 tensors need about 60,000."""
MOST_VALUES = 1_000_000
"""Values of the result, one that is used twice counted twice."""
DEEPEST = 100
"""Levels of containers in the result; NVIDIA's networks have about 20."""
ZIP_START = b"PK\x03\x04"
_SPARE_BYTES = 1 << 20
_PLAIN = (str, int, float, bool, type(None), bytes)


def read_pickle(source: str | os.PathLike[str] | bytes) -> object:
    """The value of a pickle (NVIDIA's .pkl, or a PyTorch file older than the zip format), given by path or as bytes.

    The result is made of dict (also for OrderedDict and EasyDict), list, tuple, set, str, int, float, bool, None,
    bytes, tensors on the CPU (also for numpy arrays; parameters are plain tensors) and `Record`. Tensors of one storage
    share it. Values are not checked to be finite.

    Raises:
        CheckpointError: the file is missing, truncated, no pickle, too large, or asks for more than data.
    """
    label = "the pickle" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else _file_bytes(Path(source))
    if data.startswith(ZIP_START):
        raise CheckpointError(f"{label} is a zip file of torch.save, not a plain pickle")
    with _told(label):
        value = _value(data, NetworkBuilders)
        _measure(value, 4 * len(data) + _SPARE_BYTES)
        return value


def read_saved_file(path: str | os.PathLike[str]) -> object:
    """The value of a file of torch.save, in its zip format or the one before: tensors and plain containers.

    As `read_pickle`, but layers of torch.nn and objects of NVIDIA's networks are refused by name; a bare record of a
    training's settings (argparse.Namespace) is a `Record`.

    Raises:
        CheckpointError: the file is missing, truncated, not of torch.save, or asks for more than data.
    """
    path = Path(path)
    with _opened(path) as file, _told(str(path)):
        if file.read(len(ZIP_START)) == ZIP_START:
            archive = StoredZip(file)
            value, size = _zipped_value(archive), archive.size
        else:
            data = _file_bytes(path)
            value, size = _value(data, TensorBuilders), len(data)
        _measure(value, 4 * size + _SPARE_BYTES)
        return value


@contextlib.contextmanager
def _told(label: str) -> Iterator[None]:
    """Turn what the parts of this reader raise into one line about the file."""
    try:
        yield
    except Refused as error:
        raise CheckpointError(f"{label} refused: it {error}") from error
    except Damaged as error:
        raise CheckpointError(f"{label} is damaged or no checkpoint: {error}") from error
    except (ValueError, OverflowError, RuntimeError) as error:
        text = str(error).lower()
        if "allocate memory" in text or "out of memory" in text:
            raise MemoryError(str(error)) from error
        # Sizes that pass every check here and still do not fit the limits of numpy or torch.
        raise CheckpointError(f"{label} is damaged: it has values that cannot be built") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file, open; a pipe or device might never end."""
    try:
        # Without the flag, opening a pipe would wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CheckpointError(f"{path} is no file")
            yield file
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error.strerror or type(error).__name__}") from error


def _file_bytes(path: Path) -> bytes:
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MOST_BYTES:
            raise CheckpointError(f"{path} refused: it has {size} bytes, more than {MOST_BYTES}")
        return file.read(size)


def _value(data: bytes, kind: type[NetworkBuilders]) -> object:
    # Bytes of a protocol-2 array are counted as a text and as an array.
    budget = Budget(MOST_OPERATIONS, 2 * len(data) + _SPARE_BYTES)
    builders = kind(budget)
    machine = Machine(data, 0, builders, budget)
    value = machine.run()
    if type(value) is int and value == SAVE_MAGIC:
        return read_saved(data, machine.position, builders, budget)
    return value


def _zipped_value(archive: StoredZip) -> object:
    """The value of torch.save's zip format: one pickle, and an entry for the elements of each storage."""
    roots = [name.removesuffix("/data.pkl") for name in archive.entries if name.endswith("/data.pkl")]
    if len(roots) != 1 or "/" in roots[0]:
        raise Damaged("it is a zip file, but not one of torch.save")
    root = roots[0]
    if f"{root}/constants.pkl" in archive.entries:
        raise Refused("is a program (TorchScript), and only tensors are read; save its state_dict() instead")
    if f"{root}/byteorder" in archive.entries and archive.read(f"{root}/byteorder") != b"little":
        raise Damaged("it was written in another order of bytes")
    budget = Budget(MOST_OPERATIONS, 2 * archive.size + _SPARE_BYTES)
    builders = TensorBuilders(budget)
    builders.accepts_persistent = True
    pickle = archive.read(f"{root}/data.pkl")
    machine = Machine(pickle, 0, builders, budget)
    value = machine.run()
    if machine.position != len(pickle):
        raise Damaged("something follows its pickle")
    for key, storage in builders.storages.items():
        data = archive.read("/".join((root, "data", key)))
        if len(data) != storage.flat.nbytes:
            raise Damaged("a storage is not as long as its tensors")
        storage.fill(memoryview(data))
    return value


class _Walk:
    """A container that is being measured: values and bytes found so far, and levels below it."""

    def __init__(self, thing: object) -> None:
        self.thing = thing
        self.children = _children(thing)
        self.values, self.bytes, self.levels = 1, 0, 0

    def add(self, values: int, size: int, levels: int, most_bytes: int) -> None:
        """Count a child."""
        self.values += values
        self.bytes += size
        self.levels = max(self.levels, levels)
        if self.values > MOST_VALUES or self.bytes > most_bytes:
            raise Refused("is much larger unpacked than as a file")


def _measure(value: object, most_bytes: int) -> None:
    """Refuse a result that holds itself, is too deep, or is too large when it is walked as a tree.

    Every container is entered once; its size is then known, however often it is used.
    """
    known: dict[int, tuple[int, int, int]] = {}
    path = [_Walk((value,))]
    entered = set()
    while path:
        top = path[-1]
        for child in top.children:
            if type(child) in _PLAIN:
                top.add(1, 0, 0, most_bytes)
            elif isinstance(child, Tensor):
                top.add(1, child.numel() * child.element_size(), 0, most_bytes)
            elif id(child) in known:
                top.add(*known[id(child)], most_bytes)
            else:
                if id(child) in entered:
                    raise Refused("has a value that holds itself")
                entered.add(id(child))
                path.append(_Walk(child))
                break
            if len(path) + top.levels > DEEPEST + 1:
                raise Refused(f"is nested more than {DEEPEST} levels deep")
        else:
            path.pop()
            known[id(top.thing)] = (top.values, top.bytes, top.levels + 1)
            if path:
                path[-1].add(*known[id(top.thing)], most_bytes)
        if len(path) > DEEPEST + 1:
            raise Refused(f"is nested more than {DEEPEST} levels deep")


def _children(thing: object) -> Iterator[object]:
    if type(thing) in (list, tuple, set, frozenset):
        return iter(cast("Iterable[object]", thing))
    if type(thing) is dict:
        return iter(thing.values())
    if type(thing) is Record:
        if not all(type(key) is str for key in thing.state):
            raise Damaged("an attribute of an object has no name")
        return iter((*thing.state.values(), thing.arguments))
    if type(thing) is Name:
        raise Refused(f"holds {shown(thing.module)}.{shown(thing.name)} itself as a value")
    raise Damaged("it holds a part of a tensor or array as a value")
