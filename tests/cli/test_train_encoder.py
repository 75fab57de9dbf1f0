"""``gan2shape train encoder`` and ``gan2shape invert --encoder``: an encoder belongs to one generator and one class."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from gan2shape.cli import main
from gan2shape.generators import latent_rng, load_generator
from gan2shape.io.images import write_image
from gan2shape.networks.latents import LATENT_ENCODER, load_latent_encoder
from gan2shape.networks.trained import NetworkSizes, save_networks
from gan2shape.train.latents import LatentEncoderTask
from tests.cli.conftest import LATENT_DIM
from tests.cli.test_class import conditional

__all__ = ["conditional"]
Mistake = Callable[..., str]
BUILD, BARE = "tests.generators.own_gan:build", "tests.generators.own_gan:bare"
FEW = ["--steps", "3", "--size", "16", "--batch-size", "4", "--width", "0.125", "--threads", "1"]
SEARCH = ["--threads", "1", "--steps", "1", "--samples", "1", "--restarts", "2"]


def weights(run: Path) -> Path:
    return run / "snapshots" / "weights.safetensors"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """Of the small random generator."""
    run = tmp_path_factory.mktemp("encoder") / "run"
    assert main(["train", "encoder", "--generator", str(checkpoint), "-o", str(run), *FEW]) == 0
    return weights(run)


@pytest.fixture(scope="module")
def of_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a generator that is a program."""
    run = tmp_path_factory.mktemp("of_code") / "run"
    assert main(["train", "encoder", "--generator", BUILD, "-o", str(run), *FEW]) == 0
    return weights(run)


@pytest.fixture(scope="module")
def of_class(tmp_path_factory: pytest.TempPathFactory, conditional: Path) -> Path:
    """Of class 1 of a conditional generator: the run folder."""
    run = tmp_path_factory.mktemp("of_class") / "run"
    assert main(["train", "encoder", "--generator", str(conditional), "--class", "1", "-o", str(run), *FEW]) == 0
    return run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """16 x 16 pixels, grey above and red below."""
    levels = np.full((16, 16, 3), 90, np.uint8)
    levels[8:] = (200, 30, 30)
    Image.fromarray(levels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_the_search_starts_from_its_proposal(encoder: Path, checkpoint: Path, tmp_path: Path) -> None:
    """An encoder that knows the answer finds it in one step, which nothing else does; so it is for the reference."""
    loaded = load_generator(checkpoint)
    network, generator = load_latent_encoder(encoder)
    assert generator == loaded.sha256
    latent = loaded.sample_latents(1, rng=latent_rng(0))
    network.mean.copy_(latent[0] + 1e-3)
    network.spread.zero_()
    knowing = tmp_path / "knowing.safetensors"
    save_networks(knowing, LATENT_ENCODER, network, NetworkSizes(16, 1, 4, LATENT_DIM), {"generator": generator})
    write_image(tmp_path / "own.png", loaded.generator.synthesize(latent).clamp(-1, 1))
    reached = {}
    for name, flags in {"trained": ["--encoder", encoder], "knowing": ["--encoder", knowing], "none": []}.items():
        named = [str(tmp_path / "own.png"), "--generator", str(checkpoint), "-o", str(tmp_path / name)]
        assert main(["invert", *named, *SEARCH, "--reference", "1", *map(str, flags)]) == 0
        folder = tmp_path / name / "own"
        report = json.loads((folder / "report.json").read_text())
        reached[name] = report["fit"]["w"]["psnr_db"]
        assert (report["own_pictures"]["psnr"] > 35) is (name == "knowing")
        assert load_file(folder / "latent.safetensors")["latent"].shape == (1, LATENT_DIM)
    assert reached["knowing"] > 35
    assert reached["none"] < 30


def test_another_generators_encoder_is_one_line(
    encoder: Path, of_code: Path, checkpoint: Path, photo: Path, tmp_path: Path, mistake: Mistake
) -> None:
    flags = ["-o", tmp_path / "out", *SEARCH]
    code = ["--generator", BARE, "--latent-dim", "6"]
    told = mistake("invert", photo, *code, "--encoder", of_code, *flags)
    assert f"expected an encoder of this generator ({BARE}); got one of {BUILD}" in told
    told = mistake("invert", photo, "--generator", BUILD, "--encoder", encoder, *flags)
    assert (
        f"expected an encoder of this generator ({BUILD}); got one of {load_generator(checkpoint).sha256[:12]}" in told
    )
    assert "got one of " + BUILD in mistake("invert", photo, "--encoder", of_code, *flags)
    assert main(["invert", str(photo), "--generator", BUILD, "--encoder", str(of_code), *map(str, flags)]) == 0


def test_an_encoder_is_of_one_class(
    of_class: Path, conditional: Path, photo: Path, tmp_path: Path, mistake: Mistake
) -> None:
    named = ["--generator", str(conditional)]
    search = [*named, "--encoder", str(weights(of_class)), "-o", str(tmp_path / "out"), *SEARCH]
    assert main(["invert", str(photo), *search, "--class", "1"]) == 0
    folder = tmp_path / "out" / "photo"
    with safe_open(str(folder / "latent.safetensors"), framework="pt") as file:
        of_latent = json.loads(file.metadata()["generator"])
    report = json.loads((folder / "report.json").read_text())
    record = load_generator(conditional, class_index=1).record
    assert of_latent == report["generator"] == report["use_with"] == record.to_dict()
    told = mistake("invert", photo, *search, "--class", "2")
    digest = load_generator(conditional, class_index=2).sha256[:12]
    assert f"({digest} class 2); got one of {digest} class 1" in told
    more = ["train", "encoder", *named, "-o", str(of_class), *FEW, "--resume"]
    told = mistake(*more, "--class", "2")
    assert "was trained with generator = " in told
    assert "class 2'" in told
    assert main([*more, "--class", "1"]) == 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--size", "48"], "--size must be a power of two from 16 to 1024; got 48"),
        (["--size", "8"], "--size must be a power of two from 16 to 1024; got 8"),
        (["--width", "0"], "--width must be from"),
        (["--batch-size", "0"], "--batch-size must be from 1"),
        (["--steps", "0"], "--steps must be from 1"),
        (["--seed", str(2**64)], "--seed must be a whole number"),
        (["--generator", BARE], "name them with --latent-dim"),
        (["--features", "tests.generators.own_gan:pyramid"], "--features: an encoder learns from"),
        (["--generator", "nowhere.pt"], "no generator at nowhere.pt"),
    ],
)
def test_mistakes(changed: list[str], said: str, checkpoint: Path, tmp_path: Path, mistake: Mistake) -> None:
    assert said in mistake("train", "encoder", "--generator", checkpoint, "-o", tmp_path / "run", *FEW, *changed)
    assert not (tmp_path / "run").exists()


