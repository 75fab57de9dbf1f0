"""``gan2shape train probe`` and ``gan2shape coverage``, from small rendered balls to the table, and mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan2shape.cli import main
from gan2shape.cli.train_probe import Probe
from gan2shape.data.model import write_packed
from gan2shape.networks.probe import NUMBERS
from tests.data.small import sphere_model

FEW = ["--steps", "3", "--size", "16", "--batch-size", "8", "--width", "0.25", "--threads", "1"]


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen balls with their truth."""
    folder = tmp_path_factory.mktemp("heads")
    write_packed(folder / "model.npz", sphere_model(rows=5, columns=6, shapes=1.0))
    flags = ["--model", str(folder / "model.npz"), "--npz", str(folder / "heads.npz"), "--count", "16", "--size", "16"]
    assert main(["data", "synface", *flags, "--threads", "1"]) == 0
    return folder / "heads.npz"


@pytest.fixture(scope="module")
def probe(heads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe that has seen a few of them."""
    run = tmp_path_factory.mktemp("probe") / "run"
    others = heads.with_name("others.npz")
    others.write_bytes(heads.read_bytes())
    flags = ["--data", str(heads), "-o", str(run), *FEW, "--held-out", str(others)]
    assert main(["train", "probe", *flags]) == 0
    assert main(["train", "probe", *flags, "--resume"]) == 0
    record = json.loads((run / "history.jsonl").read_text().splitlines()[-1])
    assert {f"snapshot/{name}" for name in NUMBERS} <= set(record)
    return run / "snapshots" / "weights.safetensors"


def test_the_whole_way(
    probe: Path, heads: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    named = ["--json", str(tmp_path / "c.json"), "--figure", str(tmp_path / "c.png")]
    flags = ["--probe", str(probe), "--truth", str(heads), "--count", "8", "--threads", "1", "--seed", "3"]
    assert main(["coverage", str(checkpoint), *flags, *named]) == 0
    said = capsys.readouterr().out
    assert "light x" in said
    assert "Fréchet distance in the probe's features" in said
    found = json.loads((tmp_path / "c.json").read_text())
    assert (found["count"], found["seed"], found["truncation"], found["truth"]) == (8, 3, 1.0, "heads.npz")
    assert [row["name"] for row in found["quantities"]] == list(NUMBERS)
    assert found["met"] == all(row["met"] is not False for row in found["quantities"])
    assert found["environment"]["generator"]["name"] == "tiny.safetensors"
    assert ("): met\n" in said) is found["met"]
    assert np.asarray(Image.open(tmp_path / "c.png")).ndim == 3


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--count", "9"], "expected 18 pictures, twice --count; got 16"),
        (["--count", "1"], "--count must be from 2"),
        (["--truncation", "3"], "--truncation must be from 0 to 2"),
        (["--seed", str(2**64)], "--seed must be a whole number"),
        (["--truth", "nowhere.npz"], "nowhere.npz: expected pictures or a head model; got no such file or folder"),
        (["--probe", "nowhere.safetensors"], "nowhere.safetensors"),
    ],
)
def test_mistakes_of_coverage(
    changed: list[str], said: str, probe: Path, heads: Path, checkpoint: Path, mistake: Callable[..., str]
) -> None:
    flags = ["--probe", probe, "--truth", heads, "--count", "4", "--threads", "1"]
    assert said in mistake("coverage", checkpoint, *flags, *changed)


def test_a_generator_of_ones_own_code(
    probe: Path, heads: Path, capsys: pytest.CaptureFixture[str], mistake: Callable[..., str]
) -> None:
    flags = ["--probe", str(probe), "--truth", str(heads), "--count", "4", "--threads", "1"]
    assert "name them with --latent-dim" in mistake("coverage", "tests.generators.own_gan:bare", *flags)
    assert main(["coverage", "tests.generators.own_gan:bare", "--latent-dim", "6", *flags]) == 0
    assert "light x" in capsys.readouterr().out


def test_true_pictures_that_are_all_alike(
    probe: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "alike.npz", image=np.full((16, 16, 16, 3), 90, np.uint8))
    flags = ["--probe", str(probe), "--truth", str(tmp_path / "alike.npz"), "--count", "8", "--threads", "1"]
    named = ["--json", str(tmp_path / "c.json"), "--figure", str(tmp_path / "c.png")]
    assert main(["coverage", str(checkpoint), *flags, *named]) == 0
    yaw = json.loads((tmp_path / "c.json").read_text())["quantities"][NUMBERS.index("yaw")]
    assert (yaw["ratio"], yaw["met"]) == (None, False)
    assert " – " in capsys.readouterr().out
    assert (tmp_path / "c.png").exists()


def test_files_of_another_kind(probe: Path, heads: Path, checkpoint: Path, mistake: Callable[..., str]) -> None:
    assert "expected weights that gan2shape train wrote" in mistake(
        "coverage", checkpoint, "--probe", checkpoint, "--truth", heads
    )
    assert str(probe) in mistake("coverage", probe, "--probe", probe, "--truth", heads, "--count", "4")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--batch-size", "1"], "--batch-size must be 2 or more"),
        (["--width", "0"], "--width must be from"),
        (["--final-rate", "0"], "--final-rate must be from"),
        (["--learning-rate", "2"], "--learning-rate must be from"),
        (["--held-out", "heads.npz"], "expected other pictures than those of --data"),
    ],
)
def test_mistakes_of_training(
    changed: list[str],
    said: str,
    heads: Path,
    tmp_path: Path,
    mistake: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(heads.parent)
    assert said in mistake("train", "probe", "--data", "heads.npz", "-o", tmp_path / "run", *FEW, *changed)


def test_a_head_model_shows_other_heads_to_learn_from_and_to_be_held_out(heads: Path) -> None:
    model = heads.with_name("model.npz")
    verb = Probe(data=model, held_out=model, size=16, seed=7)
    device = torch.device("cpu")
    shown, held_out = (stream(0, 40) for stream in (verb.open(device), verb._held_out(device)))  # type: ignore[misc]
    for key in ("view", "light"):
        assert (shown[key][:, None] - held_out[key]).abs().amax(-1).min() > 0, key


def test_pictures_without_truth(tmp_path: Path, mistake: Callable[..., str]) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "one.png")
    said = mistake("train", "probe", "--data", tmp_path, "-o", tmp_path / "run", *FEW)
    assert "expected pictures with image, view, light" in said
