"""What was made with a generator is taken with its converted file, and the other way round."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan2shape.cli import main
from gan2shape.cli.reconstruct import Reconstruct, started_from
from gan2shape.errors import UserError
from gan2shape.generators import load_generator
from gan2shape.generators.convert import convert
from gan2shape.io.checkpoints import write_tensors
from gan2shape.networks.latents import LATENT_ENCODER, LatentEncoder
from gan2shape.networks.trained import NetworkSizes, save_networks
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.reconstruct.pretrain import Pretrained, save_pretrained
from gan2shape.reconstruct.reconstructor import Reconstructor
from gan2shape.result import ReconstructionResult
from tests.cli.conftest import FEW_STEPS, LATENT_DIM
from tests.generators import common_layout
from tests.generators.test_convert import conditional

Mistake = Callable[..., str]
VIEW = ["--gan", "--yaw", "10", "--threads", "1"]


@pytest.fixture
def converted(checkpoint: Path, tmp_path: Path) -> Path:
    convert(checkpoint, tmp_path / "converted.safetensors")
    return tmp_path / "converted.safetensors"


@pytest.fixture
def liar(checkpoint: Path, tmp_path: Path) -> Path:
    """Another generator, with longer latents, that claims to be the first."""
    widths = {4: 6, 8: 5, 16: 4}
    state = common_layout.generator_state(widths, z_dim=LATENT_DIM + 3, w_dim=LATENT_DIM + 3, layers=2)
    claim = {"source_sha256": load_generator(checkpoint).sha256}
    tensors = {f"g_ema/{name}": tensor for name, tensor in state.items()}
    tensors |= {f"d/{name}": tensor for name, tensor in common_layout.discriminator_state(widths).items()}
    write_tensors(tmp_path / "liar.safetensors", tensors, {"generator": json.dumps(claim)})
    return tmp_path / "liar.safetensors"


def encoder_file(folder: Path, generator: Path) -> Path:
    sizes = NetworkSizes(16, 4, 4, LATENT_DIM)
    about = {"generator": load_generator(generator).identity}
    save_networks(folder / "encoder.safetensors", LATENT_ENCODER, LatentEncoder(sizes), sizes, about)
    return folder / "encoder.safetensors"


def test_a_result_of_the_source_is_opened_and_goes_on(
    finished: Path, converted: Path, picture: Path, checkpoint: Path, tmp_path: Path
) -> None:
    for name, file in (("new", converted), ("old", checkpoint)):
        assert main(["render", str(finished), "-o", str(tmp_path / name), *VIEW, "--generator", str(file)]) == 0
    new, old = (sorted((tmp_path / name).rglob("*.png")) for name in ("new", "old"))
    assert [file.read_bytes() for file in new] == [file.read_bytes() for file in old]
    assert new
    again = ["reconstruct", str(picture), "-o", str(finished.parent), "--resume", *FEW_STEPS]
    assert main([*again, "--generator", str(converted)]) == 0  # It is finished already, and known to be.


def test_a_result_of_the_converted_file_is_opened_with_the_source(tmp_path: Path, mistake: Mistake) -> None:
    """Of a conditional one: the result knows its class, whichever file is named."""
    source, target = conditional(tmp_path), tmp_path / "one.safetensors"
    convert(source, target, class_index=2)
    assert main(["reconstruct", "--generator", str(target), "--sample", "0", "-o", str(tmp_path), *FEW_STEPS]) == 0
    record = ReconstructionResult.load(tmp_path / "sample_0").generator
    assert (record.name, record.class_index) == ("one.safetensors", 2)
    assert record.source_sha256 == load_generator(source, class_index=0).sha256 != record.sha256
    for file in (source, target):
        command = ["render", str(tmp_path / "sample_0"), "-o", str(tmp_path / file.stem), *VIEW]
        assert main([*command, "--generator", str(file)]) == 0
    convert(source, target, class_index=1)
    said = mistake("render", tmp_path / "sample_0", "-o", tmp_path / "out", *VIEW, "--generator", target)
    assert "holds class 1 alone; leave out the class 2" in said


def test_an_encoder_of_the_source_is_taken(
    checkpoint: Path, converted: Path, liar: Path, picture: Path, tmp_path: Path, mistake: Mistake
) -> None:
    flags = ["--encoder", str(encoder_file(tmp_path, checkpoint)), "-o", str(tmp_path / "out"), "--threads", "1"]
    few = ["--steps", "5", "--samples", "2", "--restarts", "1"]
    assert main(["invert", str(picture), *flags, *few, "--generator", str(converted)]) == 0
    said = mistake("invert", picture, *flags, *few, "--generator", liar)
    assert f"expected an encoder to {LATENT_DIM + 3} numbers, the generator's latent; got {LATENT_DIM}" in said


def test_a_pretraining_of_the_source_is_taken(checkpoint: Path, converted: Path, tmp_path: Path) -> None:
    file, own = tmp_path / "pretrained.safetensors", tmp_path / "own.safetensors"
    config, weights = PRESETS["default"], {"encoder.x": torch.zeros(1)}
    save_pretrained(file, Pretrained(weights, config, load_generator(checkpoint).identity, {}))
    save_pretrained(own, Pretrained(weights, config, load_generator(converted).identity, {}))
    assert started_from(Reconstruct(pretrained=file), load_generator(converted))[1] == weights
    assert started_from(Reconstruct(pretrained=own), load_generator(checkpoint))[1] == weights
    with pytest.raises(UserError, match="got those of another"):
        started_from(Reconstruct(pretrained=file), load_generator())


def test_a_lie_about_the_source_is_at_most_a_mismatch(
    finished: Path, liar: Path, tmp_path: Path, mistake: Mistake
) -> None:
    assert load_generator(liar).identity == ReconstructionResult.load(finished).generator.identity
    said = mistake("render", finished, "-o", tmp_path / "out", *VIEW, "--generator", liar)
    assert f"the latent must be {LATENT_DIM + 3} numbers" in said
    again = tmp_path / "again.safetensors"
    convert(liar, again)
    assert load_generator(again).identity == load_generator(liar).identity
    assert load_generator(again).sha256 != load_generator(liar).sha256  # What was really used is kept too.


def test_a_kept_latent_of_another_size_is_told(
    checkpoint: Path, liar: Path, picture: Path, tmp_path: Path, mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["reconstruct", str(picture), "-o", str(tmp_path / "out"), "--resume", *FEW_STEPS, "--generator"]
    with monkeypatch.context() as patched:
        patched.setattr(Reconstructor, "__call__", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main([*command, str(checkpoint)]) == 130
    assert f"the latent must be {LATENT_DIM + 3} numbers" in mistake(*command, liar)


def test_info_tells_the_source(converted: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(converted), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["converted_from"] == load_generator(checkpoint).sha256
