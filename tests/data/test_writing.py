"""Rendered heads as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan2shape.data.stored import PackedPictures
from gan2shape.data.synface import SynFace
from gan2shape.data.writing import to_arrays, write_synface
from gan2shape.errors import OutputError
from tests.data.small import sphere_model

SIZE = 16


def stream(views: int = 1, seed: int = 3) -> SynFace:
    return SynFace(sphere_model(shapes=1.0), size=SIZE, seed=seed, views=views)


def contents(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_the_folder_holds_the_stream(tmp_path: Path) -> None:
    write_synface(stream(views=2), 3, folder=tmp_path)
    pictures = stream(views=2)(0, 6)
    rows = [json.loads(line) for line in (tmp_path / "parameters.jsonl").read_text().splitlines()]
    assert [row["picture"] for row in rows] == list(range(6))
    assert [row["head"] for row in rows] == [0, 0, 1, 1, 2, 2]
    assert rows[2]["identity"] == rows[3]["identity"] != rows[4]["identity"]
    for index, row in enumerate(rows):
        name = f"{index:06d}"
        levels = np.asarray(Image.open(tmp_path / "image" / f"{name}.png")).astype(float)
        assert np.abs(levels - ((pictures["image"][index] + 1) * 127.5).permute(1, 2, 0).numpy()).max() < 0.51
        albedo = np.asarray(Image.open(tmp_path / "albedo" / f"{name}.png")).astype(float)
        assert np.abs(albedo - (pictures["albedo"][index] * 255).permute(1, 2, 0).numpy()).max() < 0.51
        mask = np.asarray(Image.open(tmp_path / "mask" / f"{name}.png"))
        assert set(np.unique(mask)) <= {0, 255}
        np.testing.assert_array_equal(mask > 0, pictures["mask"][index, 0] > 0)
        np.testing.assert_array_equal(np.load(tmp_path / "depth" / f"{name}.npy"), pictures["depth"][index, 0])
        normal = np.load(tmp_path / "normal" / f"{name}.npy").astype(np.float32)
        assert np.abs(normal - pictures["normal"][index].permute(1, 2, 0).numpy()).max() < 1e-3
        np.testing.assert_array_equal(np.float32(row["view_deg"]), pictures["view"][index])
        np.testing.assert_array_equal(np.float32(row["light"]), pictures["light"][index])
        assert np.float32(row["ambient"]) == pictures["ambient"][index, 0]


def test_the_packed_file_holds_heads_and_their_further_views(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "heads.npz"
    write_synface(stream(views=3), 30, npz=file)
    pictures = to_arrays(stream(views=3), 0, 90)
    with np.load(file) as packed:
        for key in ("image", "depth", "mask", "normal", "albedo", "view_deg", "identity", "expression", "ambient"):
            np.testing.assert_array_equal(packed[key], pictures[key][::3], err_msg=key)
            assert packed[key].dtype == pictures[key].dtype
        for key in ("image", "mask", "view_deg", "translation", "ambient", "diffuse", "light"):
            further = packed[f"extra_{key}"]
            assert further.shape[:2] == (30, 2)
            np.testing.assert_array_equal(further[:, 1], pictures[key][2::3], err_msg=key)
        assert not {"extra_depth", "extra_identity", "head"} & set(packed.files)
    assert [f.name for f in (tmp_path / "deep").iterdir()] == ["heads.npz"]
    # A file of these is what a training can read.
    got = PackedPictures(file, size=SIZE)(0, 30)
    assert torch.equal(got["view"].sort(0).values, torch.from_numpy(pictures["view_deg"][::3]).sort(0).values)


def test_one_view_needs_no_further_ones(tmp_path: Path) -> None:
    write_synface(stream(), 2, npz=tmp_path / "heads.npz")
    with np.load(tmp_path / "heads.npz") as packed:
        assert not [key for key in packed.files if key.startswith("extra")]


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan2shape.data.writing._PICTURES_AT_ONCE", 2)
    write_synface(stream(), 7, folder=tmp_path / "whole")

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    folder, npz = tmp_path / "part", tmp_path / "heads.npz"
    with pytest.raises(KeyboardInterrupt):
        write_synface(stream(), 7, folder=folder, npz=npz, on_progress=stop)
    assert len((folder / "parameters.jsonl").read_text().splitlines()) == 4
    assert not npz.exists()
    assert [f.name for f in tmp_path.iterdir() if f.name.startswith(".")] == []
    with open(folder / "parameters.jsonl", "a") as rows:
        rows.write('{"picture": 4, "he')  # As a killed run may leave it.
    steps: list[int] = []
    write_synface(stream(), 7, folder=folder, resume=True, on_progress=lambda done, _: steps.append(done))
    assert steps == [6, 7]
    assert contents(folder) == contents(tmp_path / "whole")
    # A packed file beside the folder needs all pictures again; the folder's stay as they are.
    write_synface(stream(), 7, folder=folder, npz=npz, resume=True)
    assert contents(folder) == contents(tmp_path / "whole")
    with np.load(npz) as packed:
        np.testing.assert_array_equal(packed["depth"], to_arrays(stream(), 0, 7)["depth"])


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"expected an empty folder; it holds notes\.txt"):
        write_synface(stream(), 1, folder=tmp_path)
    with pytest.raises(OutputError, match="expected pictures of the same model"):
        write_synface(stream(), 1, folder=tmp_path, resume=True)
    assert [f.name for f in tmp_path.iterdir()] == ["notes.txt"]
    write_synface(stream(), 1, folder=tmp_path / "ours")
    before = contents(tmp_path / "ours")
    with pytest.raises(OutputError, match="expected pictures of the same model"):
        write_synface(stream(seed=4), 1, folder=tmp_path / "ours", resume=True)
    with pytest.raises(OutputError, match="expected an empty folder"):
        write_synface(stream(), 1, folder=tmp_path / "ours")
    assert contents(tmp_path / "ours") == before


def test_nothing_to_write(tmp_path: Path) -> None:
    for heads, folder in ((0, tmp_path), (1, None)):
        with pytest.raises(ValueError, match="expected a head and a place to write"):
            write_synface(stream(), heads, folder=folder)
