"""Hostile .pt and .safetensors files written by hand, byte by byte; every one has to be refused in one line."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from tests.io import hostile
from tests.io.hostile import call, name, pickled, text, zipped

FLOATS = 4
DATA = bytes(4 * FLOATS)
HUGE = 5 << 29
"""Floats that take 10 GB."""


def saved(
    count: object = FLOATS,
    *,
    key: bytes = text("0"),
    kind: bytes = name("torch", "FloatStorage"),
    size: object = None,
    stride: object = (1,),
    offset: object = 0,
    persistent: bytes | None = None,
) -> bytes:
    """The value of a tensor as torch.save pickles it."""
    if persistent is None:
        persistent = b"(" + text("storage") + kind + key + text("cpu") + pickled(count) + b"tQ"
    shape = (count,) if size is None else size
    rest = pickled(offset) + pickled(shape) + pickled(stride) + pickled(False)
    return call("torch._utils", "_rebuild_tensor_v2", persistent, rest, call("collections", "OrderedDict"))


def holding(*values: bytes) -> bytes:
    """A pickled dictionary that holds values under the names t0, t1, ..."""
    items = b"".join(text(f"t{index}") + value for index, value in enumerate(values))
    return b"\x80\x02}(" + items + b"u."


def doubled(levels: int, last: bytes) -> bytes:
    """Tuples that hold the one before twice, `levels` times over, and what is done with the last."""
    return b"(" + b")q\x00" + b"h\x00h\x00\x86q\x00" * levels + b"1" + last


def safetensors(header: object, data: bytes = DATA, *, length: int | None = None) -> bytes:
    """A safetensors file; `length` is what it claims of its header."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def _directory(data: bytes) -> tuple[int, int, int]:
    """Count, bytes and place of a small zip file's directory."""
    return struct.unpack("<HII", data[-12:-2])  # type: ignore[return-value]


def edited(data: bytes, entry: str, field: int, value: bytes) -> bytes:
    """A zip file with some bytes of one entry in its directory replaced."""
    start = data.rfind(entry.encode()) - 46 + field
    return data[:start] + value + data[start + len(value) :]


def overlapping(count: int, floats: int) -> bytes:
    """`count` storages whose entries all name the same bytes."""
    values = [saved(floats, key=text(str(index))) for index in range(count)]
    data = zipped(holding(*values), {"a/data/0": bytes(4 * floats)})
    entries, length, start = _directory(data)
    directory = data[start : start + length]
    place = directory.rfind(b"a/data/0") - 46
    head = directory[place : place + 46]
    for index in range(1, count):
        title = f"a/data/{index}".encode()
        directory += head[:28] + struct.pack("<H", len(title)) + head[30:] + title
    total = entries + count - 1
    return (
        data[:start] + directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, total, total, len(directory), start, 0)
    )


def _zip_structures() -> dict[str, bytes]:
    good = zipped(holding(saved()), {"a/data/0": DATA})
    count, length, start = _directory(good)
    end = len(good) - 22
    directory = good[start:end]
    return {
        "zip: storage missing": zipped(holding(saved())),
        "zip: storage too short": zipped(holding(saved()), {"a/data/0": DATA[:-4]}),
        "zip: storage too long": zipped(holding(saved()), {"a/data/0": DATA + DATA}),
        "zip: storage of 10 GB announced": zipped(holding(saved(HUGE)), {"a/data/0": DATA}),
        "zip: entry of 4 GB announced": edited(good, "a/data/0", 20, struct.pack("<II", *[0xEFFFFFFF] * 2)),
        "zip: 64-bit size without one": edited(good, "a/data/0", 20, b"\xff" * 8),
        "zip: packed size differs": edited(good, "a/data/0", 20, struct.pack("<I", 8)),
        "zip: entry outside": edited(good, "a/data/0", 42, struct.pack("<I", len(good))),
        "zip: entry elsewhere": edited(good, "a/data/0", 42, struct.pack("<I", 5)),
        "zip: entry on another's place": edited(good, "a/data/0", 42, bytes(4)),
        "zip: deflated storage": zipped(holding(saved(250_000)), {"a/data/0": bytes(1_000_000)}, deflate=True),
        "zip: bomb of zeros": zipped(bytes(20 << 20), deflate=True),
        "zip: called deflated": edited(good, "a/data.pkl", 10, b"\x08\x00"),
        "zip: called encrypted": edited(good, "a/data.pkl", 8, b"\x01\x00"),
        "zip: unknown packing": edited(good, "a/data/0", 10, b"\x63\x00"),
        "zip: overlapping storages": overlapping(40, 1 << 18),
        "zip: two entries of one name": good[:start] + directory * 2
        + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 2 * count, 2 * count, 2 * length, start, 0),
        "zip: more entries than its directory": good[:end] + b"PK\x05\x06"
        + struct.pack("<HHHHIIH", 0, 0, count + 9, count + 9, length, start, 0),
        "zip: 2^64 entries": good[:end] + b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, *[1 << 63] * 4)
        + b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1) + b"PK\x05\x06" + b"\xff" * 16 + bytes(2),
        "zip: 64-bit end missing": good[:end] + b"PK\x05\x06" + b"\xff" * 16 + bytes(2),
        "zip: directory outside": good[:-6] + struct.pack("<IH", 1 << 30, 0),
        "zip: comment announced": good[:-2] + b"\xff\xff",
        "zip: something behind": good + b"\x00",
        "zip: cut at the end": good[:-1],
        "zip: cut in the middle": good[: len(good) // 2],
        "zip: only its start": b"PK\x03\x04",
        "zip: empty": b"PK\x05\x06" + bytes(18),
        "zip: no pickle": zipped(b"", {"b/x": b"1"}).replace(b"data.pkl", b"data.txt"),
        "zip: empty pickle": zipped(b""),
        "zip: two pickles": zipped(holding(saved()), {"b/data.pkl": b"\x80\x02N.", "a/data/0": DATA}),
        "zip: pickle and more": zipped(holding(saved()) + b"\x80\x02N.", {"a/data/0": DATA}),
        "zip: program": zipped(holding(saved()), {"a/data/0": DATA, "a/constants.pkl": b"\x80\x02)."}),
        "zip: big-endian": zipped(holding(saved()), {"a/data/0": DATA, "a/byteorder": b"big"}),
        "zip: paths upwards": zipped(holding(saved(key=text("../../0"))), {"a/../../data/0": DATA, "/a/data/0": DATA}),
        "zip: path of the machine": zipped(holding(saved(key=text("/etc/passwd"))), {"/etc/passwd": DATA}),
        "zip: path in the root": zipped(holding(saved())).replace(b"a/data.pkl", b"/a/ata.pkl"),
        "zip: name that is no UTF-8": edited(good, "a/data/0", 46, b"\xff\xfe"),
        "zip: name with an escape": zipped(b"\x80\x02}" + text("a\x1b[2Jb\nc") + saved() + b"s.", {"a/data/0": DATA}),
        "zip: name of a megabyte": zipped(b"\x80\x02}" + text("a" * (1 << 20)) + saved() + b"s.", {"a/data/0": DATA}),
    }  # fmt: skip


