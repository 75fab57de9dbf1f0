"""``gan2shape train distill``: refining and learning, going on, and mistakes in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan2shape.cli import main
from gan2shape.generators import load_generator
from gan2shape.networks.latents import load_latent_encoder
from gan2shape.networks.one_pass import TurnedStart
from gan2shape.networks.trained import describe
from gan2shape.networks.turned import bundled_turned
from gan2shape.networks.turning import load_turning
from gan2shape.reconstruct import teacher
from gan2shape.reconstruct.pretrain import load_priors
from gan2shape.reconstruct.turned import load_one_pass
from tests.cli.test_train_encoder import encoder, weights
from tests.cli.test_train_turned import _other
from tests.cli.test_train_turned import train as train_turned

__all__ = ["encoder"]
Mistake = Callable[..., str]
FEW = [
    *("--steps", "2", "--batch-size", "4", "--threads", "1"),
    *("--count", "3", "--views", "3", "--refine", "2"),
]


@pytest.fixture(scope="module")
def own(checkpoint: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The flags that name the small random generator, its inverse, and networks that learned from it."""
    flags = ["--generator", str(checkpoint), "--encoder", str(encoder)]
    run = tmp_path_factory.mktemp("start") / "turned"
    assert train_turned(run, *flags, "--steps", "1") == 0
    return [*flags, "--init", str(weights(run))]


def distill(run: Path, *arguments: object) -> int:
    return main(["train", "distill", "-o", str(run), *FEW, *map(str, arguments)])


