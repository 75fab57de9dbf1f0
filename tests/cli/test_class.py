"""One class of a conditional generator: through every verb, and known again from what was made with it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from gan2shape.cli import main
from gan2shape.cli.runtime import Runtime, load_again
from gan2shape.generators import latent_rng, load_generator
from gan2shape.reconstruct.pretrain import load_pretrained
from gan2shape.result import GeneratorRecord, ReconstructionResult
from tests.cli.conftest import FEW_STEPS
from tests.generators.test_nvidia import generator_tensors, record
from tests.generators.test_nvidia_discriminator import discriminator_tensors
from tests.generators.test_nvidia_load import stored

Mistake = Callable[..., str]


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NVIDIA's pickle of a generator of 16 px that knows three classes."""
    tree = {"G_ema": record(generator_tensors(classes=3)), "D": record(discriminator_tensors(classes=3))}
    return stored(tmp_path_factory.mktemp("conditional"), tree)


@pytest.fixture(scope="module")
def of_class(tmp_path_factory: pytest.TempPathFactory, conditional: Path) -> Path:
    """A reconstruction of a picture of class 1."""
    folder = tmp_path_factory.mktemp("of_class")
    flags = ["--generator", str(conditional), "--class", "1", "--sample", "0"]
    assert main(["reconstruct", *flags, "-o", str(folder), *FEW_STEPS]) == 0
    return folder / "sample_0"


def test_samples_are_of_the_class_and_say_so(conditional: Path, tmp_path: Path) -> None:
    flags = ["--generator", str(conditional), "--count", "2", "--truncation", "1", "--threads", "1"]
    for index in (0, 2):
        assert main(["sample", "-o", str(tmp_path / str(index)), *flags, "--class", str(index)]) == 0
    latents = [load_file(tmp_path / str(index) / "001.safetensors")["latent"] for index in (0, 2)]
    assert (latents[0] - latents[1]).abs().max() > 0.1
    own = load_generator(conditional, class_index=2)
    expected = own.sample_latents(2, rng=latent_rng(0))[1]
    torch.testing.assert_close(latents[1][0], expected)
    with safe_open(str(tmp_path / "2" / "001.safetensors"), framework="pt") as file:
        assert json.loads(file.metadata()["generator"]) == GeneratorRecord(own.name, own.sha256, 2).to_dict()


def test_a_result_knows_its_class_and_the_gan_paints_it_again(
    conditional: Path, of_class: Path, tmp_path: Path, mistake: Mistake
) -> None:
    result = ReconstructionResult.load(of_class)
    assert result.generator.class_index == 1
    assert json.loads((of_class / "environment.json").read_text())["generator"]["class_index"] == 1
    assert (
        load_again(str(conditional), result, device=torch.device("cpu"), offset_layers=2).identity
        == f"{result.generator.sha256} class 1"
    )
    flags = ["--gan", "--generator", str(conditional), "--yaw", "10", "--threads", "1"]
    assert main(["render", str(of_class), "-o", str(tmp_path / "views"), *flags]) == 0
    record = dataclasses.replace(result.generator, class_index=None)
    dataclasses.replace(result, generator=record).save(tmp_path / "unknown")
    assert "choose a class from 0 to 2" in mistake("render", tmp_path / "unknown", "-o", tmp_path / "out", *flags)


def test_resuming_with_another_class_is_refused(conditional: Path, of_class: Path, mistake: Mistake) -> None:
    flags = ["--generator", str(conditional), "--sample", "0", "--resume", "-o", str(of_class.parent), *FEW_STEPS]
    assert main(["reconstruct", *flags, "--class", "1"]) == 0
    assert "finished result with another generator" in mistake("reconstruct", *flags, "--class", "2")


def test_pretraining_is_for_one_class(conditional: Path, tmp_path: Path, mistake: Mistake) -> None:
    from tests.cli.test_pretrain import FEW

    without = {"--config.inversion.samples", "--config.optimizer.batch-size"}
    pairs = [pair for pair in zip(FEW_STEPS[::2], FEW_STEPS[1::2], strict=True) if pair[0] not in without]
    few = [word for pair in pairs for word in pair] + FEW
    flags = ["--generator", str(conditional), "-o", str(tmp_path / "pretrained")]
    assert main(["pretrain", *flags, "--class", "2", *few]) == 0
    file = tmp_path / "pretrained" / "pretrained.safetensors"
    assert load_pretrained(file).generator.endswith(" class 2")
    flags = ["--generator", conditional, "--pretrained", file, "--sample", "0", "-o", tmp_path / "out", *FEW_STEPS]
    assert "got those of another" in mistake("reconstruct", *flags, "--class", "0")


def test_info_of_a_conditional_file(conditional: Path, capsys: pytest.CaptureFixture[str], mistake: Mistake) -> None:
    for chosen in ([], ["--class", "2"]):
        assert main(["info", str(conditional), "--json", *chosen]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert (facts["classes"], facts["layout"], facts["kind"]) == (3, "NVIDIA pickle", "StyleGAN2")
        assert (facts["z_dim"], facts["w_dim"], facts["mapping_layers"]) == (7, 8, 3)
    assert "choose a class from 0 to 2 (--class); got 3" in mistake("info", conditional, "--class", "3")


@pytest.mark.parametrize("verb", ["sample", "reconstruct", "pretrain", "convert"])
def test_a_class_that_does_not_suit_is_one_line(
    verb: str, conditional: Path, checkpoint: Path, tmp_path: Path, mistake: Mistake
) -> None:
    own = {"sample": [], "reconstruct": ["--sample", "0"], "pretrain": [], "convert": []}[verb]

    def said(file: Path, *chosen: str) -> str:
        named = [file] if verb == "convert" else ["--generator", file]
        return mistake(verb, *named, *own, "-o", tmp_path / "out.safetensors", *chosen)

    assert "is conditional: choose a class from 0 to 2 (--class); none was chosen" in said(conditional)
    assert "(--class); got -1" in said(conditional, "--class", "-1")
    assert "knows no classes; leave out the class 1 (--class)" in said(checkpoint, "--class", "1")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("verb", ["demo", "reconstruct", "pretrain"])
@pytest.mark.parametrize(
    "flag, value, says",
    [
        ("--class", "1", "knows no classes; leave out the class 1 (--class)"),
        ("--latent-dim", "7", "its latents have 256 numbers; leave out 7 (--latent-dim)"),
        ("--seed", str(2**70), "--seed must be a whole number of at most 64 bits"),
        ("--threads", "-1", "--threads must be from 0 to 1024; got -1"),
    ],
)
def test_a_dry_run_refuses_what_the_run_refuses(
    verb: str, flag: str, value: str, says: str, tmp_path: Path, mistake: Mistake
) -> None:
    own = ["--sample", "0"] if verb == "reconstruct" else []
    arguments = [verb, *own, "-o", tmp_path / "out", flag, value]
    said = mistake(*arguments, "--dry-run")
    assert says in said
    assert mistake(*arguments) == said
    assert not (tmp_path / "out").exists()


def test_the_flags_reach_the_loader(conditional: Path) -> None:
    assert Runtime(generator=str(conditional), class_index=1).load().class_index == 1
