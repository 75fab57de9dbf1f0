"""``gan2shape train stylegan2``: a run of two iterations, going on, and mistakes in one line."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan2shape.cli import main
from gan2shape.data.model import write_packed
from gan2shape.generators import load_generator
from gan2shape.io.checkpoints import read_tensors
from tests.data.small import sphere_model

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


def _history(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def test_warm_start_then_adversarial_then_another_training_from_its_weights(pictures: Path, tmp_path: Path) -> None:
    warm, more = tmp_path / "warm", tmp_path / "more"
    flags = ["--data", pictures, "-o", warm, *FEW, "--warm-start", 8, "--reconstruction", 1, "--snapshot-every", 1]
    assert _train(*flags) == 0  # Two iterations as an autoencoder.
    (record,) = [line for line in _history(warm) if "distance" in line]
    assert "divergence" in record
    assert "critic" not in record
    discriminators = [_part(warm, index, "d") for index in (1, 2)]
    assert all(np.array_equal(a, b) for a, b in zip(*discriminators, strict=True))  # It has not begun to learn.
    assert _train(*flags, "--resume", "--steps", 4) == 0
    assert {"critic", "generator", "distance"} <= set(_history(warm)[-1])  # Adversaries, and some reconstruction kept.
    assert not all(np.array_equal(a, b) for a, b in zip(discriminators[1], _part(warm, 4, "d"), strict=True))

    start = warm / "snapshots" / "weights_0000004.safetensors"
    flags = ["--data", pictures, "-o", more, *FEW, "--init", start, "--critic-first", 1, "--snapshot-every", 1]
    assert _train(*flags) == 0
    config = json.loads((more / "config.json").read_text())
    assert config["start"].startswith("weights_0000004.safetensors ")
    kept, taken = _part(warm, 4, "g_ema"), _part(more, 1, "g_ema")
    # The generator begins as the average that was handed over, and its first iteration is the discriminator's alone.
    assert all(np.array_equal(a, b) for a, b in zip(kept, taken, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(taken, _part(more, 2, "g_ema"), strict=True))
    assert {"critic", "generator"} <= set(_history(more)[-1])
    assert _train(*flags, "--resume", "--steps", 3) == 0


def _part(run: Path, index: int, part: str) -> list[np.ndarray]:
    """The weights of one network in a snapshot, in the order of their names."""
    tensors = read_tensors(run / "snapshots" / f"weights_{index:07d}.safetensors")
    return [tensor.numpy() for name, tensor in sorted(tensors.items()) if name.startswith(f"{part}/")]


def test_a_zip_of_jpegs_and_rendered_heads(pictures: Path, tmp_path: Path) -> None:
    archive = tmp_path / "jpegs.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in sorted(pictures.iterdir()):
            Image.open(file).save(tmp_path / "one.jpg")
            packed.write(tmp_path / "one.jpg", f"inside/{file.stem}.JPG")
    model = tmp_path / "model.npz"
    write_packed(model, sphere_model(rows=5, columns=6, shapes=1.0))
    for source, words in ((archive, "6 pictures from jpegs.zip"), (model, "rendered heads of 16 px")):
        run = tmp_path / source.stem
        assert _train("--data", source, "-o", run, *FEW) == 0
        assert words in json.loads((run / "config.json").read_text())["data"]


def test_the_options_reach_the_training(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--noise", "--no-mirror", "--shift", 3, "--path-weight", 2, "--mixing", 0.3, "--average-kimg", 1]
    assert _train("--data", pictures, "-o", run, *FEW, *options) == 0
    config = json.loads((run / "config.json").read_text())
    wanted = {"noise": True, "mirror": False, "shift": 3, "path_weight": 2, "mixing": 0.3, "average_kimg": 1}
    assert {name: config[name] for name in wanted} == wanted
    assert {"r1", "path"} <= set(_history(run)[-1])
    strengths = [value for name, value in read_tensors(_last(run)).items() if name.endswith("noise.weight")]
    assert any(bool(strength.any()) for strength in strengths)  # They have begun to learn from zero.


def _last(run: Path) -> Path:
    return sorted((run / "snapshots").glob("weights_*.safetensors"))[-1]


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