def test_objects_are_refined_learned_from_and_kept(
    own: list[str], encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert distill(run, *own, "--final-rate", "1") == 0
    assert "2 of 2 iterations" in capsys.readouterr().out
    objects = sorted((run / "objects").iterdir())
    assert [file.name for file in objects] == [f"{number:06d}.safetensors" for number in range(3)]
    made = [file.stat().st_mtime_ns for file in objects]
    header, before = describe(weights(run)), describe(Path(own[-1]))
    assert (header["kind"], header["sizes"]) == ("turned", before["sizes"])
    assert header["about"]["generator"] == before["about"]["generator"]
    assert header["about"]["pictures"] == "3 objects of tiny.safetensors, refined with 3 views, seed 0"
    inverse, _ = load_latent_encoder(encoder)
    turning = load_turning(weights(run), inverse)
    assert turning.pose_units(torch.zeros(2, 3, 16, 16)).shape == (2, 6)
    pose, lighting = load_priors(weights(run), load_generator(Path(own[1])))
    assert min(pose.std[:2]) > 0
    assert lighting.x_min < lighting.x_max
    image = torch.rand(1, 3, 16, 16)
    one_pass = load_one_pass(weights(run))
    assert isinstance(one_pass, TurnedStart), "the encoder went along"
    assert turning.pose_net is not None
    torch.testing.assert_close(one_pass.turning.pose_units(image), turning.pose_net.both_ways(image))
    told = turning.depth(image)
    assert told is not None
    torch.testing.assert_close(one_pass(image).depth, told)
    assert distill(run, *own, "--final-rate", "1", "--steps", "3", "--resume") == 0
    assert describe(weights(run))["about"]["steps"] == 3
    assert [file.stat().st_mtime_ns for file in objects] == made


def test_a_template_of_other_shapes_is_forgotten(own: list[str], tmp_path: Path) -> None:
    assert distill(tmp_path / "first", *own) == 0
    few = ["--steps", "1", "--batch-size", "4", "--threads", "1", "--count", "6"]
    begun = [*own[:-1], str(weights(tmp_path / "first"))]
    assert main(["train", "align", "-o", str(tmp_path / "aligned"), *few, *begun]) == 0
    assert distill(tmp_path / "second", *own[:-1], weights(tmp_path / "aligned"), "--seed", "1") == 0
    found = [load_one_pass(weights(tmp_path / name)) for name in ("aligned", "second")]
    assert [isinstance(one, TurnedStart) and one.lays_upon_template for one in found] == [True, False]


def test_other_objects_are_not_mixed_with_those_that_are_there(
    own: list[str], tmp_path: Path, mistake: Mistake
) -> None:
    assert distill(tmp_path / "run", *own) == 0
    again = ["train", "distill", "-o", tmp_path / "run", *own, *FEW]
    assert "holds a training already" in mistake(*again)
    for changed in (["--views", "4"], ["--refine", "3"], ["--truncation", "0.5"], ["--seed", "1"]):
        assert "expected an object of the same settings, generator, networks and encoder" in mistake(
            *again, "--resume", *changed
        )
    assert "was trained with pictures = " in mistake(*again, "--resume", "--count", "4")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--features", "tests.generators.own_gan:pyramid"], "--features: turned views are compared by their colours"),
        (["--width", "0.5"], "--width: networks have the widths of those they start from; got 0.5"),
        (["--count", "0"], "--count must be from 1 to 1000000; got 0"),
        (["--views", "0"], "--views must be from 1 to 1000; got 0"),
        (["--refine", "0"], "--refine must be from 1 to 100000; got 0"),
        (["--truncation", "0"], "--truncation must be above 0 and at most 1; got 0"),
        (["--truncation", "nan"], "--truncation must be above 0 and at most 1; got nan"),
        (["--steps", "0"], "--steps must be from 1"),
        (["--seed", str(2**64)], "--seed must be a whole number"),
        (["--generator", "nowhere.pt"], "no generator at nowhere.pt"),
        (["--init", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--validate", "nowhere.npz"], "nowhere.npz"),
    ],
)
def test_mistakes(changed: list[str], said: str, own: list[str], tmp_path: Path, mistake: Mistake) -> None:
    assert said in mistake("train", "distill", "-o", tmp_path / "run", *own, *FEW, *changed)
    assert not (tmp_path / "run").exists()


def test_networks_and_encoder_have_to_be_named_and_to_belong(own: list[str], tmp_path: Path, mistake: Mistake) -> None:
    command = ["train", "distill", "-o", tmp_path / "run", *FEW, *own[:2]]
    told = mistake(*command, *own[2:4])
    assert "expected --init FILE, networks for tiny.safetensors; make them with gan2shape train turned" in told
    told = mistake(*command, *own[4:])
    assert "expected --encoder FILE, the inverse of tiny.safetensors; make it with gan2shape train encoder" in told
    other = _other(own[3], tmp_path)
    assert "expected the encoder that it was made with" in mistake(*command, "--encoder", other, *own[4:])
    assert "got those of another GAN" in mistake(*command, *own[2:4], "--init", bundled_turned())
    assert not (tmp_path / "run").exists()


def test_a_folder_with_a_training_is_refused_before_anything_is_refined(
    own: list[str], tmp_path: Path, mistake: Mistake
) -> None:
    assert train_turned(tmp_path / "run", *own[:4], "--steps", "1") == 0
    assert "holds a training already" in mistake("train", "distill", "-o", tmp_path / "run", *FEW, *own)
    assert not (tmp_path / "run" / "objects").exists()


def test_ctrl_c_while_refining_keeps_what_is_done(
    own: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = teacher.refined_object

    def interrupted(loaded: Any, start: Any, number: int, **flags: Any) -> dict[str, torch.Tensor]:
        if number == 2:
            raise KeyboardInterrupt
        return real(loaded, start, number, **flags)

    with monkeypatch.context() as patch:
        patch.setattr(teacher, "refined_object", interrupted)
        assert distill(tmp_path / "run", *own) != 0
    assert "Traceback" not in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "run" / "objects").iterdir() if file.suffix] != []
    assert not (tmp_path / "run" / "state.safetensors").exists()
    assert distill(tmp_path / "run", *own) == 0
