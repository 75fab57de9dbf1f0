"""Training of the baselines and reconstruction with what they made, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan2shape import networks
from gan2shape.cli import main
from gan2shape.cli.methods import TURNED
from gan2shape.cli.validation import read_validation
from gan2shape.errors import InputError
from gan2shape.networks.latents import encoder_of
from gan2shape.networks.one_pass import TurnedStart
from gan2shape.networks.trained import read_about
from gan2shape.networks.turned import bundled_turned, load_turned
from gan2shape.networks.turning import load_turning
from gan2shape.render.units import PoseRange, pose_from_units
from gan2shape.result import ReconstructionResult
from tests.train.faces import Spheres

Mistake = Callable[..., str]
SIDE = 16
QUICK = ["--size", "16", "--width", "0.02", "--batch-size", "2", "--threads", "1", "--save-every", "1"]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed pictures of spheres with their truth."""
    batch = Spheres(SIDE)(0, 6)
    file = tmp_path_factory.mktemp("truth") / "spheres.npz"
    np.savez(
        file,
        image=((batch["image"] + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy(),
        depth=batch["depth"][:, 0].numpy(),
        mask=batch["mask"][:, 0].numpy() > 0,
    )
    return file


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, truth: Path) -> dict[str, Path]:
    """Run folders of both baselines after three iterations."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("unsup3d", "supervised")}
    for name, folder in folders.items():
        flags = ["--data", str(truth), "--validate", str(truth), "-o", str(folder), "--steps", "3", *QUICK]
        assert main(["train", name, *flags]) == 0
    return folders


def weights(run: Path) -> str:
    return str(run / "snapshots" / "weights.safetensors")


@pytest.fixture
def picture(tmp_path: Path, truth: Path) -> Path:
    with np.load(truth) as arrays:
        Image.fromarray(arrays["image"][2]).save(tmp_path / "000002.png")
    return tmp_path / "000002.png"


@pytest.mark.parametrize("name", ["unsup3d", "supervised"])
def test_a_training_leaves_settings_history_and_weights(name: str, runs: dict[str, Path]) -> None:
    settings = json.loads((runs[name] / "config.json").read_text())
    assert (settings["kind"], settings["batch_size"], settings["sizes"]["map_width"]) == (name, 2, 5)
    rows = [json.loads(line) for line in (runs[name] / "history.jsonl").read_text().splitlines()]
    assert "total" in rows[0]
    about = read_about(Path(weights(runs[name])))
    assert about["steps"] == 3
    assert about["validation"]["side"] == pytest.approx(rows[-1]["snapshot/side"])


@pytest.mark.parametrize("name", ["unsup3d", "supervised"])
def test_what_was_trained_reconstructs(
    name: str, runs: dict[str, Path], picture: Path, tmp_path: Path, truth: Path
) -> None:
    out = tmp_path / "out"
    flags = ["--method", name, "--weights", weights(runs[name]), "--mask", "none", "--threads", "1"]
    assert main(["reconstruct", str(picture), "-o", str(out), *flags]) == 0
    result = out / picture.stem
    assert np.load(result / "depth.npy").shape == (SIDE, SIDE)
    assert json.loads((result / "config.json").read_text())["method"] == name
    assert main(["reconstruct", str(picture), "-o", str(out), *flags, "--resume"]) == 0
    assert main(["render", str(result), "--size", "16", "-o", str(tmp_path / "views")]) == 0
    assert main(["export", str(result), "-o", str(tmp_path / "points.ply")]) == 0


def test_there_is_no_gan_to_render_with(
    runs: dict[str, Path], picture: Path, tmp_path: Path, mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan2shape.reconstruct.feedforward.export_result", lambda result, folder: result.save(folder))
    flags = ["--method", "unsup3d", "--weights", weights(runs["unsup3d"]), "--mask", "none"]
    assert main(["reconstruct", str(picture), "-o", str(tmp_path), *flags]) == 0
    assert "made by unsup3d, which has no GAN" in mistake("render", tmp_path / picture.stem, "--gan")


def test_a_plan_names_method_and_weights(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconstruct", str(picture), "--method", "unsup3d", "--weights", "w.safetensors", "--dry-run"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["method"], plan["weights"], plan["inputs"]) == (
        "unsup3d",
        "w.safetensors",
        {str(picture): "results/000002"},
    )


def test_fast_is_a_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = str(bundled_turned().parent / "sample_head.png")
    assert main(["reconstruct", head, "--fast", "--dry-run"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["method"], plan["weights"]) == (TURNED, "bundled") == (networks.turned.TURNED, "bundled")
    assert main(["reconstruct", head, "--fast", "--threads", "1", "-o", str(tmp_path)]) == 0
    assert "warning: one pass takes every picture" in capsys.readouterr().out
    result = ReconstructionResult.load(tmp_path / "sample_head")
    assert (result.method, result.generator.name) == (TURNED, bundled_turned().name)
    encoder = encoder_of(read_about(bundled_turned())["generator"])
    assert encoder is not None
    with torch.no_grad():
        turning = load_turning(bundled_turned(), encoder)
        depth, read = turning.depth(result.image), turning.pose_units(result.image)
        assert not torch.allclose(depth, load_turned(bundled_turned()).depth(result.image), atol=1e-3)
        laid = TurnedStart(load_turned(bundled_turned()), turning)(result.image).pose
    torch.testing.assert_close(result.scene.depth, depth)
    torch.testing.assert_close(result.scene.pose.rotation, laid.rotation)
    network = pose_from_units(read, PoseRange()).rotation
    assert 0.001 < (laid.rotation - network).abs().max() < 0.1, "the template moves what the network tells a little"
    assert (tmp_path / "sample_head" / "mesh.glb").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--method", "unsup3d"], "needs --weights"),
        (["--weights", "w.safetensors"], "--weights goes with --method"),
        (["--method", "unsup3d", "--weights", "w", "--sample", "3"], "--sample: of the method gan2shape"),
        (["--method", "unsup3d", "--weights", "w", "--pretrained", "p"], "--pretrained: of the method gan2shape"),
        (["--method", "unsup3d", "--weights", "w", "--generator", "g.pt"], "--generator: of the method gan2shape"),
        (["--method", "unsup3d", "--weights", "w", "--config.prior-steps", "3"], "--preset and --config"),
        (["--method", "magic"], "magic"),
        (["--fast", "--method", "unsup3d", "--weights", "w"], "--fast is --method turned"),
        (["--fast", "--sample", "3"], "--sample: of the method gan2shape"),
        (["--fast", "--features", "vgg16.pth"], "--features: of the method gan2shape"),
        (["--fast", "--compat"], "--compat: of the method gan2shape"),
        (["--method", "unsup3d", "--weights", "w"], "cannot read the checkpoint w"),
    ],
)
def test_mistakes_of_a_reconstruction(flags: list[str], said: str, picture: Path, mistake: Mistake) -> None:
    assert said in mistake("reconstruct", picture, *flags)


def test_weights_of_another_method(runs: dict[str, Path], picture: Path, mistake: Mistake) -> None:
    flags = ["--method", "unsup3d", "--weights", weights(runs["supervised"])]
    assert "expected the weights of unsup3d; got those of supervised" in mistake("reconstruct", picture, *flags)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--width", "0"], "--width must be"),
        (["--learning-rate", "7"], "--learning-rate must be"),
        (["--final-rate", "0"], "--final-rate must be"),
        (["--batch-size", "0"], "--batch-size must be"),
        (["--validate", "missing.npz"], "missing.npz"),
    ],
)
def test_mistakes_of_a_training(flags: list[str], said: str, truth: Path, tmp_path: Path, mistake: Mistake) -> None:
    common = ["--data", truth, "-o", tmp_path / "run", "--steps", "1", *QUICK]
    for verb in ("unsup3d", "supervised"):
        assert said in mistake("train", verb, *common, *flags)


def test_numbers_of_one_training_alone(truth: Path, tmp_path: Path, mistake: Mistake) -> None:
    common = ["--data", truth, "-o", tmp_path / "run", "--steps", "1", *QUICK]
    assert "--normal-weight" in mistake("train", "supervised", *common, "--normal-weight", "-1")
    assert "--depth-smoothness" in mistake("train", "unsup3d", *common, "--depth-smoothness", "-1")
    assert "cannot read the checkpoint v.pth" in mistake("train", "unsup3d", *common, "--vgg", "v.pth")


def test_supervision_needs_truth(picture: Path, tmp_path: Path, mistake: Mistake) -> None:
    flags = ["--data", picture.parent, "-o", tmp_path / "run", "--steps", "1", *QUICK]
    assert "expected pictures with true depth and mask" in mistake("train", "supervised", *flags)


def test_validation_scores_are_those_of_a_perfect_and_of_a_constant_prediction(truth: Path) -> None:
    score = read_validation(truth, SIDE)
    true = Spheres(SIDE)(0, 6)["depth"]

    def perfect(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.where(true > 0, true, 1.0), torch.ones_like(true)

    assert score(perfect) == pytest.approx({"side": 0, "mad": 0, "unscored": 0}, abs=1e-3)
    constant = score(lambda image: (torch.ones(len(image), 1, SIDE, SIDE), torch.ones(len(image), 1, SIDE, SIDE)))
    assert constant["side"] > 1
    assert constant["mad"] > 10
    nothing = score(lambda image: (torch.ones(len(image), 1, SIDE, SIDE), torch.zeros(len(image), 1, SIDE, SIDE)))
    assert nothing == {"unscored": 6}
    with pytest.raises(InputError, match="pictures of 32 px"):
        read_validation(truth, 32)
