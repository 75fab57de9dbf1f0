"""``gan2shape train turned``: an encoder and a generator that belong together, going on, and mistakes in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from gan2shape.cli import main
from gan2shape.data.model import write_packed
from gan2shape.errors import InputError
from gan2shape.generators import load_generator
from gan2shape.networks.latents import LATENT_ENCODER, load_latent_encoder
from gan2shape.networks.trained import NetworkSizes, describe, save_networks
from gan2shape.networks.turned import load_turned
from gan2shape.networks.turning import load_turning
from gan2shape.train.turned import TurnedTask
from tests.cli.test_train_encoder import BUILD, encoder, of_code, weights
from tests.data.small import sphere_model

__all__ = ["encoder", "of_code"]
Mistake = Callable[..., str]
FEW = [
    *("--steps", "3", "--batch-size", "4", "--width", "0.03125", "--threads", "1"),
    *("--count", "8", "--views", "2", "--mask", "none"),
]


@pytest.fixture(scope="module")
def own(checkpoint: Path, encoder: Path) -> list[str]:
    """The flags that name the small random generator and its inverse."""
    return ["--generator", str(checkpoint), "--encoder", str(encoder)]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures of a sphere with their depths."""
    folder = tmp_path_factory.mktemp("truth")
    write_packed(folder / "model.npz", sphere_model(rows=5, columns=6, shapes=1.0))
    flags = ["--model", str(folder / "model.npz"), "--npz", str(folder / "heads.npz"), "--count", "4", "--size", "16"]
    assert main(["data", "synface", *flags, "--threads", "1"]) == 0
    return folder / "heads.npz"


def train(run: Path, *arguments: object) -> int:
    return main(["train", "turned", "-o", str(run), *FEW, *map(str, arguments)])


