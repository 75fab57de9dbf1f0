"""``gan2shape data``."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gan2shape.cli import main
from gan2shape.data.facekit import read_facekit
from gan2shape.data.model import read_packed, write_packed
from tests.cli.conftest import leftovers
from tests.data.small import sphere_model, write_obj_folder

FEW = ["--count", "3", "--views", "2", "--size", "16", "--seed", "5", "--device", "cpu", "--threads", "1"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "model.npz"
    write_packed(file, sphere_model(shapes=1.0))
    return file


def test_folder_and_packed_file(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, npz = tmp_path / "heads", tmp_path / "heads.npz"
    assert main(["data", "synface", "--model", str(model), "-o", str(folder), "--npz", str(npz), *FEW]) == 0
    said = capsys.readouterr().out
    assert f"3 heads in 2 views: {folder}" in said
    assert f"3 heads in 2 views: {npz}" in said
    for kind, ending in (("image", "png"), ("mask", "png"), ("albedo", "png"), ("depth", "npy"), ("normal", "npy")):
        assert sorted(f.name for f in (folder / kind).iterdir()) == [f"{k:06d}.{ending}" for k in range(6)]
    rows = [json.loads(line) for line in (folder / "parameters.jsonl").read_text().splitlines()]
    assert [row["head"] for row in rows] == [0, 0, 1, 1, 2, 2]
    with np.load(npz) as packed:
        keys = ["image", "depth", "mask", "normal", "albedo", "view_deg", "translation", "ambient", "diffuse", "light"]
        extra = ["image", "mask", "view_deg", "translation", "ambient", "diffuse", "light"]
        wanted = {*keys, "identity", "expression", *(f"extra_{key}" for key in extra)}
        assert set(packed.files) == wanted
        np.testing.assert_array_equal(packed["depth"][1], np.load(folder / "depth" / "000002.npy"))
        assert packed["extra_image"].shape == (3, 1, 16, 16, 3)
    assert leftovers(tmp_path) == []


def test_looks(model: Path, tmp_path: Path) -> None:
    for look in ("plain", "detailed"):
        flags = ["--model", str(model), "--npz", str(tmp_path / f"{look}.npz"), "--look", look, *FEW]
        assert main(["data", "synface", *flags]) == 0
    with np.load(tmp_path / "plain.npz") as plain, np.load(tmp_path / "detailed.npz") as detailed:
        np.testing.assert_array_equal(plain["view_deg"], detailed["view_deg"])
        assert (plain["image"] != detailed["image"]).any()


def test_resume(model: Path, tmp_path: Path, mistake: Callable[..., str]) -> None:
    flags = ["--model", str(model), "-o", str(tmp_path / "heads"), *FEW]
    assert main(["data", "synface", *flags]) == 0
    assert "expected an empty folder" in mistake("data", "synface", *flags)
    assert main(["data", "synface", *flags, "--resume", "--count", "4"]) == 0
    assert len((tmp_path / "heads" / "parameters.jsonl").read_text().splitlines()) == 8
    assert "expected pictures of the same model" in mistake("data", "synface", *flags, "--resume", "--seed", "6")


def test_a_model_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    whole = sphere_model(rows=5, columns=6, shapes=1.0)
    layout = write_obj_folder(tmp_path / "FaceXModel", whole)
    monkeypatch.setattr("gan2shape.data.source.read_facekit", functools.partial(read_facekit, layout=layout))
    assert main(["data", "pack", str(tmp_path / "FaceXModel"), "-o", str(tmp_path / "small.npz")]) == 0
    assert f"{len(whole.mean)} vertices, 3 identity modes, 5 expression shapes" in capsys.readouterr().out
    np.testing.assert_allclose(read_packed(tmp_path / "small.npz").mean, whole.mean, atol=1e-6)


@pytest.mark.parametrize(
    "flags, said",
    [
        ([], "a folder (-o FOLDER) or a file (--npz FILE) is needed"),
        (["--npz", "a.npz", "--resume"], "--resume goes on in a folder"),
        (["--npz", "a.npz", "--count", "0"], "--count must be from 1 to"),
        (["--npz", "a.npz", "--size", "4"], "--size must be from 8 to 2048; got 4"),
        (["--npz", "a.npz", "--views", "0"], "--views must be from 1 to 1000; got 0"),
        (["--npz", "a.npz", "--seed", str(2**64)], "--seed must be a whole number"),
        (["--npz", "a.npz", "--look", "odd"], "odd"),
    ],
)
def test_impossible_flags(flags: list[str], said: str, model: Path, mistake: Callable[..., str]) -> None:
    assert said in mistake("data", "synface", "--model", model, *flags)


def test_models_that_are_none(tmp_path: Path, mistake: Callable[..., str]) -> None:
    (tmp_path / "text.npz").write_text("text")
    for name, said in (("text.npz", "cannot be read"), ("nowhere.npz", "no such file"), (".", "generic_neutral_mesh")):
        assert said in mistake("data", "synface", "--model", tmp_path / name, "--npz", tmp_path / "out.npz")
    assert "got no folder" in mistake("data", "pack", tmp_path / "text.npz")
    assert "it holds no generic_neutral_mesh.obj" in mistake("data", "pack", tmp_path)
    assert not (tmp_path / "out.npz").exists()


def test_a_file_where_a_folder_should_be(model: Path, tmp_path: Path, mistake: Callable[..., str]) -> None:
    (tmp_path / "taken").write_text("a file")
    assert "a file where a folder should be" in mistake("data", "synface", "--model", model, "-o", tmp_path / "taken")
    said = mistake("data", "synface", "--model", model, "--npz", tmp_path / "taken" / "a.npz")
    assert "a file where a folder should be" in said
