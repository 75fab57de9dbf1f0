"""Stored zip files against Python's own reader, which agrees about whole ones."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
import torch

from gan2shape.io.pickle_machine import Damaged, Refused
from gan2shape.io.stored_zip import StoredZip


def _zip(entries: dict[str, bytes], *, comment: bytes = b"", wide: bool = False) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = comment
        for name, data in entries.items():
            with archive.open(name, "w", force_zip64=wide) as entry:
                entry.write(data)
    return file.getvalue()


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("comment", [b"", b"made by hand"])
def test_entries_are_those_of_pythons_reader(comment: bytes, wide: bool) -> None:
    entries = {"a/data.pkl": b"pickle", "a/data/0": bytes(range(256)) * 40, "ä/empty": b""}
    content = _zip(entries, comment=comment, wide=wide)
    archive = StoredZip(io.BytesIO(content))
    assert archive.size == len(content)
    assert {name: archive.read(name) for name in archive.entries} == entries


def test_files_of_torch_save_are_read() -> None:
    file = io.BytesIO()
    torch.save({"a": torch.arange(1000)}, file)
    archive = StoredZip(file)
    with zipfile.ZipFile(file) as other:
        assert {name: archive.read(name) for name in archive.entries} == {n: other.read(n) for n in other.namelist()}


def _in_64_bits(content: bytes, name: bytes) -> bytes:
    """A zip file of one entry with size and place in 64-bit fields of its directory."""
    count, length, start = struct.unpack("<HII", content[-12:-2])
    entry = bytearray(content[start : start + length])
    size, offset = struct.unpack("<I", entry[24:28])[0], struct.unpack("<I", entry[42:46])[0]
    entry[20:28], entry[42:46], entry[30:32] = b"\xff" * 8, b"\xff" * 4, struct.pack("<H", 28)
    extra = struct.pack("<HHQQQ", 1, 24, size, size, offset)
    directory = bytes(entry[: 46 + len(name)]) + extra
    end = start + len(directory)
    wide = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(directory), start)
    place = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    return content[:start] + directory + wide + place + b"PK\x05\x06" + bytes(4) + b"\xff" * 12 + bytes(2)


def test_sizes_and_places_may_stand_in_64_bit_fields() -> None:
    content = _in_64_bits(_zip({"only": b"abc"}), b"only")
    with zipfile.ZipFile(io.BytesIO(content)) as other:
        assert other.read("only") == b"abc"
    assert StoredZip(io.BytesIO(content)).read("only") == b"abc"


def test_entries_that_are_not_there_are_told() -> None:
    archive = StoredZip(io.BytesIO(_zip({"a": b"abc"})))
    with pytest.raises(Damaged, match="entry b is missing"):
        archive.read("b")


def test_compressed_files_are_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1000))
    with pytest.raises(Refused, match="compressed entry a"):
        StoredZip(file)


def test_other_files_are_told() -> None:
    for content in (b"", b"PK\x03\x04", bytes(100), _zip({"a": b"abc"})[:-1]):
        with pytest.raises(Damaged):
            StoredZip(io.BytesIO(content))