def test_train_with_scores_and_go_on(
    own: list[str], encoder: Path, truth: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(run, *own, "--validate", truth, "--final-rate", "1") == 0
    said = capsys.readouterr().out
    assert "making 8 objects" in said
    assert "3 of 3 iterations" in said
    records = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert {"shape", "light", "pose"} <= set(records[0])  # It settles first.
    assert {"snapshot/side", "snapshot/mad"} <= set(records[-1])
    header = describe(weights(run))
    assert header["kind"] == "turned"
    about = header["about"]
    assert about["generator"] == load_generator(checkpoint).identity
    assert about["pictures"].startswith("8 objects of tiny.safetensors with 2 views each, seed 0")
    assert (about["steps"], about["batch_size"], about["weight_decay"], about["seed"]) == (3, 4, 0, 0)
    assert Image.open(run / "snapshots" / "0000003.png").size == (7 * 16 * 2, 6 * 16 * 2)
    with torch.no_grad():
        assert load_turned(weights(run)).depth(torch.zeros(1, 3, 16, 16)).shape == (1, 1, 16, 16)
    inverse, _ = load_latent_encoder(encoder)
    turning = load_turning(weights(run), inverse)
    assert float(turning.direction.norm()) == pytest.approx(1, abs=1e-4)
    assert abs(float(turning.direction @ turning.light)) < 1e-4
    assert train(run, *own, "--final-rate", "1", "--steps", "4", "--resume") == 0
    assert describe(weights(run))["about"]["steps"] == 4


def test_a_training_goes_on_as_if_it_had_not_stopped(own: list[str], tmp_path: Path, mistake: Mistake) -> None:
    flags = [*own, "--final-rate", "1", "--save-every", "2", "--snapshot-every", "99"]
    assert train(tmp_path / "whole", *flags, "--steps", "4") == 0
    assert train(tmp_path / "parts", *flags, "--steps", "2") == 0
    again = ["train", "turned", "-o", tmp_path / "parts", *FEW, *flags, "--steps", "4"]
    assert "holds a training already" in mistake(*again)
    assert "was trained with pictures = " in mistake(*again, "--resume", "--count", "9")
    assert "was trained with pictures = " in mistake(*again, "--resume", "--views", "3")
    assert "was trained with pictures = " in mistake(*again, "--resume", "--truncation", "0.9")
    assert "was trained with masker = 'no_mask'" in mistake(*again, "--resume", "--mask", "auto")
    assert "was trained with encoder = " in mistake(*again, "--resume", "--encoder", _other(own[3], tmp_path))
    assert main([*map(str, again), "--resume"]) == 0
    whole, parts = (load_file(tmp_path / name / "state.safetensors") for name in ("whole", "parts"))
    assert len(whole) == len(parts) > 20
    assert all(torch.equal(parts[name], value) for name, value in whole.items())


def _other(file: str, folder: Path) -> Path:
    """An encoder of the same generator with another mean latent."""
    network, generator = load_latent_encoder(Path(file))
    network.mean.add_(0.5)
    sizes = NetworkSizes(**describe(Path(file))["sizes"])
    save_networks(folder / "other.safetensors", LATENT_ENCODER, network, sizes, {"generator": generator})
    return folder / "other.safetensors"


def test_a_generator_that_is_a_program(of_code: Path, tmp_path: Path) -> None:
    assert train(tmp_path / "run", "--generator", BUILD, "--encoder", of_code, "--steps", "1") == 0
    assert describe(weights(tmp_path / "run"))["about"]["generator"] == BUILD


def test_an_encoder_has_to_be_there_and_to_belong(
    checkpoint: Path, encoder: Path, of_code: Path, tmp_path: Path, mistake: Mistake
) -> None:
    command = ["train", "turned", "-o", tmp_path / "run", *FEW, "--generator", checkpoint]
    told = mistake(*command)  # The bundled encoder is not this one's.
    assert "expected --encoder FILE, the inverse of tiny.safetensors; make it with gan2shape train encoder" in told
    assert "expected an encoder of this generator" in mistake(*command, "--encoder", of_code)
    assert "nowhere.safetensors" in mistake(*command, "--encoder", "nowhere.safetensors")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--features", "tests.generators.own_gan:pyramid"], "--features: turned views are compared by their colours"),
        (["--mask", "rembg"], '--mask must be "auto" or "none" here; got rembg'),
        (["--count", "7"], "--count must be from 8 to 1000000; got 7"),
        (["--count", "1000001"], "--count must be from 8"),
        (["--truncation", "0"], "--truncation must be above 0 and at most 1; got 0"),
        (["--truncation", "1.1"], "--truncation must be above 0 and at most 1; got 1.1"),
        (["--truncation", "nan"], "--truncation must be above 0 and at most 1; got nan"),
        (["--views", "0"], "--views must be from 1 to 100; got 0"),
        (["--views", "101"], "--views must be from 1 to 100; got 101"),
        (["--width", "0"], "--width must be from"),
        (["--batch-size", "0"], "--batch-size must be from 1"),
        (["--steps", "0"], "--steps must be from 1"),
        (["--learning-rate", "nan"], "--learning-rate must be from"),
        (["--seed", str(2**64)], "--seed must be a whole number"),
        (["--generator", "nowhere.pt"], "no generator at nowhere.pt"),
        (["--validate", "nowhere.npz"], "nowhere.npz"),
    ],
)
def test_mistakes(changed: list[str], said: str, own: list[str], tmp_path: Path, mistake: Mistake) -> None:
    assert said in mistake("train", "turned", "-o", tmp_path / "run", *own, *FEW, *changed)
    assert not (tmp_path / "run").exists()


def test_truth_of_another_size(own: list[str], tmp_path: Path, mistake: Mistake) -> None:
    numbers = {"image": np.zeros((2, 8, 8, 3), np.uint8), "depth": np.ones((2, 8, 8)), "mask": np.ones((2, 8, 8), bool)}
    np.savez(tmp_path / "small.npz", **numbers)
    told = mistake("train", "turned", "-o", tmp_path / "run", *own, *FEW, "--validate", tmp_path / "small.npz")
    assert "small.npz: expected pictures of 16 px" in told
    assert "got some of 8 px" in told


def test_pictures_without_an_object(
    own: list[str], tmp_path: Path, mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(image: torch.Tensor) -> torch.Tensor:
        raise InputError("nothing stands out")

    monkeypatch.setattr("gan2shape.priors.masks.auto_mask", nothing)
    told = mistake("train", "turned", "-o", tmp_path / "run", *own, *FEW, "--mask", "auto")
    assert "expected objects in the pictures of tiny.safetensors; the masker found 0 in 8 pictures" in told


def test_advice_after_an_end_that_was_not_planned(
    own: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error, advice in ((MemoryError(), "smaller --batch-size or --width"), (KeyboardInterrupt(), "--resume")):

        def ends(task: TurnedTask, index: int, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(TurnedTask, "step", ends)
        assert train(tmp_path / "run", *own) != 0
        assert advice in capsys.readouterr().err
