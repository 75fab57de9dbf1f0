"""Tensors to disk and back, and files that are damaged, foreign or malicious."""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from gan2shape.errors import CheckpointError, OutputError
from gan2shape.io.checkpoints import read_metadata, read_one_tensor, read_tensors, sha256, write_tensors

TENSORS = {"a/b.weight": torch.arange(6.0).view(2, 3), "c": torch.ones(2, dtype=torch.float16)}


def _same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(
        torch.equal(ours[name], theirs[name]) and ours[name].dtype == theirs[name].dtype for name in ours
    )


def test_safetensors_round_trip_with_metadata(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.safetensors"
    write_tensors(path, TENSORS, {"licence": "MIT"})
    assert _same(read_tensors(path), TENSORS)
    assert read_metadata(path) == {"licence": "MIT"}
    assert [entry.name for entry in path.parent.iterdir()] == ["a.safetensors"]


def test_views_and_shared_tensors_can_be_written(tmp_path: Path) -> None:
    base = torch.arange(6.0).view(2, 3)
    write_tensors(tmp_path / "a.safetensors", {"x": base.T, "y": base, "z": base})
    assert torch.equal(read_tensors(tmp_path / "a.safetensors")["x"], base.T)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.safetensors", "noname"])
def test_pytorch_files_are_read_whatever_their_name(name: str, legacy: bool, tmp_path: Path) -> None:
    nested = {"a": OrderedDict({"b.weight": TENSORS["a/b.weight"]}), "c": TENSORS["c"], "step": 3, "note": "x"}
    torch.save(nested, tmp_path / name, _use_new_zipfile_serialization=not legacy)
    assert _same(read_tensors(tmp_path / name), TENSORS)
    assert read_metadata(tmp_path / name) == {}


def test_parameters_are_read_as_plain_tensors(tmp_path: Path) -> None:
    torch.save({"w": torch.nn.Parameter(torch.ones(2))}, tmp_path / "a.pt")
    assert not read_tensors(tmp_path / "a.pt")["w"].requires_grad


class _Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_pickle_is_refused_and_not_run(legacy: bool, tmp_path: Path) -> None:
    target = tmp_path / "owned"
    content = {"w": torch.ones(1), "x": _Malicious(target)}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match="refused") as caught:
        read_tensors(tmp_path / "a.pt")
    assert not target.exists()
    assert "\n" not in str(caught.value)


def test_bare_malicious_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    target = tmp_path / "owned"
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(_Malicious(target)))
    with pytest.raises(CheckpointError):
        read_tensors(tmp_path / "a.pkl")
    assert not target.exists()


def test_whole_modules_are_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="refused"):
        read_tensors(tmp_path / "a.pt")


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.9])
def test_truncated_files_are_told(kind: str, kept: float, tmp_path: Path) -> None:
    path = tmp_path / "a"
    tensors = {f"t{index}": torch.randn(40, 40) for index in range(8)}
    if kind == "safetensors":
        write_tensors(path, tensors)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    for read in (read_tensors, read_metadata) if kind == "safetensors" else (read_tensors,):
        with pytest.raises(CheckpointError) as caught:
            read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"just a text, not weights",
        b"\x89PNG\r\n\x1a\n" + bytes(50),
        b"PK\x03\x04" + bytes(60),
        b"\x80\x02]q\x00.",
        b"\xff" * 8 + b"{" + b"x" * 50,
        (1 << 60).to_bytes(8, "little") + b"{}" + bytes(20),
        bytes(2000),
    ],
)
def test_foreign_files_are_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.pt") as caught:
        read_tensors(tmp_path / "a.pt")
    assert "\n" not in str(caught.value)


def test_one_tensor_is_found_bare_alone_or_by_name(tmp_path: Path) -> None:
    latent = torch.arange(3.0)
    for name, content in (("a", latent), ("b", {"w": latent}), ("c", {"latent": latent, "noise": torch.ones(2)})):
        for new in (True, False):
            torch.save(content, tmp_path / f"{name}.pt", _use_new_zipfile_serialization=new)
            assert torch.equal(read_one_tensor(tmp_path / f"{name}.pt", "latent"), latent)
    write_tensors(tmp_path / "d.safetensors", {"w": latent})
    assert torch.equal(read_one_tensor(tmp_path / "d.safetensors", "latent"), latent)
    with pytest.raises(CheckpointError, match="expected one tensor, or one called z; got latent, noise"):
        read_one_tensor(tmp_path / "c.pt", "z")


def test_files_without_tensors_are_told(tmp_path: Path) -> None:
    torch.save({"a": 1}, tmp_path / "a.pt")
    torch.save(torch.ones(2), tmp_path / "b.pt")
    for name in ("a.pt", "b.pt"):
        with pytest.raises(CheckpointError, match="holds no named tensors"):
            read_tensors(tmp_path / name)


def test_missing_files_and_folders_are_told(tmp_path: Path) -> None:
    for read in (read_tensors, read_metadata, sha256):
        with pytest.raises(CheckpointError, match="No such file"):
            read(tmp_path / "none.pt")
        with pytest.raises(CheckpointError, match="directory"):
            read(tmp_path)


def test_failed_writing_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        write_tensors(tmp_path / "file" / "a.safetensors", TENSORS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_dictionaries_that_hold_themselves_or_double_are_refused_at_once(tmp_path: Path) -> None:
    ring: dict[str, object] = {"a": torch.zeros(1)}
    ring["self"] = ring
    deep: dict[str, object] = {"a": torch.zeros(1)}
    for _ in range(200):
        deep = {"d": deep}
    doubled: dict[str, object] = {"a": torch.zeros(1)}
    for _ in range(60):
        doubled = {"l": doubled, "r": doubled}
    for name, content in (("ring", ring), ("deep", deep), ("doubled", doubled)):
        for new in (True, False):
            torch.save(content, tmp_path / f"{name}.pt", _use_new_zipfile_serialization=new)
            with pytest.raises(CheckpointError, match=r"holds itself|nested more than|much larger|more parts"):
                read_tensors(tmp_path / f"{name}.pt")


def test_a_tensor_that_repeats_a_few_bytes_without_end_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(4).as_strided((50_000, 50_000), (0, 0))}, tmp_path / "wide.pt")
    with pytest.raises(CheckpointError, match="much larger than its data"):
        read_tensors(tmp_path / "wide.pt")


def test_compressed_storages_are_refused(tmp_path: Path) -> None:
    plain, bomb = tmp_path / "plain.pt", tmp_path / "bomb.pt"
    torch.save({"w": torch.zeros(1_000_000)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    assert bomb.stat().st_size < plain.stat().st_size / 100
    assert read_tensors(plain)["w"].numel() == 1_000_000
    with pytest.raises(CheckpointError, match=r"has the compressed entry .*, and torch\.save never compresses"):
        read_tensors(bomb)
