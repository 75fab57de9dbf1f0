"""Predictions and result folders: what is read, to which picture it belongs, and one-line errors for the rest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gan2shape.errors import InputError
from gan2shape.evaluate.results import Prediction, match_results, read_depth, read_result
from gan2shape.evaluate.truth import Truth
from gan2shape.render import Camera, Lighting, Pose, Scene, render
from gan2shape.result import GeneratorRecord, ReconstructionResult

SIZE = 16


def a_truth(count: int = 3) -> Truth:
    return Truth(torch.ones(count, 1, 4, 4), torch.ones(count, 1, 4, 4))


def result_folder(place: Path, depth: np.ndarray | None = None) -> Path:
    place.mkdir(parents=True)
    np.save(place / "depth.npy", np.ones((4, 4), np.float32) if depth is None else depth)
    return place


def one_line(caught: pytest.ExceptionInfo[InputError]) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


def a_scene() -> Scene:
    steps = torch.linspace(-1, 1, SIZE)
    depth = (0.95 + 0.05 * (steps.view(-1, 1) ** 2 + steps**2))[None, None]
    light = Lighting(torch.full((1, 1), 0.4), torch.full((1, 1), 0.5), torch.tensor([[0.0, 0.0, 1.0]]))
    return Scene(depth, torch.zeros(1, 3, SIZE, SIZE), Pose.from_euler(torch.tensor([[0.0, 0.2, 0.0]])), light)


def a_result(config: dict[str, object] | None = None) -> ReconstructionResult:
    return ReconstructionResult(
        scene=a_scene(),
        camera=Camera(SIZE),
        mask=torch.ones(1, 1, SIZE, SIZE),
        image=torch.zeros(1, 3, SIZE, SIZE),
        latent=torch.zeros(1, 4),
        networks={},
        generator=GeneratorRecord("none", ""),
        config=config or {},
        seed=5,
    )


def test_folders_belong_to_the_picture_that_their_name_ends_with(tmp_path: Path) -> None:
    for name in ("000002", "face_0", "x1"):
        result_folder(tmp_path / name)
    (tmp_path / "empty7").mkdir()
    (tmp_path / "file5").write_text("")
    matched = match_results(tmp_path, a_truth())
    assert {index: folder.name for index, folder in matched.items()} == {0: "face_0", 1: "x1", 2: "000002"}


def test_a_single_result_folder_is_taken_itself(tmp_path: Path) -> None:
    folder = result_folder(tmp_path / "picture_2")
    assert match_results(folder, a_truth()) == {2: folder}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "expected result folders with depth.npy; found none"),
        (["a"], "or one that ends in the picture's number, like 000007; got a"),
        (["a3"], r"picture 3, but the truth has 3 \(000000 to 000002\)"),
        (["a1", "b1"], "are both of picture 000001; keep one"),
    ],
)
def test_folders_that_match_no_picture_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        result_folder(tmp_path / name)
    with pytest.raises(InputError, match=message) as caught:
        match_results(tmp_path, a_truth())
    one_line(caught)


def test_a_results_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder with results; got a file"):
        match_results(tmp_path / "file", a_truth())
    with pytest.raises(InputError, match="expected a folder with results; got nothing"):
        match_results(tmp_path / "missing", a_truth())


def test_a_depth_with_holes_is_read_finite(tmp_path: Path) -> None:
    depth = np.full((4, 4), 1.0, np.float32)
    depth[0], depth[1, 1] = np.nan, 1.05
    read, hit = read_depth(result_folder(tmp_path / "r0", depth))
    assert read.shape == hit.shape == (1, 1, 4, 4)
    np.testing.assert_array_equal(hit[0, 0].numpy(), np.isfinite(depth))
    np.testing.assert_array_equal(read[0, 0, 1:].numpy(), depth[1:])
    assert bool(torch.isfinite(read).all())


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        (np.ones((5, 4)), "expected a depth map"),
        (np.ones((4, 4, 1)), "expected a depth map"),
        (np.full((4, 4), np.nan), "no pixel holds a finite depth"),
        (np.zeros((4, 4)), "positive"),
        (np.array([["a"] * 4] * 4), "cannot be read"),
        (np.array([object()]), "cannot be read"),
        (np.ones((4, 4), complex), "cannot be read"),
    ],
)
def test_bad_depth_maps_are_refused_in_one_line(tmp_path: Path, depth: np.ndarray, message: str) -> None:
    folder = result_folder(tmp_path / "r0", depth)
    with pytest.raises(InputError, match=message) as caught:
        read_depth(folder)
    assert "depth.npy" in one_line(caught)


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x93NUMPY\x01\x00\x10"])
def test_damaged_depth_files_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    folder = result_folder(tmp_path / "r0")
    (folder / "depth.npy").write_bytes(content)
    with pytest.raises(InputError, match="it cannot be read") as caught:
        read_depth(folder)
    one_line(caught)


def test_a_folder_named_like_its_picture_needs_no_number(tmp_path: Path) -> None:
    truth = Truth(torch.ones(3, 1, 4, 4), torch.ones(3, 1, 4, 4), names=("anna", "berta", "face_7"))
    for name in ("berta", "run7"):
        result_folder(tmp_path / name)
    assert {index: folder.name for index, folder in match_results(tmp_path, truth).items()} == {1: "berta", 2: "run7"}
    result_folder(tmp_path / "carla")
    with pytest.raises(InputError, match="expected a picture's name"):
        match_results(tmp_path, truth)


def test_a_number_that_several_pictures_have_is_refused(tmp_path: Path) -> None:
    truth = Truth(torch.ones(2, 1, 4, 4), torch.ones(2, 1, 4, 4), names=("a1", "b1"))
    result_folder(tmp_path / "c1")
    with pytest.raises(InputError, match="picture 1, but the truth has 2 of this number"):
        match_results(tmp_path, truth)


def test_a_result_without_depth_is_refused(tmp_path: Path) -> None:
    result_folder(tmp_path / "r0")
    (tmp_path / "r1").mkdir()
    (tmp_path / "r1" / "config.json").write_text("{}")
    for place in (tmp_path, tmp_path / "r1"):
        with pytest.raises(InputError, match=r"expected a result with depth\.npy; got none") as caught:
            match_results(place, a_truth())
        assert "r1" in one_line(caught)


def test_a_folder_of_a_depth_alone_is_a_prediction_without_a_scene(tmp_path: Path) -> None:
    stored = read_result(result_folder(tmp_path / "r0"))
    assert stored.result is None
    assert stored.prediction.scene is None
    assert stored.prediction.scene_camera == Camera(4)


def test_a_whole_result_folder_is_the_prediction_of_its_scene(tmp_path: Path) -> None:
    result = a_result()
    result.save(tmp_path / "r0")
    view = render(result.scene, result.camera)
    depth = torch.where(view.mask > 0, view.depth, torch.nan)
    np.save(tmp_path / "r0" / "depth.npy", depth[0, 0].numpy())
    stored = read_result(tmp_path / "r0")
    made = Prediction.of_scene(result.scene, result.camera)
    assert stored.result is not None
    assert stored.result.seed == 5
    assert torch.equal(stored.prediction.hit, made.hit)
    inside = made.hit > 0
    torch.testing.assert_close(stored.prediction.depth[inside], made.depth[inside])
    assert torch.equal(made.depth, view.depth)


def test_the_depth_range_is_the_configuration_s(tmp_path: Path) -> None:
    result = a_result({"geometry": {"near": 0.8, "far": 1.3}})
    result.save(tmp_path / "r0")
    np.save(tmp_path / "r0" / "depth.npy", np.ones((SIZE, SIZE), np.float32))
    limits = read_result(tmp_path / "r0").prediction.depth_range
    assert (limits.near, limits.far) == (0.8, 1.3)
    settings = json.loads((tmp_path / "r0" / "config.json").read_text())
    settings["config"]["geometry"]["near"] = 7
    (tmp_path / "r0" / "config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="expected a depth range") as caught:
        read_result(tmp_path / "r0")
    one_line(caught)


def test_a_depth_of_another_size_than_the_scene_is_refused(tmp_path: Path) -> None:
    a_result().save(tmp_path / "r0")
    np.save(tmp_path / "r0" / "depth.npy", np.ones((8, 8), np.float32))
    with pytest.raises(InputError, match="expected 16x16 as the scene; got 8x8"):
        read_result(tmp_path / "r0")


def test_a_damaged_scene_is_refused(tmp_path: Path) -> None:
    a_result().save(tmp_path / "r0")
    np.save(tmp_path / "r0" / "depth.npy", np.ones((SIZE, SIZE), np.float32))
    (tmp_path / "r0" / "scene.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="scene") as caught:
        read_result(tmp_path / "r0")
    one_line(caught)
