"""What the names in a pickle of networks stand for: tensors, arrays, dictionaries, and inert records of objects.

A name becomes a `Name`, never the thing of that name; a "call" looks the name up in a table of functions here. Tensors
are views into storages whose size was compared with the file's before they were allocated.

Source of the layouts: `torch.serialization` (the stream before the zip format), `numpy.ndarray.__reduce__`, and the
published programs of StyleGAN2-ADA (PyTorch) and StyleGAN3, whose objects carry their own source text; it is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from gan2shape.io.pickle_arrays import ArrayType, array, extents, finish_array, natural, pending_array, scalar
from gan2shape.io.pickle_machine import Budget, Damaged, Machine, Pending, Refused, insert, shown

SAVE_MAGIC = 0x1950A86A20F9469CFC6C
"""The first value of a stream written by torch.save before its zip format."""
_SAVE_PROTOCOL = 1001
_LONGEST_CLASS_NAME = 200
_REPEATED_ELEMENTS = 4096
"""A tensor may repeat elements of its storage (stride 0) up to this size; a longer one is a bomb."""
_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}
_TYPE_NAMES = ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")
_CLASSES = {("numpy", "ndarray"), ("torch", "Tensor"), ("torch._tensor", "Tensor"), ("torch.nn.parameter", "Parameter")}
_LAYERS = "torch.nn.modules."


@dataclass(frozen=True)
class Name:
    """A function or class that a pickle names; nothing can be done with it but look it up in a table."""

    module: str
    name: str


@dataclass(frozen=True)
class Record:
    """An object of a network as data: where its class was, its attributes, and what it was constructed with.

    For objects of NVIDIA's networks `module` is ``torch_utils.persistence`` (their own module is not stored), and
    `arguments` are the positional arguments of their constructor.
    """

    module: str
    name: str
    state: Mapping[str, object]
    arguments: tuple[object, ...] = ()


class Storage:
    """The elements that tensors are views of, (N,)."""

    def __init__(self, flat: Tensor) -> None:
        """`flat` is filled later."""
        self.flat = flat
        self.filled = False

    def fill(self, data: memoryview) -> None:
        """Take the elements from their bytes, lowest byte first."""
        raw = self.flat.view(torch.uint8)
        if len(data):
            raw.numpy()[:] = np.frombuffer(data, np.uint8)
        if self.flat.dtype == torch.bool:
            raw.clamp_(max=1)  # Bytes other than 0 and 1 are no booleans.
        self.filled = True


class NetworkBuilders:
    """`Builders` for pickles of networks.

    Only storages are known where `only_storages`: within the bytes of a storage there is nothing else.
    """

    reads = "tensors, numbers, texts and networks"

    def __init__(self, budget: Budget, only_storages: bool = False) -> None:
        """Tensors and arrays are claimed from `budget`."""
        self.storages: dict[str, Storage] = {}
        self.accepts_persistent = only_storages
        self._budget = budget
        self._only_storages = only_storages
        self._table = {} if only_storages else self._functions()

    def name(self, module: str, name: str) -> object:
        """A `Name`, or the text of a torch type; raises `Refused` for everything not known."""
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return Name("torch", name)
        if not self._only_storages:
            if module == "torch" and name in _TYPE_NAMES:
                return name
            if (module, name) in self._table or (module, name) in _CLASSES:
                return Name(module, name)
            if module.startswith(_LAYERS) and name.isidentifier():
                return Name(module, name)
        if module == "dnnlib.tflib" or module.startswith("dnnlib.tflib."):
            raise Refused(
                "is of the TensorFlow version of StyleGAN; convert it with legacy.py of NVIDIA's stylegan3 repository "
                "(python legacy.py --source=OLD.pkl --dest=NEW.pkl)"
            )
        raise Refused(f"names {shown(module)}.{shown(name)}, and only {self.reads} are read")

    def call(self, function: object, arguments: tuple[object, ...]) -> object:
        """The value of a known function or class; a layer of torch.nn becomes a `Record`."""
        if type(function) is not Name:
            raise Refused("calls what is no function")
        if function.module.startswith(_LAYERS):
            return Record(function.module, function.name, {}, arguments)
        build = self._table.get((function.module, function.name))
        if build is None:
            raise Refused(f"calls {shown(function.module)}.{shown(function.name)}")
        try:
            return build(*arguments)
        except TypeError as error:
            raise Damaged(f"{function.name} has wrong arguments") from error

    def build(self, thing: object, state: object) -> object:
        """A record, array or array type given its state; attributes of dictionaries are left out."""
        if type(thing) is Pending:
            return finish_array(thing, state, self._budget)
        if type(thing) is ArrayType:
            thing.set_state(state)
        elif type(thing) is Record and type(state) is dict:
            self._budget.step(len(state))
            insert(cast("dict[object, object]", thing.state), state.items())
        elif type(thing) is not dict or type(state) is not dict:
            raise Refused("sets the state of what has none")
        return thing

    def persistent(self, identity: object) -> object:
        """The storage of torch.save's ("storage", type, key, place, count[, None]); a class without its source."""
        if not self.accepts_persistent:
            raise Refused("uses a persistent id outside a file of torch.save")
        if type(identity) is not tuple or not identity or type(identity[0]) is not str:
            raise Damaged("a storage is not described as torch.save does")
        if identity[0] == "module" and len(identity) == 4 and type(identity[1]) is Name:
            return identity[1]
        if identity[0] != "storage" or len(identity) not in (5, 6):
            raise Damaged("a storage is not described as torch.save does")
        _, kind, key, _, count, *view = identity
        if type(kind) is not Name or kind.name not in _STORAGES or type(key) is not str or view not in ([], [None]):
            raise Damaged("a storage is not described as torch.save does")
        dtype, count = _STORAGES[kind.name], natural(count)
        if key not in self.storages:
            self._budget.claim(count * dtype.itemsize)
            self.storages[key] = Storage(torch.empty(count, dtype=dtype))
        storage = self.storages[key]
        if storage.flat.dtype != dtype or len(storage.flat) != count:
            raise Damaged("a storage is described in two ways")
        return storage

    def _functions(self) -> dict[tuple[str, str], Callable[..., object]]:
        table: dict[tuple[str, str], Callable[..., object]] = {
            ("torch_utils.persistence", "_reconstruct_persistent_obj"): _record,
            ("torch.storage", "_load_from_bytes"): self._storage_of_bytes,
            ("torch._utils", "_rebuild_tensor"): _tensor,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): _parameter,
            ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
            ("torch._tensor", "_rebuild_from_type_v2"): self._typed,
            ("torch", "Size"): extents,
            ("torch", "device"): _device,
            ("collections", "OrderedDict"): self._dictionary,
            ("dnnlib.util", "EasyDict"): self._dictionary,
            ("_codecs", "encode"): self._encoded,
            ("numpy", "dtype"): ArrayType,
        }
        for module in ("builtins", "__builtin__"):
            kinds = {"set": self._set_of, "frozenset": self._set_of, "bytearray": _bytes, "bytes": _bytes}
            table |= {(module, kind): build for kind, build in kinds.items()}
        for package in ("numpy.core", "numpy._core"):
            table[package + ".multiarray", "_reconstruct"] = pending_array
            table[package + ".multiarray", "scalar"] = self._scalar
            table[package + ".numeric", "_frombuffer"] = self._array
        return table

    def _storage_of_bytes(self, data: object) -> Storage:
        if type(data) is not bytes:
            raise Damaged("a storage is no bytes")
        inner = NetworkBuilders(self._budget, only_storages=True)
        first = Machine(data, 0, inner, self._budget)
        if first.run() != SAVE_MAGIC:
            raise Damaged("a storage is not as torch.save writes it")
        storage = read_saved(data, first.position, inner, self._budget)
        if type(storage) is not Storage:
            raise Damaged("a storage is not as torch.save writes it")
        return storage

    def _typed(self, function: object, kind: object, arguments: object, _state: object) -> object:
        if type(function) is not Name or not function.name.startswith("_rebuild_") or type(arguments) is not tuple:
            raise Damaged("a tensor is not described as torch does")
        if function.name == "_rebuild_from_type_v2" or type(kind) is not Name:
            raise Damaged("a tensor is not described as torch does")
        return self.call(function, arguments)

    def _scalar(self, kind: object, data: object) -> object:
        return scalar(kind, data, self._budget)

    def _array(self, data: object, kind: object, shape: object, order: object) -> Tensor:
        return array(data, kind, shape, order, self._budget)

    def _dictionary(self, items: object = ()) -> dict[object, object]:
        if type(items) not in (tuple, list):
            raise Damaged("a dictionary is made of what is no list")
        pairs = cast("Sequence[object]", items)
        self._budget.step(len(pairs))
        result: dict[object, object] = {}
        for pair in pairs:
            if type(pair) not in (tuple, list) or len(cast("Sequence[object]", pair)) != 2:
                raise Damaged("a dictionary is made of what is no pairs")
            insert(result, [cast("tuple[object, object]", pair)])
        return result

    def _set_of(self, items: object = ()) -> set[object]:
        if type(items) not in (tuple, list):
            raise Damaged("a set is made of what is no list")
        members = cast("Sequence[object]", items)
        self._budget.step(len(members))
        result: dict[object, object] = {}
        insert(result, ((member, None) for member in members))
        return set(result)

    def _encoded(self, text: object, encoding: object) -> bytes:
        if type(text) is not str or type(encoding) is not str or encoding not in ("latin1", "latin-1"):
            raise Refused("encodes what is no text of bytes")
        self._budget.claim(len(text))
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError as error:
            raise Damaged("a text of bytes has other characters") from error


