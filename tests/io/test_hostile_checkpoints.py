"""Hostile .pt and .safetensors files, written by hand and by mutation: refused in one line, or read as data."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from traceback import walk_tb

import pytest
import torch
from safetensors.torch import save

from gan2shape.errors import CheckpointError
from gan2shape.io.checkpoints import read_metadata, read_one_tensor, read_tensors
from tests.io import hostile
from tests.io.hostile_checkpoints import DATA, holding, hostile_checkpoints, safetensors, saved
from tests.io.memory import at_most

FILES = hostile_checkpoints()
ADDED_MIB = 300
"""What the process may need beside what it had before; the largest hostile file has 20 MB."""


@pytest.mark.parametrize("title", sorted(FILES))
def test_hostile_checkpoints_are_refused_in_one_line(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.pt"
    path.write_bytes(FILES[title])
    start = time.process_time()
    with at_most(ADDED_MIB), pytest.raises(CheckpointError) as caught:
        read_tensors(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < len(str(path)) + 350
    assert time.process_time() - start < 10
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.pt"]


def test_there_are_enough_hostile_checkpoints() -> None:
    assert len(FILES) >= 200
    assert sum(title not in str(hostile.commands(Path("canary"))) for title in FILES) >= 120


@pytest.mark.parametrize(
    "title, says",
    [
        ("os.system, in a zip", "refused: it names os.system"),
        ("getattr chain, before zip", "refused: it names builtins.getattr"),
        ("copyreg object, beside a tensor", "refused: it names copyreg._reconstructor"),
        ("command in settings, in a zip", "refused: it names os.system"),
        ("whole network, in a zip", "save the network's state_dict"),
        ("zip: deflated storage", "compressed entry a/data.pkl, and torch.save never compresses"),
        ("zip: overlapping storages", "claims more data than it holds"),
        ("zip: entry of 4 GB announced", "claims 4026531839 bytes, more than there are"),
        ("zip: storage of 10 GB announced", "claims more data than it holds"),
        ("zip: program", "TorchScript"),
        ("zip: cut in the middle", "ends before its directory"),
        ("tuples doubled as a key, in a zip", "key that is neither"),
        ("nested tuples, before zip", "nested more than 100 levels"),
        ("tensor of 10 GB repeated, in a zip", "much larger than its data"),
        ("safetensors: header of 10 GB", "header is longer than the file"),
        ("safetensors: header of 20 MB", "more than any checkpoint's"),
        ("safetensors: tensor of 10 GB", "not a whole safetensors file"),
        ("safetensors: name with an escape", r"tensor of the name a\?\[2J\?b"),
    ],
)
def test_refusals_name_the_reason(title: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(FILES[title])
    with pytest.raises(CheckpointError, match=says):
        read_tensors(tmp_path / "bad.pt")


def test_the_files_are_hostile_for_one_reason_only(tmp_path: Path) -> None:
    """What the files are made from is read; otherwise their refusal would prove nothing."""
    whole = holding(saved())
    stored = struct.pack("<q", 4) + DATA
    good = [
        hostile.zipped(whole, {"a/data/0": DATA}),
        hostile.saved_before_zip(whole, ["0"]) + stored,
        hostile.zipped(holding(saved(), b"K\x01", b"}"), {"a/data/0": DATA, "b/../../x": b"1", "/etc/passwd": b"2"}),
        hostile.zipped(holding(saved(), hostile.name("argparse", "Namespace") + b")\x81}b"), {"a/data/0": DATA}),
    ]
    for content in good:
        (tmp_path / "good.pt").write_bytes(content)
        assert torch.equal(read_tensors(tmp_path / "good.pt")["t0"], torch.zeros(4))
    header = {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "__metadata__": {"m": "a\x1b[2J\nb"}}
    (tmp_path / "good.pt").write_bytes(safetensors(header))
    assert torch.equal(read_tensors(tmp_path / "good.pt")["a"], torch.zeros(4))
    assert read_metadata(tmp_path / "good.pt") == {"m": "a?[2J\nb"}


def test_places_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path, tmp_path / "missing.pt", tmp_path / "pipe", Path(os.devnull)):
        for read in (read_tensors, read_metadata, lambda path: read_one_tensor(path, "a")):
            with pytest.raises(CheckpointError, match=r"^[^\n]+$"):
                read(place)


def test_every_cut_is_refused(tmp_path: Path) -> None:
    for content in _seeds():
        for end in range(0, len(content), max(1, len(content) // 150)):
            (tmp_path / "cut.pt").write_bytes(content[:end])
            with pytest.raises(CheckpointError):
                read_tensors(tmp_path / "cut.pt")


def _seeds() -> list[bytes]:
    tensors = {"a": torch.ones(2, 3).t(), "b": OrderedDict(c=torch.arange(3), d=torch.ones(2).half()), "n": 1}
    tensors["p"] = torch.nn.Parameter(torch.ones(1, 2))
    made = []
    for zipped in (True, False):
        file = io.BytesIO()
        torch.save(tensors, file, _use_new_zipfile_serialization=zipped)
        made.append(file.getvalue())
    made.append(save({"a": torch.ones(2, 3), "b/c": torch.zeros(2, dtype=torch.int64)}, {"kind": "x"}))
    return made


def _pickle_of(content: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    """The pickle in a zip of torch.save, and what puts another in its place."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    title = next(name for name in entries if name.endswith("data.pkl"))

    def around(other: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in entries.items():
                archive.writestr(name, other if name == title else data)
        return file.getvalue()

    return entries[title], around


def _header_of(content: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    """The header of a safetensors file, and what puts another in its place with its right length."""
    length = struct.unpack("<Q", content[:8])[0]
    rest = content[8 + length :]
    return content[8 : 8 + length], lambda other: struct.pack("<Q", len(other)) + other + rest


INTERESTING = [b"\xff" * 8, bytes(8), b"PK\x01\x02", b"PK\x05\x06", b"\x80\x02", b"[", b"{", b"9999999999", b"-1", b'"']
OPCODES = b"(.0RbtscQ}])\x81\x85\x86\x93\x94\x8c\x95hqaeu"


def mutated(content: bytes, rng: random.Random) -> bytes:
    """`content` with one to eight places set, put in, taken out, doubled or given a number that means something."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        place, kind = rng.randrange(len(data) + 1), rng.randrange(6)
        if kind == 0 and place < len(data):
            data[place] = rng.randrange(256)
        elif kind == 1 and place < len(data):
            data[place] = rng.choice(OPCODES)
        elif kind == 2 and len(data) > 20:
            del data[place : place + rng.randrange(1, 9)]
        elif kind == 3:
            chosen = rng.choice(INTERESTING)
            data[place : place + len(chosen)] = chosen
        elif kind == 4 and place + 4 <= len(data):
            number = int.from_bytes(data[place : place + 4], "little") + rng.choice((-1, 1, 1 << 16, 1 << 31))
            data[place : place + 4] = (number % (1 << 32)).to_bytes(4, "little")
        else:
            other = rng.randrange(len(data) + 1)
            data[place:place] = data[other : other + rng.randrange(1, 40)]
    return bytes(data)


def ending(error: BaseException) -> tuple[str, ...]:
    """Where a file was refused: the lines of our reader that the errors went through."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        lines += [f"{frame.f_code.co_name}:{line}" for frame, line in walk_tb(cause.__traceback__)]
        cause = cause.__cause__
    return tuple(lines)


def fuzz(folder: Path, count: int, seed: int, seconds: float = float("inf")) -> tuple[int, int, int]:
    """Read mutated files; returns how many were read, how many accepted, and at how many places they ended.

    A file that is refused where none was before, or is accepted with other tensors, joins those that are mutated.
    """
    rng = random.Random(seed)
    seeds, corpus = _seeds(), []
    places: set[object] = set()
    accepted = done = 0
    lines: set[int] = set()
    path = folder / "fuzz.pt"
    end = time.monotonic() + seconds
    while done < count and time.monotonic() < end:
        parent = rng.choice(corpus if corpus and rng.random() < 0.5 else seeds)
        content = _mutated_within(parent, rng) if rng.random() < 0.6 else mutated(parent, rng)
        path.write_bytes(content)
        done += 1
        try:
            tensors = read_tensors(path)
            accepted += 1
            assert sum(tensor.untyped_storage().nbytes() for tensor in tensors.values()) < 1 << 24
            place: object = frozenset((name, tuple(t.shape), t.dtype) for name, t in tensors.items())
        except CheckpointError as error:
            lines.add(len(str(error).splitlines()))
            place = ending(error)
        if place not in places and len(content) < 20_000:
            places.add(place)
            corpus.append(content)
    assert lines == {1}
    return done, accepted, len(places)


def _mutated_within(content: bytes, rng: random.Random) -> bytes:
    """Mutated inside its container, which stays whole: the pickle of a zip, the header of safetensors."""
    try:
        inside, around = _pickle_of(content) if content.startswith(b"PK") else _header_of(content)
        return around(mutated(inside, rng)) if len(inside) < 20_000 else mutated(content, rng)
    except (ValueError, StopIteration, OSError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile,
            UnicodeError, struct.error, zipfile.zlib.error):  # type: ignore[attr-defined]  # fmt: skip
        return mutated(content, rng)  # A mutation that is no longer a zip file, or has no header.


def test_mutations_are_read_or_refused(tmp_path: Path) -> None:
    with at_most(ADDED_MIB):
        done, accepted, places = fuzz(tmp_path, 3000, seed=1)
    assert done == 3000
    assert 50 < accepted < 2900
    assert places > 60
    assert [entry.name for entry in tmp_path.iterdir()] == ["fuzz.pt"]


@pytest.mark.slow
def test_a_hundred_thousand_mutations_are_read_or_refused(tmp_path: Path) -> None:
    with at_most(2 * ADDED_MIB):
        done, accepted, places = fuzz(tmp_path, 100_000, seed=2, seconds=3600)
    assert done == 100_000
    assert accepted > 1000
    assert places > 200
    assert [entry.name for entry in tmp_path.iterdir()] == ["fuzz.pt"]


def test_headers_of_safetensors_by_chance(tmp_path: Path) -> None:
    """Headers that are JSON but say anything."""
    rng, said = random.Random(3), []
    for _ in range(500):
        entry = {
            "dtype": rng.choice(["F32", "F16", "I64", "BOOL", "X", "", 1, None]),
            "shape": rng.choice([[4], [2, 2], [], [0], [1 << 62, 8], [-1], "a", None, [4.0], [[4]]]),
            "data_offsets": rng.choice([[0, 16], [0, 0], [16, 0], [0, 1 << 62], [8, 24], [], "a", [0], None]),
        }
        header = {rng.choice(["a", "", "__metadata__", "a/b"]): rng.choice([entry, {}, None, 1, {"a": "b"}])}
        (tmp_path / "x.pt").write_bytes(safetensors(json.dumps(header).encode(), DATA))
        try:
            assert all(tensor.numel() <= 16 for tensor in read_tensors(tmp_path / "x.pt").values())
        except CheckpointError as error:
            said.append(str(error))
    assert len(said) > 100
    assert all(text.isprintable() for text in said)