def _values() -> dict[str, bytes]:
    """Pickles for either format of torch.save, without storages that could be read."""
    layer = name("torch.nn.modules.linear", "Linear")
    script = name("__torch__", "Net")
    return {
        "whole network": holding(layer + b")\x81}b"),
        "network of a program": holding(script + b")\x81}b"),
        "network of NVIDIA": holding(hostile.record(b"}")),
        "record of settings as code": holding(name("argparse", "_sys")),
        "command in settings": holding(
            name("argparse", "Namespace") + b")\x81}" + text("a") + call("os", "system", text("touch canary")) + b"sb"
        ),
        "tuples doubled as a key": b"\x80\x02}" + doubled(60, b"h\x00Ns."),
        "tuples doubled": holding(doubled(60, b"h\x00")),
        "nested tuples": holding(b")" + b"\x85" * 100_000),
        "nested tuples as a key": b"\x80\x02})" + b"\x85" * 100_000 + b"Ns.",
        "nested dictionaries": b"\x80\x02" + (b"}" + text("a")) * 100_000 + b"N" + b"s" * 100_000 + b".",
        "nested typed tensors": b"\x80\x02" + name("torch._tensor", "_rebuild_from_type_v2") + b"q\x00"
        + (b"h\x00(h\x00" + name("torch", "Tensor")) * 10_000 + b")" + b"NtR" * 10_000 + b".",
        "nested parameters": b"\x80\x02" + (name("torch._utils", "_rebuild_parameter") + b"(") * 10_000 + b"N"
        + b"\x89NtR" * 10_000 + b".",
        "nested storages": holding(hostile.storage(1)),
        "text of 2^63 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 63) + b"a.",
        "10 GB of bytes": b"\x80\x04\x8e" + struct.pack("<Q", 10 << 30) + b"a.",
        "memo never stored": b"\x80\x02}" + text("a") + b"h\x09s.",
        "memo of 4 billion": b"\x80\x02}r\xff\xff\xff\xffj\xfe\xff\xff\xff.",
        "storage that is none": holding(saved(persistent=text("os.system") + b"Q")),
        "storage of a module": holding(saved(persistent=b"(" + text("module") + name("os", "system") + b"NNtQ")),
        "storage of negative size": holding(saved(-4)),
        "storage of a fraction": holding(saved(1.5)),
        "storage of 2^62 floats": holding(saved(1 << 62)),
        "storage of an unknown kind": holding(saved(kind=name("torch", "QInt8Storage"))),
        "storage with a number as key": holding(saved(key=b"K\x00")),
        "no tensors": holding(b"K\x01"),
        "a bare number": b"\x80\x02K\x01.",
        "name over lines": b"\x80\x02cos\x1b[2J\nsystem\x07\n.",
    }  # fmt: skip


