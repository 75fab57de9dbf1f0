"""Hostile pickles written by hand, opcode by opcode, and pickles as NVIDIA's programs write them.

Each hostile file that tries to run a command would make the file `canary`.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
import types
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

START = b"\x80\x04"
MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)


def name(module: str, what: str) -> bytes:
    return f"c{module}\n{what}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def block(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def call(module: str, what: str, *arguments: bytes) -> bytes:
    return name(module, what) + b"(" + b"".join(arguments) + b"tR"


def pickled(value: object) -> bytes:
    """The opcodes of a plain value, to be put into a pickle."""
    return pickle.dumps(value, protocol=2)[2:-1]


def storage(count: int, stored: int | None = None, kind: str = "FloatStorage", sides: object = True) -> bytes:
    """The bytes of a storage as torch.save writes them: `count` elements announced, `stored` floats there."""
    stored = count if stored is None else stored
    identity = b"(" + text("storage") + name("torch", kind) + text("0") + text("cpu") + pickled(count) + b"NtQ"
    plain = pickle.dumps(1001, protocol=2) + pickle.dumps({"little_endian": sides}, protocol=2)
    data = struct.pack("<q", stored) + bytes(4 * stored)
    return MAGIC + plain + b"\x80\x02" + identity + b"." + pickle.dumps(["0"], protocol=2) + data


def tensor(flat: bytes, offset: object, size: object, stride: object) -> bytes:
    kept = call("torch.storage", "_load_from_bytes", block(flat))
    rest = pickled(offset) + pickled(size) + pickled(stride) + pickled(False) + pickled({})
    return call("torch._utils", "_rebuild_tensor_v2", kept, rest)


def record(state: bytes) -> bytes:
    meta = text("type") + text("class") + text("version") + b"K\x06" + text("module_src") + text("boom()")
    meta += text("class_name") + text("Generator") + text("state") + state
    return call("torch_utils.persistence", "_reconstruct_persistent_obj", b"}(" + meta + b"u")


def doubled(levels: int, both: bytes) -> bytes:
    """A value that holds itself twice, `levels` times over; `both` makes a value of two that memo 0 holds."""
    return b"]q\x000" + (both + b"q\x000") * levels + b"h\x00"


def commands(canary: Path) -> dict[str, bytes]:
    """Values, to be put into any kind of pickle, that would run a command."""
    shell = text(f"touch {canary}")
    source = text(f"open({str(canary)!r}, 'w')")
    module = call("importlib", "import_module", text("os"))
    return {
        "os.system": call("os", "system", shell),
        "posix.system": call("posix", "system", shell),
        "subprocess": name("subprocess", "Popen") + b"(" + shell + b"t\x81",
        "eval": call("builtins", "eval", source),
        "exec": text("builtins") + text("exec") + b"\x93(" + source + b"tR",
        "python 2 eval": call("__builtin__", "eval", source),
        "import_module": module,
        "__import__": call("builtins", "__import__", text("os")),
        "getattr chain": call("builtins", "getattr", module, text("system")) + b"(" + shell + b"tR",
        "attrgetter": call("operator", "attrgetter", text("system")),
        "methodcaller": call("operator", "methodcaller", text("system"), shell),
        "copyreg object": call("copyreg", "_reconstructor", name("os", "_Environ"), name("builtins", "object"), b"N"),
        "copyreg extension": call("copyreg", "add_extension", text("os"), text("system"), b"K\x01"),
        "copyreg newobj": call("copyreg", "__newobj__", name("subprocess", "Popen"), shell),
        "inst": b"(" + shell + b"ios\nsystem\n",
        "obj": b"(" + name("os", "system") + shell + b"o",
        "nested loads": call("_pickle", "loads", block(START + call("os", "system", shell) + b".")),
        "torch.load": call("torch", "load", text(str(canary))),
        "torch.hub": call("torch.hub", "load", text("a/b"), text("c")),
        "runpy": call("runpy", "run_path", shell),
        "partial": call("functools", "partial", name("os", "system"), shell),
        "layer's globals": name("torch.nn.modules.linear", "Linear.forward.__globals__"),
        "layer's imports": name("torch.nn.modules.module", "torch.os"),
        "name over lines": text("os\nsystem\x1b[2J") + text("x" * 100_000) + b"\x93",
    }


def hostile_pickles(canary: Path) -> dict[str, bytes]:
    """Whole pickles, each of which has to be refused in one line."""
    shell = text(f"touch {canary}")
    bad = commands(canary)
    files = {title: START + value + b"." for title, value in bad.items()}
    files |= {
        f"{title} in a network": START + record(b"}" + text("x") + bad[title] + b"s") + b"." for title in list(bad)[:4]
    }
    dtype = call("numpy", "dtype", text("f4"), b"\x89", b"\x88")
    array = call("numpy.core.multiarray", "_reconstruct", name("numpy", "ndarray"), b"K\x00\x85", b"C\x01b")
    loads = call("torch.storage", "_load_from_bytes", block(MAGIC + START + bad["os.system"] + b"."))
    inner = call("torch.storage", "_load_from_bytes", block(storage(1)))
    kept = call("torch.storage", "_load_from_bytes", block(storage(4)))
    values: dict[str, bytes] = {
        "new object with keywords": name("collections", "OrderedDict") + b")}\x92",
        "extension 1": b"\x82\x01",
        "extension 4": b"\x84\x01\x00\x00\x00",
        "persistent id as text": b"Pos.system\n",
        "persistent id": shell + b"Q",
        "command in a storage": loads,
        "storage in a storage": call("torch.storage", "_load_from_bytes", block(MAGIC + START + inner + b".")),
        "state of a tensor": tensor(storage(4), 0, (4,), (1,)) + b"}" + text("__class__") + b"Nsb",
        "slots of a record": name("torch.nn.modules.linear", "Linear") + b")\x81N}" + text("__dict__") + b"Ns\x86b",
        "call of a text": shell + b")R",
        "call of a class": name("torch", "Tensor") + b")R",
        "call of a layer's state": kept + b")R",
        "typed tensor in itself": call(
            "torch._tensor", "_rebuild_from_type_v2",
            name("torch._tensor", "_rebuild_from_type_v2"), name("torch", "Tensor"), b")", b"N",
        ),
        "class as a value": name("torch", "Tensor"),
        "storage as a value": kept,
        "array of objects": call("numpy", "dtype", text("O8"), b"\x89", b"\x88"),
        "array of structures": dtype + b"(K\x03" + text("<") + b"N" + text("a") + b"}tb",
        "array without its state": array,
        "array of another shape": array + b"(K\x01K\x09\x85" + dtype + b"\x89" + block(bytes(8)) + b"tb",
        "array of huge sizes": array + b"(K\x01" + pickled((1 << 40, 1 << 40, 0)) + dtype + b"\x89C\x00tb",
        "lists doubled": doubled(60, b"]h\x00ah\x00a"),
        "tuples doubled": doubled(60, b"h\x00h\x00\x86"),
        "dictionaries doubled": doubled(60, b"}" + text("a") + b"h\x00s" + text("b") + b"h\x00s"),
        "nested tuples": b")" + b"\x85" * 100_000,
        "nested lists": b"]" * 100_001 + b"a" * 100_000,
        "nested dictionaries": (b"}" + text("a")) * 100_000 + b"N" + b"s" * 100_000,
        "nested marks": b"(" * 100_000,
        "nested tuples as a key": b"})" + b"\x85" * 100_000 + b"Ns",
        "nested tuples in a set": b"\x8f(" + b")" + b"\x85" * 100_000 + b"\x90",
        "list in itself": b"]q\x00h\x00a",
        "record in itself": b"}q\x00" + text("x") + record(b"h\x00") + b"s",
        "10 GB of bytes": b"\x8e" + struct.pack("<Q", 10 << 30) + b"abc",
        "text of 2^63 bytes": b"\x8d" + struct.pack("<Q", 1 << 63) + b"abc",
        "bytearray of 10 GB": b"\x96" + struct.pack("<Q", 10 << 30) + b"abc",
        "frame of 2^63 bytes": b"\x95" + struct.pack("<Q", 1 << 63) + b"N",
        "long number": b"\x8b" + struct.pack("<i", 100_000) + b"\x01" * 100_000,
        "number of negative length": b"\x8b" + struct.pack("<i", -1),
        "tensor behind its storage": tensor(storage(4), 2, (4,), (1,)),
        "tensor with long strides": tensor(storage(4), 0, (2, 2), (1 << 39, 1)),
        "tensor with negative strides": tensor(storage(4), 3, (4,), (-1,)),
        "tensor before its storage": tensor(storage(4), -1, (1,), (1,)),
        "tensor of negative size": tensor(storage(4), 0, (-4,), (1,)),
        "tensor with a missing stride": tensor(storage(4), 0, (2, 2), (1,)),
        "tensor of 2^80 elements": tensor(storage(4), 0, (1 << 40, 1 << 40), (0, 0)),
        "tensor of 10 GB repeated": tensor(storage(4), 0, (50_000, 50_000), (0, 0)),
        "tensor of a fraction": tensor(storage(4), 0.5, (1,), (1,)),
        "tensor with 10,000 sizes": tensor(storage(4), 0, (1,) * 10_000, (1,) * 10_000),
        "tensor of no storage": call("torch._utils", "_rebuild_tensor_v2", shell, pickled((0, (1,), (1,)))),
        "storage of 10 GB": tensor(storage(5 << 29, 1), 0, (1,), (1,)),
        "storage shorter than told": tensor(storage(400, 4), 0, (1,), (1,)),
        "storage of an unknown kind": tensor(storage(4, kind="QUInt8Storage"), 0, (1,), (1,)),
        "storage of the other byte order": tensor(storage(4, sides=False), 0, (1,), (1,)),
        "storage cut off": tensor(storage(400)[:-8], 0, (1,), (1,)),
        "storage read a thousand times": block(storage(250_000)) + b"q\x000]" + (
            b"(" + name("torch.storage", "_load_from_bytes") + b"h\x00\x85Re"
        ) * 1000,
        "tensor used a thousand times": tensor(storage(250_000), 0, (250_000,), (1,)) + b"q\x000]" + b"h\x00a" * 1000,
        "record filled again and again": pickled({str(index): index for index in range(20_000)}) + b"q\xfe0]"
        + (b"(" + name("torch.nn.modules.linear", "Linear") + b")\x81h\xfebe") * 1000,
        "dictionary made again and again": pickled([(index, index) for index in range(20_000)]) + b"q\xfe0]"
        + (b"(" + name("collections", "OrderedDict") + b"h\xfe\x85Re") * 1000,
        "two million opcodes": b"N0" * 1_000_000 + b"N",
        "same key twice": b"}(" + text("a") + b"K\x01" + text("a") + b"K\x02u",
        "keys of equal hash": b"}(" + b"".join(pickled(i * (2**61 - 1)) + b"N" for i in range(2, 5000)) + b"u",
        "fraction as a key": b"}G" + bytes(8) + b"Ns",
        "network without a class": call("torch_utils.persistence", "_reconstruct_persistent_obj", b"}"),
        "network of numbers": call("torch_utils.persistence", "_reconstruct_persistent_obj", pickled([1])),
        "attribute without a name": record(b"}K\x01Ns"),
        "text that is no UTF-8": b"X\x02\x00\x00\x00\xff\xfe",
        "nothing to append to": b"Na",
        "nothing on the stack": b"R",
        "value never stored": b"h\x07",
        "mark never set": b"t",
        "two values": b"NN",
        "unknown opcode": b"\xee",
        "TensorFlow": name("dnnlib.tflib.network", "Network") + b")\x81",
    }  # fmt: skip
    files |= {title: START + value + b"." for title, value in values.items()}
    files |= {
        "empty": b"",
        "only a start": START,
        "unknown protocol": b"\x80\x09N.",
        "no pickle": b"\x89PNG\r\n\x1a\n" + bytes(50),
        "protocol 0": pickle.dumps(print, protocol=0),
        "zip": b"PK\x03\x04" + bytes(50),
        "saved, cut off": MAGIC + pickle.dumps(1001, protocol=2),
        "saved, other version": MAGIC + pickle.dumps(7, protocol=2) + b"\x80\x02}." * 2 + b"\x80\x02].",
        "saved, storage missing": storage(4)[: -16 - 8 - len(pickle.dumps(["0"], protocol=2))] + b"\x80\x02].",
    }
    return files


def zipped(content: bytes, entries: Mapping[str, bytes] | None = None, *, deflate: bool = False) -> bytes:
    """A file of torch.save in its zip format around the pickle `content`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as archive:
        for title, data in {"a/data.pkl": content, "a/version": b"3\n", **(entries or {})}.items():
            archive.writestr(title, data)
    return file.getvalue()