class TensorBuilders(NetworkBuilders):
    """`Builders` for files of torch.save: tensors, numbers, texts, containers, and no objects of networks."""

    reads = "tensors, numbers and texts"

    def name(self, module: str, name: str) -> object:
        """As `NetworkBuilders.name`, without layers and networks."""
        if (module, name) == ("argparse", "Namespace"):
            return Name(module, name)
        if module.startswith((_LAYERS, "torch_utils", "dnnlib")) or module == "__torch__":
            raise Refused(
                f"names {shown(module)}.{shown(name)}, and only {self.reads} are read; save the "
                "network's state_dict() instead"
            )
        return super().name(module, name)

    def call(self, function: object, arguments: tuple[object, ...]) -> object:
        """As `NetworkBuilders.call`; settings become a `Record`."""
        if type(function) is Name and function.module == "argparse":
            return Record("argparse", "Namespace", {})
        return super().call(function, arguments)


def read_saved(data: bytes, position: int, builders: NetworkBuilders, budget: Budget) -> object:
    """The value of a stream of torch.save from behind its magic number on, with its storages filled.

    Raises:
        Damaged: it is truncated, or its storages are not those that its value uses.
        Refused: it asks for more than data.
    """
    values = []
    builders.accepts_persistent = True
    for _ in range(4):  # protocol, system, the value itself, keys of its storages
        machine = Machine(data, position, builders, budget)
        values.append(machine.run())
        position = machine.position
    protocol, system, value, keys = values
    if protocol != _SAVE_PROTOCOL or type(system) is not dict or system.get("little_endian") is not True:
        raise Damaged("it is of an unknown version of torch.save")
    if type(keys) is not list:
        raise Damaged("its storages have no keys")
    for key in keys:
        storage = builders.storages.get(key) if type(key) is str else None
        if storage is None or storage.filled:
            raise Damaged("it stores what its value does not use")
        start, size = position + 8, storage.flat.nbytes
        if start + size > len(data) or int.from_bytes(data[position:start], "little") != len(storage.flat):
            raise Damaged("a storage is shorter than its tensors")
        position = start + size
        storage.fill(memoryview(data)[start:position])
    if not all(storage.filled for storage in builders.storages.values()):
        raise Damaged("a tensor's storage is missing")
    return value


