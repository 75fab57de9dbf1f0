"""``gan2shape train stylegan2``: a run of two iterations, going on, and mistakes in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan2shape.cli import main
from gan2shape.generators import load_generator

FEW = ["--steps", "2", "--size", "16", "--batch", "4", "--width", "0.1", "--threads", "1"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(6):
        Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return folder


def _train(*arguments: object) -> int:
    return main(["train", "stylegan2", *map(str, arguments)])


def test_train_go_on_and_load(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert _train("--data", pictures, "-o", run, *FEW) == 0
    assert "2 of 2 iterations" in capsys.readouterr().out
    assert _train("--data", pictures, "-o", run, *FEW, "--steps", 3, "--resume") == 0
    names = sorted(path.name for path in (run / "snapshots").iterdir())
    assert names == [f"{kind}_000000{n}.{end}" for kind, end in _KINDS for n in (2, 3)]
    weights = run / "snapshots" / "weights_0000003.safetensors"
    assert load_generator(weights).generator.resolution == 16
    again = ["--data", pictures, "-o", tmp_path / "again", *FEW, "--init", weights, "--warm-up", 2]
    assert _train(*again) == 0


_KINDS = (("samples", "png"), ("weights", "safetensors"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch", "6"], "--batch must be a multiple of 4; got 6"),
        (["--r1-gamma", "-1"], "--r1-gamma must be 0 or more; got -1.0"),
        (["--learning-rate", "2"], "--learning-rate must be between 0 and 1; got 2.0"),
        (["--width", "0"], "--width must be more than 0"),
        (["--shift", "16"], "--shift must be from 0 to 15; got 16"),
        (["--size", "24"], "--size must be a power of two"),
        (["--data", "nowhere"], "nowhere"),
        (["--init", "nowhere.pt"], "cannot read the checkpoint nowhere.pt"),
        (["--init", "bundled"], "bundled: expected a generator of --size 16; got 64"),
    ],
)
def test_mistakes(
    arguments: list[str], words: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train("--data", pictures, "-o", tmp_path / "run", *FEW, *arguments) == 2
    text = capsys.readouterr().err
    assert words in text
    assert text.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_another_configuration_is_refused(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert _train("--data", pictures, "-o", run, *FEW) == 0
    capsys.readouterr()
    assert _train("--data", pictures, "-o", run, *FEW) == 2
    assert "--resume" in capsys.readouterr().err
    assert _train("--data", pictures, "-o", run, *FEW, "--resume", "--mixing", "0.5") == 2
    assert "mixing = 0.9; got 0.5" in capsys.readouterr().err
