"""``gan2shape train align``: aligning and learning, going on, and mistakes in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan2shape.cli import main
from gan2shape.networks.one_pass import TurnedStart
from gan2shape.networks.trained import describe
from gan2shape.reconstruct import turned_refinement
from gan2shape.reconstruct.turned import load_one_pass
from gan2shape.train import template
from tests.cli.test_train_distill import distill, own
from tests.cli.test_train_encoder import encoder, weights

__all__ = ["encoder", "own"]
Mistake = Callable[..., str]
FEW = ["--steps", "2", "--batch-size", "4", "--threads", "1", "--count", "6", "--final-rate", "1"]


@pytest.fixture(scope="module")
def distilled(own: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The flags that name the small random generator, its inverse, and networks that tell poses and shapes."""
    run = tmp_path_factory.mktemp("distilled") / "run"
    assert distill(run, *own) == 0
    return [*own[:-1], str(weights(run))]


def align(run: Path, *arguments: object) -> int:
    return main(["train", "align", "-o", str(run), *FEW, *map(str, arguments)])


def test_pictures_are_aligned_learned_from_and_kept(
    distilled: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert align(run, *distilled) == 0
    assert "2 of 2 iterations" in capsys.readouterr().out
    made = (run / "aligned.safetensors").stat().st_mtime_ns
    header, before = describe(weights(run)), describe(Path(distilled[-1]))
    assert (header["kind"], header["sizes"]) == ("turned", before["sizes"])
    assert header["about"]["priors"] == before["about"]["priors"]
    assert header["about"]["pictures"] == "6 pictures of tiny.safetensors, aligned, seed 0"
    image = torch.rand(2, 3, 16, 16)
    start, other = load_one_pass(Path(distilled[-1])), load_one_pass(weights(run))
    assert isinstance(start, TurnedStart)
    assert isinstance(other, TurnedStart), "the encoder went along"
    assert other.turning.template is not None
    torch.testing.assert_close(other(image).depth, start(image).depth, msg="shapes stay as they are")
    assert not torch.equal(other.turning.pose_units(image), start.turning.pose_units(image))
    assert align(run, *distilled, "--steps", "3", "--resume") == 0
    assert describe(weights(run))["about"]["steps"] == 3
    assert (run / "aligned.safetensors").stat().st_mtime_ns == made


def test_other_pictures_are_not_mixed_with_those_that_are_there(
    distilled: list[str], tmp_path: Path, mistake: Mistake
) -> None:
    assert align(tmp_path / "run", *distilled) == 0
    again = ["train", "align", "-o", tmp_path / "run", *distilled, *FEW]
    assert "holds a training already" in mistake(*again)
    for changed in (["--count", "7"], ["--truncation", "0.5"], ["--seed", "1"]):
        assert "expected pictures of the same flags and networks; got others" in mistake(*again, "--resume", *changed)


def test_ctrl_c_while_aligning_leaves_nothing_half_done(
    distilled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object, **flags: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(template, "aligned_units", interrupted)
        assert align(tmp_path / "run", *distilled) != 0
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "run" / "aligned.safetensors").exists()
    assert align(tmp_path / "run", *distilled) == 0


def test_pictures_without_a_common_place_are_refused(
    distilled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: Mistake
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(turned_refinement, "object_in", lambda front: torch.zeros_like(front[:, :1]))
        told = mistake("train", "align", "-o", tmp_path / "run", *distilled, *FEW)
    assert "expected pictures of tiny.safetensors that share a place of their object; got none" in told


def test_networks_have_to_tell_shapes(own: list[str], tmp_path: Path, mistake: Mistake) -> None:
    told = mistake("train", "align", "-o", tmp_path / "run", *own, *FEW)
    assert "expected networks of gan2shape train distill; these tell no shapes or no poses" in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--features", "tests.generators.own_gan:pyramid"], "--features: pictures are compared by their colours"),
        (["--width", "0.5"], "--width: networks have the widths of those they start from; got 0.5"),
        (["--count", "1"], "--count must be from 2 to 10000; got 1"),
        (["--truncation", "0"], "--truncation must be above 0 and at most 1; got 0"),
        (["--steps", "0"], "--steps must be from 1"),
        (["--init", "nowhere.safetensors"], "nowhere.safetensors"),
    ],
)
def test_mistakes(changed: list[str], said: str, distilled: list[str], tmp_path: Path, mistake: Mistake) -> None:
    assert said in mistake("train", "align", "-o", tmp_path / "run", *distilled, *FEW, *changed)
    assert not (tmp_path / "run").exists()