def saved_before_zip(content: bytes, keys: object = ()) -> bytes:
    """A file of torch.save before its zip format around the pickle `content`, without storages."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    heads = [pickle.dumps(value, protocol=2) for value in (1001, system)]
    return MAGIC + b"".join(heads) + content + pickle.dumps(list(keys), protocol=2)  # type: ignore[call-overload]


class Persistent:
    """Stands for an object of NVIDIA's networks while it is pickled."""

    def __init__(self, class_name: str, state: dict[str, object], source: str) -> None:
        self.meta = {"type": "class", "version": 6, "module_src": source, "class_name": class_name, "state": state}

    def __reduce__(self) -> tuple[object, ...]:
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,), None


@contextmanager
def nvidia_modules() -> Iterator[types.ModuleType]:
    """Modules of the names that NVIDIA's pickles refer to, only while pickling; gives dnnlib.util."""
    made = {
        title: types.ModuleType(title) for title in ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util")
    }

    def _reconstruct_persistent_obj(meta: object) -> None:
        raise AssertionError("only named, never called")

    class EasyDict(dict):  # type: ignore[type-arg]
        pass

    for function, module in ((_reconstruct_persistent_obj, "torch_utils.persistence"), (EasyDict, "dnnlib.util")):
        function.__module__, function.__qualname__ = module, function.__name__
        setattr(made[module], function.__name__, function)
    before = {title: sys.modules.get(title) for title in made}
    sys.modules.update(made)
    try:
        yield made["dnnlib.util"]
    finally:
        for title, module in before.items():
            if module is None:
                del sys.modules[title]
            else:
                sys.modules[title] = module


def network_pickle(networks: object, protocol: int = 4) -> bytes:
    """`networks` as NVIDIA's training writes them; call within `nvidia_modules`."""
    return pickle.dumps(networks, protocol=protocol)


def layer(parameters: Mapping[str, torch.Tensor], source: str = "", **state: object) -> Persistent:
    """An object of a network with parameters."""
    fields = {"training": False, "_parameters": {k: torch.nn.Parameter(v) for k, v in parameters.items()}, **state}
    return Persistent("SynthesisLayer", fields, source)
