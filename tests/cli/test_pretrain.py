"""``gan2shape pretrain`` with a generator of random weights, and reconstructions that start from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan2shape.cli import main
from gan2shape.cli.pretrain import PROGRESS_FILE
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.reconstruct.pretrain import load_pretrained
from gan2shape.result import ReconstructionResult
from tests.cli.conftest import leftovers

Mistake = Callable[..., str]
FEW = [
    *("--config.images", "3"),
    *("--config.optimizer.together", "2"),
    *("--config.optimizer.batch-size", "4"),
    *("--config.stages.1.project", "2"),
    *("--config.stages.1.refine", "2"),
    *("--config.stages.1.batches", "2"),
]


@pytest.fixture(scope="module")
def flags(tiny: list[str]) -> list[str]:
    """The flags of a pre-training that takes a moment."""
    without = {"--config.inversion.samples", "--config.optimizer.batch-size"}
    pairs = [pair for pair in zip(tiny[::2], tiny[1::2], strict=True) if pair[0] not in without]
    return [word for pair in pairs for word in pair] + FEW


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, flags: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    assert main(["pretrain", "-o", str(folder), *flags]) == 0
    return folder


def test_the_folder_holds_weights_priors_and_a_sheet(trained: Path) -> None:
    pretrained = load_pretrained(trained / "pretrained.safetensors")
    assert {name.split(".")[0] for name in pretrained.weights} == {"factors", "encoder"}
    assert pretrained.config.pose.covariance is not None
    assert json.loads((trained / "config.json").read_text())["images"] == 3
    assert (trained / "sheet.png").stat().st_size > 1000
    assert not leftovers(trained)


def test_the_same_seed_gives_the_same_weights(trained: Path, flags: list[str], tmp_path: Path) -> None:
    assert main(["pretrain", "-o", str(tmp_path), *flags]) == 0
    first, second = (load_pretrained(folder / "pretrained.safetensors") for folder in (trained, tmp_path))
    assert first.config == second.config
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)


def test_a_reconstruction_starts_from_it(trained: Path, tiny: list[str], picture: Path, tmp_path: Path) -> None:
    file = trained / "pretrained.safetensors"
    assert main(["reconstruct", str(picture), "-o", str(tmp_path), *tiny, "--pretrained", str(file)]) == 0
    result = ReconstructionResult.load(tmp_path / picture.stem)
    assert {record["step"] for record in result.history}.isdisjoint({"shape prior"})
    assert result.config["pose"]["covariance"] is not None
    weights, start = result.networks, load_pretrained(file).weights
    assert weights.keys() == start.keys()


def test_mistakes_are_one_line(
    trained: Path, tiny: list[str], picture: Path, tmp_path: Path, mistake: Mistake, flags: list[str]
) -> None:
    file = trained / "pretrained.safetensors"
    said = mistake("reconstruct", picture, "-o", tmp_path, "--mask", "none", "--pretrained", file)
    assert "expected networks that were pre-trained with the generator bundled; got those of another" in said
    said = mistake("reconstruct", picture, "-o", tmp_path, *tiny, "--pretrained", picture)
    assert str(picture) in said
    assert "--mask must be" in mistake("pretrain", *flags, "--mask", "some.png", "-o", tmp_path)
    assert "--truncation must be above 0" in mistake("pretrain", *flags, "--truncation", "0", "-o", tmp_path)
    assert "no such preset" in mistake("pretrain", "--preset", "nothing")


def test_another_run_s_progress_is_not_mixed_in(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: Mistake
) -> None:
    """Ctrl-C in the second stage; then the same command goes on, and one with another seed does not."""
    from gan2shape.reconstruct import reconstructor

    real, calls = reconstructor.refine, list[int]()

    def interrupted(*arguments: object, **settings: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(reconstructor, "refine", interrupted)
    assert main(["pretrain", "-o", str(tmp_path), *flags]) == 130
    assert (tmp_path / PROGRESS_FILE).exists()
    assert "another seed" in mistake("pretrain", "-o", tmp_path, *flags, "--resume", "--seed", "7")
    assert main(["pretrain", "-o", str(tmp_path), *flags, "--resume"]) == 0
    assert not (tmp_path / PROGRESS_FILE).exists()
    assert len(calls) == 3
    assert main(["pretrain", "-o", str(tmp_path), *flags, "--resume"]) == 0  # Nothing is left to do.
    assert len(calls) == 3
    said = mistake("pretrain", "-o", tmp_path, *flags, "--resume", "--seed", "7")
    assert "finished weights of other settings" in said


def test_what_one_pass_tells_is_learned_and_starts_the_steps(
    tmp_path: Path, mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the bundled generator and its networks, for a moment."""
    from gan2shape.reconstruct import reconstructor

    monkeypatch.setattr(reconstructor, "ONE_PASS_PICTURES", 8)
    small = ["--config.networks.width-multiplier", "0.125", "--config.networks.vector-base-width", "4"]
    small += ["--config.networks.offset-base-width", "4", "--config.optimizer.batch-size", "4"]
    flags = ["--preset", "pretrain-one-pass", "--config.images", "3", "--config.prior-steps", "2", *small]
    flags += ["--config.stages.0.albedo", "2", "--config.stages.0.project", "2", "-o", str(tmp_path / "out")]
    assert main(["pretrain", *flags]) == 0
    pretrained = load_pretrained(tmp_path / "out" / "pretrained.safetensors")
    assert pretrained.config.geometry.border_columns == 0
    assert pretrained.config.pose.covariance is not None
    assert pretrained.config.lighting == PRESETS["pretrain-one-pass"].lighting
    assert main(["pretrain", *flags, "--resume"]) == 0  # Nothing is left to do.
    said = mistake("pretrain", "--init", tmp_path / "out" / "pretrained.safetensors", "-o", tmp_path / "other")
    assert "--init: the start ellipsoid has no use for it; take --preset pretrain-one-pass" in said
    said = mistake(
        "pretrain", "--preset", "pretrain-one-pass", "--init", "nothing.safetensors", "-o", tmp_path / "other"
    )
    assert "nothing.safetensors" in said
    assert not (tmp_path / "other").exists()


def test_the_bundled_networks_start_the_published_schedule(tmp_path: Path) -> None:
    flags = ["--config.stages.0.albedo", "2", "--config.stages.0.project", "2", "--config.stages.0.refine", "2"]
    flags += ["--config.stages.0.batches", "2", "--config.optimizer.batch-size", "2"]
    command = ["reconstruct", "--sample", "3", "--preset", "paper-synface", "--pretrained", "bundled", *flags]
    assert main([*command, "-o", str(tmp_path)]) == 0
    result = ReconstructionResult.load(tmp_path / "sample_3")
    assert {record["step"] for record in result.history}.isdisjoint({"shape prior"})
    assert result.config["name"] == "paper-synface"
    assert result.config["geometry"]["border_columns"] == 0


def test_a_preset_without_steps_cannot_be_pre_trained(tmp_path: Path, mistake: Mistake) -> None:
    said = mistake("pretrain", "--preset", "default", "-o", tmp_path / "out")
    assert "--preset default: nothing in it can be pre-trained; take --preset pretrain" in said
    assert not (tmp_path / "out").exists()
