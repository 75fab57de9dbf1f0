"""Zip files whose entries are stored as they are: what torch.save writes, and nothing else of the zip format.

Python's `zipfile` would build an object for every entry that a directory claims, unpack, and take an entry's size from
one place and its bytes from another. Here every size is compared with the file's before anything is read, two entries
cannot have one name, and nothing is unpacked or written: names are keys, whatever path they spell.

Source of the format: PKWARE's APPNOTE, sections 4.3 and 4.5.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from gan2shape.io.pickle_machine import Damaged, Refused, shown

_END, _END64, _PLACE64, _CENTRAL, _LOCAL = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02", b"PK\x03\x04"
_END_BYTES, _END64_BYTES, _PLACE64_BYTES, _CENTRAL_BYTES, _LOCAL_BYTES = 22, 56, 20, 46, 30
_LONGEST_COMMENT = 65535
_MOST_ENTRIES = 100_000
_MOST_DIRECTORY_BYTES = 32 << 20
_LONGEST_NAME = 1024
_ELSEWHERE = 0xFFFFFFFF
"""In a 32-bit field: the number stands in a 64-bit one."""


@dataclass(frozen=True)
class Entry:
    """One entry as the directory describes it."""

    name: str
    size: int
    """Bytes of its data."""
    offset: int
    """Where its own header begins."""


class StoredZip:
    """The entries of an open zip file by name.

    Args:
        file: open for reading bytes, seekable.

    Attributes:
        entries: all entries by name.
        size: bytes of the file.

    Raises:
        Damaged: it is truncated or no zip file.
        Refused: it has compressed or encrypted entries, two of one name, or more than any checkpoint.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, os.SEEK_END)
        count, length, self._directory = self._end()
        if count > _MOST_ENTRIES or length > _MOST_DIRECTORY_BYTES:
            raise Refused("has more entries than any checkpoint")
        if length < count * _CENTRAL_BYTES or self._directory + length > self.size:
            raise Damaged("its directory is not whole")
        self.entries: dict[str, Entry] = {}
        data, place = self._bytes(self._directory, length), 0
        for _ in range(count):
            place = self._take_entry(data, place)
        if place != length:
            raise Damaged("its directory is longer than its entries")

    def read(self, name: str) -> bytes:
        """The bytes of an entry.

        Raises:
            Damaged: no such entry, or it is not where the directory says.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise Damaged(f"its entry {shown(name)} is missing")
        header = self._bytes(entry.offset, _LOCAL_BYTES)
        if not header.startswith(_LOCAL):
            raise Damaged(f"its entry {shown(name)} is not where the directory says")
        name_bytes, extra_bytes = struct.unpack("<HH", header[26:30])
        start = entry.offset + _LOCAL_BYTES
        if self._bytes(start, name_bytes) != name.encode():
            raise Damaged(f"its entry {shown(name)} has two names")
        start += name_bytes + extra_bytes
        if start + entry.size > self._directory:
            raise Damaged(f"its entry {shown(name)} reaches beyond the file")
        return self._bytes(start, entry.size)

    def _bytes(self, start: int, count: int) -> bytes:
        if start + count > self.size:
            raise Damaged(f"it has {self.size} bytes where more were announced")
        self._file.seek(start)
        data = self._file.read(count)
        if len(data) != count:
            raise Damaged("it grew shorter while it was read")
        return data

    def _end(self) -> tuple[int, int, int]:
        """Number of entries, bytes of the directory, and where it begins."""
        tail_bytes = min(self.size, _END_BYTES + _LONGEST_COMMENT)
        tail = self._bytes(self.size - tail_bytes, tail_bytes)
        place = tail.rfind(_END)
        if place < 0 or len(tail) - place < _END_BYTES:
            raise Damaged("it ends before its directory")
        count, length, start, comment = struct.unpack("<HIIH", tail[place + 10 : place + _END_BYTES])
        if place + _END_BYTES + comment != len(tail):
            raise Damaged("something follows its directory")
        if count == 0xFFFF or _ELSEWHERE in (length, start):
            return self._end64(self.size - tail_bytes + place)
        return count, length, start

    def _end64(self, end: int) -> tuple[int, int, int]:
        if end < _PLACE64_BYTES:
            raise Damaged("its directory is not whole")
        place = self._bytes(end - _PLACE64_BYTES, _PLACE64_BYTES)
        if not place.startswith(_PLACE64):
            raise Damaged("its directory is not whole")
        record = self._bytes(struct.unpack("<Q", place[8:16])[0], _END64_BYTES)
        if not record.startswith(_END64):
            raise Damaged("its directory is not whole")
        count, length, start = struct.unpack("<QQQ", record[32:56])
        return count, length, start

    def _take_entry(self, data: bytes, place: int) -> int:
        """Keep the entry that is described at ``place`` of the directory; returns where the next one is."""
        head = data[place : place + _CENTRAL_BYTES]
        if len(head) < _CENTRAL_BYTES or not head.startswith(_CENTRAL):
            raise Damaged("its directory is not whole")
        flags, method = struct.unpack("<HH", head[8:12])
        packed, size, name_bytes, extra_bytes, comment_bytes = struct.unpack("<IIHHH", head[20:34])
        offset = struct.unpack("<I", head[42:46])[0]
        place += _CENTRAL_BYTES
        raw, extra = data[place : place + name_bytes], data[place + name_bytes : place + name_bytes + extra_bytes]
        place += name_bytes + extra_bytes + comment_bytes
        if place > len(data) or len(raw) > _LONGEST_NAME:
            raise Damaged("its directory is not whole")
        try:
            name = raw.decode()
        except UnicodeDecodeError as error:
            raise Damaged("an entry's name is not UTF-8") from error
        if method != 0:
            raise Refused(f"has the compressed entry {shown(name)}, and torch.save never compresses")
        if flags & 1:
            raise Refused(f"has the encrypted entry {shown(name)}")
        size, packed, offset = _wide([size, packed, offset], extra)
        if size != packed or offset + size > self.size:
            raise Damaged(f"its entry {shown(name)} claims {size} bytes, more than there are")
        if name in self.entries:
            raise Refused(f"has two entries of the name {shown(name)}")
        self.entries[name] = Entry(name, size, offset)
        return place


def _wide(fields: list[int], extra: bytes) -> list[int]:
    """The fields with those that stand elsewhere taken from the 64-bit part of an entry's extra data, in order."""
    if _ELSEWHERE not in fields:
        return fields
    numbers: list[int] = []
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        if kind == 1:
            part = extra[4 : 4 + length]
            numbers = list(struct.unpack(f"<{len(part) // 8}Q", part[: len(part) // 8 * 8]))
        extra = extra[4 + length :]
    if len(numbers) < fields.count(_ELSEWHERE):
        raise Damaged("an entry's size is missing")
    return [numbers.pop(0) if field == _ELSEWHERE else field for field in fields]
