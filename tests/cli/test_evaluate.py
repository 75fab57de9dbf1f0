"""Scores against a truth file, and truth files that do not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gan2shape.cli import main
from gan2shape.reconstruct.reconstructor import reconstructor_for
from tests.cli.conftest import RESOLUTION as SIZE
from tests.cli.conftest import leftovers
from tests.reconstruct.bundled import QUICK, SIDE, bundled, own_target

Mistake = Callable[..., str]


def truth_file(folder: Path, depth: np.ndarray, mask: np.ndarray | None = None) -> Path:
    """A truth file with the keys that the benchmark's has."""
    file = folder / "truth.npz"
    mask = np.ones(depth.shape, np.uint8) if mask is None else mask
    np.savez_compressed(file, image=np.zeros((*depth.shape, 3), np.uint8), depth=depth.astype(np.float32), mask=mask)
    return file


def bowl() -> np.ndarray:
    """A depth map (S, S) that is nearest in its middle."""
    steps = np.linspace(-1, 1, SIZE)
    return 0.95 + 0.05 * (steps[:, None] ** 2 + steps[None] ** 2)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two results: the truth itself times 1.5 (picture 0), and a plane (picture 1)."""
    for name, depth in {"a_000": 1.5 * bowl(), "a_001": np.ones((SIZE, SIZE))}.items():
        (tmp_path / "results" / name).mkdir(parents=True)
        np.save(tmp_path / "results" / name / "depth.npy", depth.astype(np.float32))
    return tmp_path / "results"


def test_scores_on_the_screen_and_in_a_file(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = truth_file(tmp_path, np.stack([bowl(), bowl()]))
    assert main(["evaluate", str(results), "--truth", str(truth), "--json", str(tmp_path / "scores.json")]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    first, second = scores["pictures"]
    assert first["picture"] == 0
    assert first["side"] == pytest.approx(0, abs=1e-3)  # Scale does not count.
    inner = np.log(bowl()[1:-1, 1:-1])  # The mask is eroded by a pixel or so before it is scored.
    assert second["side"] == pytest.approx(100 * inner.std(), rel=0.25)
    assert second["mad"] > 10
    assert scores["measures"]["side"]["mean"] == pytest.approx((first["side"] + second["side"]) / 2)
    assert scores["truth"]["name"] == "truth.npz"
    assert scores["environment"]["torch"]
    table = capsys.readouterr().out
    assert "SIDE x100" in table
    assert f"{second['side']:.3f}" in table
    assert leftovers(tmp_path) == []


def test_one_result_folder(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = truth_file(tmp_path, np.stack([bowl(), bowl()]))
    assert main(["evaluate", str(results / "a_001"), "--truth", str(truth)]) == 0
    assert "mean" in capsys.readouterr().out


def a_whole_truth(folder: Path) -> Path:
    """A truth file of one picture that knows everything."""
    levels, shape = np.full((1, SIZE, SIZE, 3), 128, np.uint8), (1, SIZE, SIZE)
    facing = np.zeros((1, SIZE, SIZE, 3))
    facing[..., 2] = 1
    view = {"view_deg": np.zeros((1, 3)), "ambient": np.full(1, 0.5), "diffuse": np.full(1, 0.5), "light": [[0, 0, 1]]}
    turned = {**view, "view_deg": np.array([[0.0, 20.0, 0.0]]), "image": levels, "mask": np.ones(shape)}
    more = {f"extra_{key}": np.asarray(value)[:, None] for key, value in turned.items()}
    maps = {"image": levels, "albedo": levels, "mask": np.ones(shape), "depth": bowl()[None], "normal": facing}
    np.savez(folder / "whole.npz", **maps, **view, **more)
    return folder / "whole.npz"


def test_everything_about_a_result_of_the_command(
    finished: Path, tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--json", tmp_path / "s.json", "--maps", tmp_path / "maps", "--gan", "--generator", checkpoint]
    arguments = ["evaluate", finished, "--truth", a_whole_truth(tmp_path), *flags, "--threads", "1"]
    assert main([str(argument) for argument in arguments]) == 0
    shown = capsys.readouterr().out
    assert "new view by GAN, PSNR dB" in shown
    assert "left out: pose (the mean offset of one picture is its own)" in shown
    assert shown.count("left out") == 1
    scores = json.loads((tmp_path / "s.json").read_text())
    assert {"light", "albedo", "view_psnr", "gan_relight_ssim", "relight_coverage"} <= set(scores["pictures"][0])
    assert scores["seeds"] == [0]
    assert scores["made_by"][0]["generator"]["name"] == checkpoint.name
    assert [file.name for file in (tmp_path / "maps").iterdir()] == ["000000.png"]
    assert str(tmp_path) not in (tmp_path / "s.json").read_text()


def test_gan_renderings_need_the_generator_of_the_result(finished: Path, tmp_path: Path, mistake: Mistake) -> None:
    said = mistake("evaluate", finished, "--truth", a_whole_truth(tmp_path), "--gan", "--threads", "1")
    assert "made with the generator tiny.safetensors, this is another one" in said


def test_maps_need_a_place(results: Path, tmp_path: Path, mistake: Mistake) -> None:
    (tmp_path / "file").write_text("")
    truth = truth_file(tmp_path, np.stack([bowl()] * 2))
    assert "a file where a folder should be" in mistake(
        "evaluate", results, "--truth", truth, "--maps", tmp_path / "file"
    )


def test_a_result_without_depth(results: Path, tmp_path: Path, mistake: Mistake) -> None:
    (results / "a_001" / "depth.npy").rename(results / "a_001" / "config.json")
    truth = truth_file(tmp_path, np.stack([bowl()] * 2))
    assert "a_001: expected a result with depth.npy; got none" in mistake("evaluate", results, "--truth", truth)


def test_a_result_of_the_command(finished: Path, tmp_path: Path) -> None:
    assert main(["evaluate", str(finished), "--truth", str(truth_file(tmp_path, bowl()[None]))]) == 0


def text(folder: Path) -> Path:
    (folder / "truth.npz").write_text("no archive")
    return folder / "truth.npz"


def missing(folder: Path) -> Path:
    return folder / "missing.npz"


def cut(folder: Path) -> Path:
    file = truth_file(folder, np.stack([bowl(), bowl()]))
    file.write_bytes(file.read_bytes()[:-200])
    return file


def spoiled(folder: Path) -> Path:
    """An archive whose table is whole and whose packed numbers are not."""
    file = truth_file(folder, np.random.default_rng(0).random((2, SIZE, SIZE)) + 0.5)
    data = bytearray(file.read_bytes())
    middle = data.index(b"depth.npy") + 200
    data[middle : middle + 50] = bytes(50)
    file.write_bytes(data)
    return file


def bare_array(folder: Path) -> Path:
    np.save(folder / "truth.npy", bowl()[None])
    return folder / "truth.npy"


def other_keys(folder: Path) -> Path:
    np.savez(folder / "truth.npz", depth=bowl()[None])
    return folder / "truth.npz"


def of_texts(folder: Path) -> Path:
    np.savez(folder / "truth.npz", depth=np.full((2, SIZE, SIZE), "x"), mask=np.ones((2, SIZE, SIZE)))
    return folder / "truth.npz"


def of_objects(folder: Path) -> Path:
    np.savez(folder / "truth.npz", depth=np.full((2, SIZE, SIZE), None), mask=np.ones((2, SIZE, SIZE)))
    return folder / "truth.npz"


def masks(count: int) -> np.ndarray:
    """Two masks of `count` pixels, too few to be scored."""
    values = np.zeros((2, SIZE, SIZE), np.uint8)
    values[:, 5, 5 : 5 + count] = 1
    return values


@pytest.mark.parametrize(
    "make, said",
    [
        (text, "cannot be read"),
        (missing, "got no such file"),
        (cut, "cannot be read"),
        (spoiled, "cannot be read"),
        (bare_array, "truth.npy"),
        (other_keys, "mask is missing"),
        (of_texts, "truth.npz"),
        (of_objects, "cannot be read"),
        (lambda folder: folder, "found no depth"),
        (lambda folder: truth_file(folder, bowl()), "expected depth and mask (N, S, S)"),
        (lambda folder: truth_file(folder, np.stack([bowl()] * 2)[:, :8]), "expected depth and mask (N, S, S)"),
        (lambda folder: truth_file(folder, np.full((2, SIZE, SIZE), np.nan)), "got NaN, infinity or 0"),
        (lambda folder: truth_file(folder, np.zeros((2, SIZE, SIZE))), "got NaN, infinity or 0"),
        (lambda folder: truth_file(folder, np.ones((2, 24, 24))), "expected maps of 24x24 as the truth"),
        (lambda folder: truth_file(folder, np.ones((2, 12, 12))), "or a whole multiple; got 16x16"),
        (lambda folder: truth_file(folder, bowl()[None]), "picture 1, but the truth has 1 (000000 to 000000)"),
        (lambda folder: truth_file(folder, np.stack([bowl()] * 2), masks(0)), "an object in every mask"),
        (lambda folder: truth_file(folder, np.stack([bowl()] * 2), masks(1)), "share no foreground"),
    ],
)
def test_a_truth_that_does_not_fit(
    make: Callable[[Path], Path], said: str, results: Path, tmp_path: Path, mistake: Mistake
) -> None:
    assert said in mistake("evaluate", results, "--truth", make(tmp_path), "--json", tmp_path / "scores.json")
    assert not (tmp_path / "scores.json").exists()


@pytest.mark.parametrize(
    "depth, said",
    [
        (np.full((SIZE, SIZE), np.nan, np.float32), "no pixel holds a finite depth"),
        (np.full((SIZE, SIZE), "x"), "cannot be read"),
        (np.float32(1), "expected a depth map (S, S)"),
        (np.ones((4, 4), np.float32), "expected maps of 16x16 as the truth"),
        (-np.ones((SIZE, SIZE), np.float32), "positive"),
    ],
)
def test_a_depth_that_cannot_be_scored(
    depth: np.ndarray, said: str, results: Path, tmp_path: Path, mistake: Mistake
) -> None:
    np.save(results / "a_001" / "depth.npy", depth)
    assert said in mistake("evaluate", results, "--truth", truth_file(tmp_path, np.stack([bowl()] * 2)))


def test_folders_that_are_no_results(results: Path, tmp_path: Path, mistake: Mistake) -> None:
    truth = truth_file(tmp_path, np.stack([bowl()] * 2))
    (tmp_path / "none").mkdir()
    assert "found none" in mistake("evaluate", tmp_path / "none", "--truth", truth)
    assert "got nothing" in mistake("evaluate", tmp_path / "missing", "--truth", truth)
    assert "got a file" in mistake("evaluate", truth, "--truth", truth)
    shutil.copytree(results / "a_001", results / "b_1")
    assert "are both of picture 000001" in mistake("evaluate", results, "--truth", truth)
    (results / "b_1").rename(results / "unnumbered")
    assert "ends in the picture's number" in mistake("evaluate", results, "--truth", truth)


def test_the_gan_paints_for_a_result_from_turned_views_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no encoder of crude pictures among its weights."""
    result = reconstructor_for(bundled(), QUICK)(own_target())
    result.save(tmp_path / "result_0")
    np.save(tmp_path / "result_0" / "depth.npy", result.scene.depth[0, 0].numpy())
    monkeypatch.setattr(f"{__name__}.SIZE", SIDE)
    arguments = ["evaluate", tmp_path / "result_0", "--truth", a_whole_truth(tmp_path), "--gan", "--threads", "1"]
    assert main([str(argument) for argument in arguments]) == 0
    assert "new view by GAN, PSNR dB" in capsys.readouterr().out