def _tensor(storage: object, offset: object, size: object, stride: object, *_flags: object) -> Tensor:
    if type(storage) is not Storage or len(_flags) > 3:
        raise Damaged("a tensor is not described as torch does")
    sizes, strides, start = extents(size), extents(stride), natural(offset)
    if len(sizes) != len(strides):
        raise Damaged("a tensor has another number of strides than dimensions")
    available, count = len(storage.flat), math.prod(sizes)
    last = start + sum((extent - 1) * step for extent, step in zip(sizes, strides, strict=True)) if count else start - 1
    if last >= available or start > available:
        raise Damaged("a tensor reaches beyond its storage")
    if count > max(available, _REPEATED_ELEMENTS):
        raise Refused("has a tensor much larger than its data")
    return torch.as_strided(storage.flat, sizes, strides, start)


def _parameter(data: object, *_flags: object) -> Tensor:
    if not isinstance(data, Tensor) or len(_flags) > 3:
        raise Damaged("a parameter is no tensor")
    return data


def _bytes(data: object = b"") -> bytes:
    if type(data) is not bytes:
        raise Damaged("bytes are made of something else")
    return data


def _device(kind: object, index: object = None) -> str:
    if type(kind) is not str or len(kind) > 32 or type(index) not in (int, type(None)):
        raise Damaged("a device has no name")
    return kind if index is None else f"{kind}:{index}"


def _record(meta: object) -> Record:
    if type(meta) is not dict or type(meta.get("version")) is not int:
        raise Damaged("an object is not described as NVIDIA's programs do")
    kind, name, state = meta.get("type"), meta.get("class_name"), meta.get("state")
    if type(kind) is not str or kind != "class" or type(state) is not dict:
        raise Damaged("an object is not described as NVIDIA's programs do")
    if type(name) is not str or len(name) > _LONGEST_CLASS_NAME or not name.isidentifier():
        raise Damaged("an object's class has no name")
    arguments = state.get("_init_args", ())
    return Record("torch_utils.persistence", name, state, arguments if type(arguments) is tuple else ())
