"""``--generator module:function``: a generator and features of the user's own, in the folder where she works."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan2shape.cli import main
from gan2shape.networks.vgg import VGG16
from gan2shape.result import ReconstructionResult
from tests.cli.conftest import FEW_STEPS, Command

Mistake = Callable[..., str]
OWN = Path(__file__).parents[1] / "generators" / "own_gan.py"
BUILD, BARE = "tests.generators.own_gan:build", "tests.generators.own_gan:bare"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    assert main(["reconstruct", "--generator", BUILD, "--sample", "1", "-o", str(folder), *FEW_STEPS]) == 0
    return folder / "sample_1"


def test_a_result_says_that_there_is_no_hash(own: Path) -> None:
    result = ReconstructionResult.load(own)
    assert (result.generator.name, result.generator.sha256) == (BUILD, "")
    assert "no hash" in json.loads((own / "config.json").read_text())["generator"]["note"]
    assert result.latent is not None
    assert result.latent.shape == (1, 6)


def test_a_result_is_opened_again_by_its_name(own: Path, tmp_path: Path, mistake: Mistake) -> None:
    flags = ["--gan", "--yaw", "10", "--threads", "1"]
    assert main(["render", str(own), "-o", str(tmp_path / "views"), *flags, "--generator", BUILD]) == 0
    assert main(["export", str(own), "-o", str(tmp_path / "own.obj")]) == 0
    said = mistake("render", own, "-o", tmp_path / "out", *flags, "--generator", BARE)
    assert f"made with the generator {BUILD}, this is another one" in said


def test_latents_and_features_are_named_where_the_code_says_nothing(tmp_path: Path, mistake: Mistake) -> None:
    flags = ["--generator", BARE, "--sample", "1", "-o", str(tmp_path), *FEW_STEPS]
    assert "name them with --latent-dim" in mistake("reconstruct", *flags)
    assert "name other features with --features" in mistake("reconstruct", *flags, "--latent-dim", "6")
    assert "--features" in mistake("pretrain", "--generator", BARE, "--latent-dim", "6", "-o", tmp_path / "pretrained")
    features = "tests.generators.own_gan:pyramid"
    assert main(["reconstruct", *flags, "--latent-dim", "6", "--features", features]) == 0
    assert ReconstructionResult.load(tmp_path / "sample_1").generator.features == features


def test_features_of_vgg(tmp_path: Path, mistake: Mistake) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(VGG16().state_dict(), tmp_path / "vgg.pth")
    flags = ["--generator", BUILD, "--sample", "1", "-o", str(tmp_path), *FEW_STEPS]
    assert main(["reconstruct", *flags, "--features", str(tmp_path / "vgg.pth")]) == 0
    assert ReconstructionResult.load(tmp_path / "sample_1").generator.features.startswith("vgg.pth ")
    assert "vgg.pt" in mistake("reconstruct", *flags, "--features", str(tmp_path / "vgg.pt"))


def test_code_in_the_current_folder(tmp_path: Path, command: Command) -> None:
    (tmp_path / "my_gan.py").write_text(OWN.read_text(encoding="utf-8"), encoding="utf-8")
    done = command("sample", "--generator", "my_gan:build", "--count", "2", "-o", "samples")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "samples" / "001.png").exists()


def test_info_of_own_code(capsys: pytest.CaptureFixture[str], mistake: Mistake) -> None:
    assert main(["info", BARE, "--latent-dim", "6", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["resolution"], facts["w_dim"], facts["sha256"]) == ("callable", 16, 6, "")
    assert len(facts["missing"]) == 3
    assert "no module" in mistake("info", "no_such_module_of_ours:f")
    assert "no_such_module_of_ours" not in sys.modules
