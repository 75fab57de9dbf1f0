"""The verbs that work on a saved result: render and export."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from gan2shape.cli import main
from gan2shape.cli.saved import load_saved
from gan2shape.render import Lighting, Pose, render
from tests.cli.conftest import RESOLUTION

Mistake = Callable[..., str]


def test_one_picture_for_each_view_and_light(finished: Path, tmp_path: Path) -> None:
    flags = ["--yaw", "-30", "0", "30.25", "--pitch", "-5", "--light-x", "-1", "1", "--size", "48", "--threads", "1"]
    assert main(["render", str(finished), "-o", str(tmp_path / "views"), *flags]) == 0
    files = sorted(file.name for file in (tmp_path / "views").iterdir())
    assert files == sorted(
        f"yaw{yaw}_pitch-5_light{light}.png" for yaw in ("-30", "+0", "+30.25") for light in ("-1", "+1")
    )
    pictures = {name: np.asarray(Image.open(tmp_path / "views" / name)).astype(int) for name in files}
    assert {picture.shape for picture in pictures.values()} == {(48, 48, 3)}
    left, right = (pictures[f"yaw+0_pitch-5_light{light}.png"] for light in ("-1", "+1"))
    assert np.abs(left - right).max() > 0


def test_the_gan_paints_views_of_its_own_result(finished: Path, tmp_path: Path, checkpoint: Path) -> None:
    flags = ["--gan", "--generator", str(checkpoint), "--yaw", "-20", "20", "--threads", "1"]
    assert main(["render", str(finished), "-o", str(tmp_path), *flags]) == 0
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["yaw+20_pitch+0.png", "yaw-20_pitch+0.png"]
    assert {Image.open(file).size for file in files} == {(RESOLUTION, RESOLUTION)}


def test_the_gan_is_told_the_pose_and_light_that_it_is_shown(
    finished: Path, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[Tensor, Pose, Lighting]] = []

    def paint(images: Tensor, poses: Pose, lights: Lighting) -> Tensor:
        told.append((images, poses, lights))
        return images

    monkeypatch.setattr("gan2shape.reconstruct.painting.gan_projection", lambda *_: paint)
    flags = ["--gan", "--generator", str(checkpoint), "--yaw", "-20", "--pitch", "5", "--threads", "1"]
    for light in ([], ["--light-x", "0.7", "--light-y", "0.2", "--strength", "0.1"]):
        assert main(["render", str(finished), "-o", str(tmp_path), *flags, *light]) == 0
    saved = load_saved(finished)
    scene, camera = saved.result.scene, saved.result.camera
    for images, pose, lights in told:
        assert pose.euler().rad2deg()[0].tolist() == pytest.approx([5, -20, 0], abs=1e-4)
        again = render(scene.with_(pose=pose, lighting=lights), camera, depth_range=saved.depth_range).image
        torch.testing.assert_close(images, again, rtol=0, atol=1e-6)
    kept, new = (lights for _, _, lights in told)
    assert torch.equal(kept.direction, scene.lighting.direction)
    assert float(new.diffuse) == pytest.approx(float(scene.lighting.diffuse) + 0.1)
    assert (new.direction[0] / new.direction[0, 2]).tolist() == pytest.approx([0.7, 0.2, 1.0])


def test_the_gan_of_another_result_is_refused(finished: Path, tmp_path: Path, mistake: Mistake) -> None:
    said = mistake("render", finished, "--gan", "--threads", "1", "-o", tmp_path / "out")
    assert "made with the generator tiny.safetensors, this is another one; name its file with --generator" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--yaw", "nan"], "--yaw must be from -180 to 180 degrees; got nan"),
        (["--pitch", "200"], "--pitch must be from -180 to 180 degrees"),
        (["--yaw"], "--yaw"),
        (["--light-x", "inf"], "must be finite numbers"),
        (["--size", "0"], "--size must be from 16 to 4096 pixels"),
        (["--size", "100000"], "--size must be from 16 to 4096 pixels"),
    ],
)
def test_impossible_views(flags: list[str], said: str, finished: Path, mistake: Mistake) -> None:
    assert said in mistake("render", finished, *flags)


FORMATS = {"glb": ".glb", "obj": ".obj", "ply": ".ply", "voxels": ".npz", "turntable": ".webp"}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_by_the_ending_of_the_file(kind: str, finished: Path, tmp_path: Path) -> None:
    file = tmp_path / f"object{FORMATS[kind]}"
    assert main(["export", str(finished), "-o", str(file), "--threads", "1"]) == 0
    if kind in ("glb", "obj"):
        assert len(trimesh.load(file, force="mesh").faces) > 10
    elif kind == "ply":
        assert len(trimesh.load(file).vertices) > 10
    elif kind == "voxels":
        assert np.load(file)["occupancy"].any()
    else:
        assert Image.open(file).n_frames > 10


def test_the_name_of_a_file_that_is_not_named(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(finished), "--format", "ply", "--texture", "albedo"]) == 0
    assert capsys.readouterr().out == "written: quarters_0.ply\n"
    assert (tmp_path / "quarters_0.ply").exists()


def test_endings_that_do_not_fit(finished: Path, mistake: Mistake) -> None:
    assert "expected an ending of .glb, .obj, .ply, .npz, .webp" in mistake("export", finished, "-o", "a.stl")
    assert "--format obj expects the ending .obj" in mistake("export", finished, "-o", "a.glb", "--format", "obj")


def no_result(folder: Path) -> Path:
    return folder


def a_file(folder: Path) -> Path:
    (folder / "a").write_text("text")
    return folder / "a"


def missing(folder: Path) -> Path:
    return folder / "missing"


def damaged_json(folder: Path) -> Path:
    (folder / "config.json").write_text("{")
    return folder


def unknown_key(folder: Path) -> Path:
    settings = json.loads((folder / "config.json").read_text())
    settings["config"]["nonsense"] = 1
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def wrong_type(folder: Path) -> Path:
    settings = json.loads((folder / "config.json").read_text())
    settings["config"]["geometry"]["near"] = "near"
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def cut_scene(folder: Path) -> Path:
    file = folder / "scene.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    return folder


def scene_of_nan(folder: Path) -> Path:
    tensors = load_file(folder / "scene.safetensors")
    tensors["depth"][0, 0, 3, 3] = float("nan")
    save_file(tensors, folder / "scene.safetensors")
    return folder


@pytest.mark.parametrize("verb", ["render", "export"])
@pytest.mark.parametrize(
    "damage, copy, said",
    [
        (no_result, False, "got no such file"),
        (a_file, False, "got a file"),
        (missing, False, "got no such folder"),
        (damaged_json, True, "expected JSON"),
        (unknown_key, True, "unknown key 'nonsense'"),
        (wrong_type, True, "config.json"),
        (cut_scene, True, "not a whole safetensors file"),
        (scene_of_nan, True, "NaN or infinity in depth"),
    ],
)
def test_a_folder_that_is_no_whole_result(
    verb: str,
    damage: Callable[[Path], Path],
    copy: bool,
    said: str,
    finished: Path,
    tmp_path: Path,
    mistake: Mistake,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "result"
    folder.mkdir()
    if copy:
        shutil.copytree(finished, folder, dirs_exist_ok=True)
    assert said in mistake(verb, damage(folder))
    assert [file.name for file in tmp_path.iterdir()] == ["result"]


def test_networks_of_another_result(finished: Path, tmp_path: Path, checkpoint: Path, mistake: Mistake) -> None:
    folder = tmp_path / "result"
    shutil.copytree(finished, folder)
    save_file({"encoder.nothing": load_file(folder / "scene.safetensors")["depth"]}, folder / "networks.safetensors")
    said = mistake("render", folder, "--gan", "--generator", checkpoint, "-o", tmp_path / "out", "--threads", "1")
    assert "weights of the encoder network do not fit" in said