def test_advice_after_an_end_that_was_not_planned(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ["train", "encoder", "--generator", str(checkpoint), "-o", str(tmp_path), *FEW]
    for error, advice in ((MemoryError(), "smaller --batch-size or --width"), (KeyboardInterrupt(), "--resume")):

        def ends(task: LatentEncoderTask, index: int, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(LatentEncoderTask, "step", ends)
        assert main(named) != 0
        assert advice in capsys.readouterr().err


def test_the_steps_of_a_falling_rate_are_fixed(checkpoint: Path, tmp_path: Path, mistake: Mistake) -> None:
    named = ["train", "encoder", "--generator", str(checkpoint), "-o", str(tmp_path), *FEW]
    assert main([*named, "--steps", "1"]) == 0
    assert "falls over --steps 1; got a rate that falls over --steps 2" in mistake(*named, "--steps", "2", "--resume")


def test_a_training_goes_on_as_if_it_had_not_stopped(checkpoint: Path, tmp_path: Path, mistake: Mistake) -> None:
    few = [*FEW, "--final-rate", "1", "--generator", str(checkpoint), "--save-every", "2", "--snapshot-every", "99"]

    def train(folder: str, steps: int, *more: str) -> list[str]:
        return ["train", "encoder", "-o", str(tmp_path / folder), *few, "--steps", str(steps), *more]

    assert main(train("whole", 4)) == 0
    assert main(train("parts", 2)) == 0
    assert "holds a training already" in mistake(*train("parts", 4))
    assert main(train("parts", 4, "--resume")) == 0
    whole, parts = (load_file(tmp_path / name / "state.safetensors") for name in ("whole", "parts"))
    assert len(whole) == len(parts) > 20
    assert all(torch.equal(parts[name], value) for name, value in whole.items())
