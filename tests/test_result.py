"""A result on disk: bit-identical when read back, and refused in one line when it is not whole."""

from __future__ import annotations

import dataclasses
import errno
import getpass
import json
import math
import os
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from gan2shape.errors import InputError, OutputError
from gan2shape.io import files
from gan2shape.render import Camera, Lighting, Pose, Scene
from gan2shape.result import GeneratorRecord, ReconstructionResult

SIZE = 16


@pytest.fixture
def result(rng: torch.Generator) -> ReconstructionResult:
    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=rng)

    angles = torch.tensor([[math.radians(5), math.radians(-20), math.radians(3)]])
    scene = Scene(
        depth=0.9 + 0.2 * uniform(1, 1, SIZE, SIZE),
        albedo=uniform(1, 3, SIZE, SIZE) * 2 - 1,
        pose=Pose.from_euler(angles, torch.tensor([[0.01, -0.02, 0.0]])),
        lighting=Lighting(torch.tensor([[0.4]]), torch.tensor([[0.7]]), torch.tensor([[0.6, 0.0, 0.8]])),
    )
    return ReconstructionResult(
        scene=scene,
        camera=Camera(SIZE, fov_deg=12.0),
        mask=uniform(1, 1, SIZE, SIZE),
        image=uniform(1, 3, SIZE, SIZE) * 2 - 1,
        latent=torch.randn(1, 14, 8, generator=rng),
        networks={"depth.weight": torch.randn(3, 5, generator=rng), "half": uniform(4).half(), "step": torch.tensor(7)},
        generator=GeneratorRecord("tiny", "ab" * 32),
        config={"stages": [{"albedo": 3}], "preset": "default"},
        seed=11,
        history=[{"step": "albedo", "loss": 0.5}, {"step": "albedo", "loss": float("nan")}],
        warnings=("the second stage diverged",),
    )


def bits(tensor: torch.Tensor) -> tuple[torch.dtype, tuple[int, ...], bytes]:
    return tensor.dtype, tuple(tensor.shape), tensor.contiguous().numpy().tobytes()


def test_reading_back_gives_the_same_bits(result: ReconstructionResult, tmp_path: Path) -> None:
    result.save(tmp_path)
    back = ReconstructionResult.load(tmp_path)
    pairs = [
        (result.scene.depth, back.scene.depth),
        (result.scene.albedo, back.scene.albedo),
        (result.scene.pose.rotation, back.scene.pose.rotation),
        (result.scene.pose.translation, back.scene.pose.translation),
        (result.scene.lighting.ambient, back.scene.lighting.ambient),
        (result.scene.lighting.diffuse, back.scene.lighting.diffuse),
        (result.scene.lighting.direction, back.scene.lighting.direction),
        (result.mask, back.mask),
        (result.image, back.image),
        (result.latent, back.latent),
    ]
    for before, after in pairs:
        assert bits(before) == bits(after)
    assert back.networks.keys() == result.networks.keys()
    for name in result.networks:
        assert bits(back.networks[name]) == bits(result.networks[name])
    for name in ("camera", "generator", "config", "seed", "format_version"):
        assert getattr(back, name) == getattr(result, name)
    assert list(back.warnings) == list(result.warnings)
    assert list(back.history) == [{"step": "albedo", "loss": 0.5}, {"step": "albedo", "loss": None}]


def test_saving_again_writes_the_same_files(result: ReconstructionResult, tmp_path: Path) -> None:
    result.save(tmp_path / "a")
    ReconstructionResult.load(tmp_path / "a").save(tmp_path / "b")
    first = {file.name: file.read_bytes() for file in (tmp_path / "a").iterdir()}
    assert first == {file.name: file.read_bytes() for file in (tmp_path / "b").iterdir()}
    assert set(first) == {
        "scene.safetensors",
        "target.safetensors",
        "networks.safetensors",
        "scene.json",
        "config.json",
        "environment.json",
        "history.jsonl",
        "input.png",
        "mask.png",
    }


def test_the_readable_files(result: ReconstructionResult, tmp_path: Path) -> None:
    result.save(tmp_path)
    scene = json.loads((tmp_path / "scene.json").read_text())
    assert [scene[name] for name in ("pitch_deg", "yaw_deg", "roll_deg")] == pytest.approx([5, -20, 3], abs=1e-4)
    assert scene["translation"] == pytest.approx([0.01, -0.02, 0.0])
    assert (scene["ambient"], scene["diffuse"]) == pytest.approx((0.4, 0.7))
    assert scene["light_direction"] == pytest.approx([0.6, 0.0, 0.8])
    assert json.loads((tmp_path / "config.json").read_text())["working_size"] == SIZE
    tensors = load_file(tmp_path / "scene.safetensors")
    assert set(tensors) == {"depth", "albedo", "rotation", "translation", "ambient", "diffuse", "direction"}
    expected = ((result.image[0].permute(1, 2, 0).double() + 1) / 2 * 255).round().numpy()
    assert np.array_equal(np.asarray(Image.open(tmp_path / "input.png")), expected)


def test_the_environment_names_versions_and_no_places(result: ReconstructionResult, tmp_path: Path) -> None:
    result.save(tmp_path)
    text = (tmp_path / "environment.json").read_text()
    environment = json.loads(text)
    assert environment["torch"] == torch.__version__
    assert environment["device"] == "cpu"
    assert environment["generator"] == {"name": "tiny", "sha256": "ab" * 32}
    values = [value for value in environment.values() if isinstance(value, str)]
    assert not any("/" in value or os.sep in value for value in values)
    assert platform.node() not in values
    assert getpass.getuser() not in values


