"""NumPy's files against NumPy's own reader, and hostile ones, told in our words."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gan2shape.data.model import read_packed
from gan2shape.data.source import open_pictures
from gan2shape.errors import InputError
from gan2shape.evaluate.results import read_depth
from gan2shape.evaluate.truth import read_truth
from gan2shape.io.arrays import ArrayFile, Unreadable, read_array
from gan2shape.networks.trained import DepthNetwork  # noqa: F401 - torch is loaded before memory is measured

ARRAYS = {
    "image": np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3),
    "depth": np.linspace(0, 1, 32).reshape(2, 4, 4),
    "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(4, dtype=">i4"),
    "names": np.array(["a", "bc"]),
    "one": np.float32(3),
    "none": np.zeros((0, 3)),
}


class _Command:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_those_of_numpy(save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / "a.npz", **ARRAYS)
    archive = ArrayFile(tmp_path / "a.npz")
    assert set(archive.headers) == set(ARRAYS)
    for name, values in ARRAYS.items():
        got = archive.read(name)
        assert (got.dtype, got.shape) == (values.dtype, values.shape)
        assert (archive.headers[name].dtype, archive.headers[name].shape) == (values.dtype, values.shape)
        np.testing.assert_array_equal(got, values)
        np.save(tmp_path / "a.npy", values)
        np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), values)
    with pytest.raises(KeyError):
        archive.read("other")


def _array(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    raw = header.encode() + b"\n"
    length = struct.pack("<H" if version[0] == 1 else "<I", len(raw))
    return b"\x93NUMPY" + version + length + raw + data


def _claim(shape: str, kind: str = "<f4") -> str:
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}"


def _hostile(canary: Path) -> dict[str, bytes]:
    command = pickle.dumps(np.array([_Command(canary)], dtype=object), protocol=2)
    whole = io.BytesIO()
    np.save(whole, np.arange(100.0))
    return {
        "objects": _array(_claim("(1,)", "|O"), command),
        "a bare pickle": command,
        "10 GB claimed": _array(_claim("(2684354560,)"), bytes(16)),
        "2^80 claimed": _array(_claim("(1099511627776, 1099511627776)"), bytes(16)),
        "negative size": _array(_claim("(-4,)"), bytes(16)),
        "size of text": _array(_claim("('a',)"), bytes(16)),
        "10,000 sizes": _array(_claim("(" + "1," * 10_000 + ")"), bytes(4), b"\x02\x00"),
        "code as a header": _array(f"__import__('os').mkdir({str(canary)!r})", bytes(16)),
        "nested header": _array("(" * 5000, bytes(16), b"\x02\x00"),
        "header of 4 GB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
        "another version": b"\x93NUMPY\x09\x00" + bytes(100),
        "no header": _array("[]"),
        "cut": whole.getvalue()[:-9],
        "only its start": b"\x93NUMPY",
        "empty": b"",
        "text": b"not an array",
    }


TITLES = sorted(_hostile(Path("canary")))


def _npz(data: bytes, name: str = "depth") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for key in (name, "mask", "image", "mean_vertices_cm"):
            archive.writestr(f"{key}.npy", data)
    return file.getvalue()


@pytest.mark.parametrize("title", TITLES)
def test_hostile_arrays_are_told_in_our_words(title: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    content = _hostile(canary)[title]
    (tmp_path / "a.npy").write_bytes(content)
    (tmp_path / "a.npz").write_bytes(_npz(content))
    (tmp_path / "depth.npy").write_bytes(content)
    with pytest.raises(Unreadable) as caught:
        read_array(tmp_path / "a.npy")
    said = [str(caught.value)]
    with pytest.raises(Unreadable) as caught:
        ArrayFile(tmp_path / "a.npz").read("depth")
    said.append(str(caught.value))
    readers: list[Callable[[], object]] = [
        lambda: read_depth(tmp_path),
        lambda: read_truth(tmp_path / "a.npz"),
        lambda: read_packed(tmp_path / "a.npz"),
        lambda: dict(open_pictures(tmp_path / "a.npz", size=4, seed=0, device="cpu")(0, 1)),
    ]
    for read in readers:
        with pytest.raises(InputError) as told:
            read()
        said.append(str(told.value))
    for line in said:
        assert line.isprintable()
        assert "pickle" not in line
    assert not canary.exists()


def test_entries_that_claim_more_than_they_hold(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(1000))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    place = data.rfind(b"a.npy") - 46 + 24
    data[place : place + 4] = struct.pack("<I", 0xEFFFFFFF)
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(Unreadable, match="a claims more than it holds"):
        ArrayFile(tmp_path / "a.npz").read("a")


def test_other_places_are_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path, tmp_path / "pipe"):
        for read in (read_array, ArrayFile):
            with pytest.raises(Unreadable, match="no file"):
                read(place)
    for read in (read_array, ArrayFile):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "missing")
    np.save(tmp_path / "a.npy", np.ones(2))
    with pytest.raises(Unreadable, match="single array"):
        ArrayFile(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", a=np.ones(2))
    with pytest.raises(Unreadable, match="several arrays"):
        read_array(tmp_path / "a.npz")


def test_mutations_are_read_or_told(tmp_path: Path) -> None:
    rng = random.Random(1)
    np.savez_compressed(tmp_path / "seed.npz", a=ARRAYS["depth"], b=ARRAYS["image"])
    np.save(tmp_path / "seed.npy", ARRAYS["depth"])
    told = 0
    for index in range(1500):
        suffix = (".npz", ".npy")[index % 2]
        data = bytearray((tmp_path / f"seed{suffix}").read_bytes())
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / f"x{suffix}").write_bytes(data[: rng.choice((len(data), rng.randrange(len(data))))])
        try:
            if suffix == ".npy":
                read_array(tmp_path / "x.npy")
            else:
                archive = ArrayFile(tmp_path / "x.npz")
                for name in archive.headers:
                    archive.read(name)
        except Unreadable:
            told += 1
    assert 300 < told < 1500