def _tensors() -> dict[str, bytes]:
    """Pickles with one storage of four floats, which the tensor does not fit."""
    return {
        "behind its storage": holding(saved(offset=2)),
        "before its storage": holding(saved(offset=-1)),
        "with long strides": holding(saved(size=(2, 2), stride=(1 << 39, 1))),
        "with negative strides": holding(saved(offset=3, stride=(-1,))),
        "of negative size": holding(saved(size=(-4,))),
        "with a missing stride": holding(saved(size=(2, 2))),
        "of 2^80 elements": holding(saved(size=(1 << 40, 1 << 40), stride=(0, 0))),
        "of 10 GB repeated": holding(saved(size=(50_000, 50_000), stride=(0, 0))),
        "with 10,000 sizes": holding(saved(size=(1,) * 10_000, stride=(1,) * 10_000)),
        "whose storage has two kinds": holding(saved(), saved(kind=name("torch", "HalfStorage"))),
        "whose storage has two sizes": holding(saved(), saved(2)),
        "of text": holding(saved(size=(text("a"),))),
    }


def _safetensors() -> dict[str, bytes]:
    def one(**changes: object) -> dict[str, object]:
        return {"a": {"dtype": "F32", "shape": [FLOATS], "data_offsets": [0, 16], **changes}}

    two = {**one(), "b": one()["a"]}
    return {
        "header of 10 GB": safetensors(one(), length=10 << 30),
        "header of 2^63 bytes": safetensors(one(), length=1 << 63),
        "header of 20 MB": safetensors(b"{" + b" " * (20 << 20) + b"}"),
        "header one byte too long": safetensors(one(), b"", length=len(json.dumps(one())) + 1),
        "header cut": safetensors(json.dumps(one()).encode()[:-3]),
        "header of another kind": safetensors(b"{[]}"),
        "header nested": safetensors(b"{" + b'"a":{' * 100_000),
        "header that is no UTF-8": safetensors(b'{"\xff\xfe":1}'),
        "tensor of 10 GB": safetensors(one(shape=[HUGE], data_offsets=[0, 10 << 30])),
        "tensor beyond the file": safetensors(one(shape=[8], data_offsets=[0, 32])),
        "tensor of another size": safetensors(one(shape=[3])),
        "tensor of 2^80 elements": safetensors(one(shape=[1 << 40, 1 << 40])),
        "tensor of negative size": safetensors(one(shape=[-4])),
        "tensor of a fraction": safetensors(one(shape=[4.5])),
        "tensor backwards": safetensors(one(data_offsets=[16, 0])),
        "tensor of no kind": safetensors(one(dtype="O8")),
        "tensor without a shape": safetensors({"a": {"dtype": "F32", "data_offsets": [0, 16]}}),
        "tensors on one place": safetensors(two),
        "hole between tensors": safetensors(one(data_offsets=[16, 32]), DATA + DATA),
        "more data than tensors": safetensors(one(), DATA + DATA),
        "metadata of numbers": safetensors({"__metadata__": {"a": 1}, **one()}),
        "name with an escape": safetensors({"a\x1b[2J\nb": one()["a"]}),
        "name of a megabyte": safetensors({"a" * (1 << 20): one()["a"]}),
        "no tensors": safetensors({}, b""),
    }


def hostile_checkpoints() -> dict[str, bytes]:
    """Whole files by title; those that run a command would make the file ``canary`` in the folder they are read in."""
    files = _zip_structures()
    for title, content in _values().items():
        files[f"{title}, in a zip"] = zipped(content)
        files[f"{title}, before zip"] = hostile.saved_before_zip(content)
    stored = struct.pack("<q", FLOATS) + DATA
    for title, content in _tensors().items():
        files[f"tensor {title}, in a zip"] = zipped(content, {"a/data/0": DATA})
        files[f"tensor {title}, before zip"] = hostile.saved_before_zip(content, ["0"]) + stored
    plain = holding(saved())
    files |= {
        "before zip: storage cut": hostile.saved_before_zip(plain, ["0"]) + stored[:-4],
        "before zip: storage missing": hostile.saved_before_zip(plain, ["0"]),
        "before zip: key missing": hostile.saved_before_zip(plain) + stored,
        "before zip: unknown key": hostile.saved_before_zip(plain, ["0", "1"]) + stored * 2,
        "before zip: same key twice": hostile.saved_before_zip(plain, ["0", "0"]) + stored * 2,
        "before zip: storage of another length": hostile.saved_before_zip(plain, ["0"]) + struct.pack("<q", 3) + DATA,
        "before zip: 10 GB announced": hostile.saved_before_zip(holding(saved(HUGE)), ["0"]) + stored,
        "before zip: only its number": hostile.MAGIC,
        "before zip: keys that are none": hostile.saved_before_zip(plain, [0]) + stored,
    }
    files |= {f"safetensors: {title}": content for title, content in _safetensors().items()}
    shell = Path("canary")
    for title, value in hostile.commands(shell).items():
        files[f"{title}, in a zip"] = zipped(holding(value))
        files[f"{title}, before zip"] = hostile.saved_before_zip(holding(value))
        files[f"{title}, beside a tensor"] = zipped(holding(saved(), value), {"a/data/0": DATA})
    return files