def test_a_result_without_networks(result: ReconstructionResult, tmp_path: Path) -> None:
    result.save(tmp_path)
    dataclasses.replace(result, networks={}).save(tmp_path)
    assert ReconstructionResult.load(tmp_path).networks == {}


@pytest.mark.parametrize(
    ("record", "entries"),
    [
        (GeneratorRecord("a.pkl", "12", class_index=0), {"name": "a.pkl", "sha256": "12", "class_index": 0}),
        (GeneratorRecord("a.pt", "12", features="m:f"), {"name": "a.pt", "sha256": "12", "features": "m:f"}),
        (GeneratorRecord("m:build", ""), {"name": "m:build", "sha256": "", "note": "not a file"}),
    ],
)
def test_classes_features_and_callables_are_recorded(
    record: GeneratorRecord, entries: dict[str, object], result: ReconstructionResult, tmp_path: Path
) -> None:
    dataclasses.replace(result, generator=record).save(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())["generator"]
    if "note" in written:
        written["note"] = written["note"].split(",")[0]
    assert written == entries
    assert ReconstructionResult.load(tmp_path).generator == record


@pytest.mark.parametrize(
    "entries", [{"name": "a"}, {"name": "a", "sha256": "", "class_index": True}, {"name": 1, "sha256": ""}]
)
def test_a_damaged_record_is_refused(entries: dict[str, object], result: ReconstructionResult, tmp_path: Path) -> None:
    result.save(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, "generator": entries}))
    with pytest.raises(InputError, match="expected generator with"):
        ReconstructionResult.load(tmp_path)


def test_tensors_that_share_memory_can_be_saved(result: ReconstructionResult, tmp_path: Path) -> None:
    expanded = result.scene.albedo[:, :1].expand(1, 3, SIZE, SIZE)
    scene = dataclasses.replace(result.scene, albedo=expanded)
    dataclasses.replace(result, scene=scene).save(tmp_path)
    assert torch.equal(ReconstructionResult.load(tmp_path).scene.albedo, expanded)


def edit_json(name: str, **changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        value = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(value | changes))

    return edit


def edit_tensor(file: str, name: str, value: torch.Tensor | None) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / file)
        del tensors[name]
        save_file(tensors if value is None else tensors | {name: value}, folder / file)

    return edit


def cut(name: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) * 2 // 3])

    return edit


NOT_A_NUMBER = torch.full((1, 1, SIZE, SIZE), float("nan"))
DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json: .*no such file"),
    "no scene": (lambda folder: (folder / "scene.safetensors").unlink(), "scene.safetensors"),
    "no target": (lambda folder: (folder / "target.safetensors").unlink(), "target.safetensors"),
    "no history": (lambda folder: (folder / "history.jsonl").unlink(), "history.jsonl"),
    "newer": (edit_json("config.json", format_version=2), "format_version 1; got 2; update"),
    "older": (edit_json("config.json", format_version=0), "format_version 1; got 0; reconstruct again"),
    "no version": (edit_json("config.json", format_version=None), "format_version 1; got None"),
    "wrong type": (edit_json("config.json", working_size="64"), "working_size"),
    "wrong camera": (edit_json("config.json", camera={"fov": 10}), "camera"),
    "impossible camera": (edit_json("config.json", camera={"fov_deg": -1.0, "pivot_depth": 1.0}), "fov_deg"),
    "cut config": (cut("config.json"), "expected JSON"),
    "cut history": (cut("history.jsonl"), "history.jsonl: expected JSON"),
    "cut scene": (cut("scene.safetensors"), "scene.safetensors"),
    "NaN": (edit_tensor("scene.safetensors", "depth", NOT_A_NUMBER), "NaN or infinity in depth"),
    "NaN latent": (edit_tensor("target.safetensors", "latent", NOT_A_NUMBER), "NaN or infinity in latent"),
    "missing": (edit_tensor("scene.safetensors", "albedo", None), "scene.safetensors: expected .*albedo"),
    "another size": (edit_tensor("scene.safetensors", "depth", torch.ones(1, 1, 8, 8)), r"got \(1, 1, 8, 8\)"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_result_is_refused_in_one_line(result: ReconstructionResult, tmp_path: Path, damage: str) -> None:
    edit, said = DAMAGES[damage]
    result.save(tmp_path)
    edit(tmp_path)
    with pytest.raises(InputError, match=said) as caught:
        ReconstructionResult.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_place_that_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        ReconstructionResult.load(tmp_path / "missing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="got a file"):
        ReconstructionResult.load(tmp_path / "file")


def test_a_save_that_stops_in_the_middle_is_no_result(
    result: ReconstructionResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older result is being overwritten when the disk becomes full: neither mixture nor half a file remains."""
    result.save(tmp_path)
    calls = []

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", failing)
    with pytest.raises(OutputError, match="disk is full"):
        result.save(tmp_path)
    assert not any(file.name.startswith(files.TEMPORARY_PREFIX) for file in tmp_path.iterdir())
    with pytest.raises(InputError, match=r"config\.json"):
        ReconstructionResult.load(tmp_path)
