"""Facts for people, counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gan2shape.errors import CheckpointError
from gan2shape.generators.checkpoint import open_checkpoint
from gan2shape.generators.describe import describe
from gan2shape.generators.load import describe_generator
from tests.generators import test_nvidia, test_nvidia_discriminator, test_stylegan3


def test_a_conditional_residual_stylegan2(tmp_path: Path) -> None:
    state = test_nvidia.generator_tensors("resnet", classes=3, noise=False)
    torch.save({"G_ema": state, "D": test_nvidia_discriminator.discriminator_tensors("skip", 3)}, tmp_path / "a.pt")
    facts = describe_generator(tmp_path / "a.pt")
    expected = {
        "generator": "a.pt",
        "kind": "StyleGAN2",
        "layout": "NVIDIA's names",
        "resolution": 16,
        "channels": test_nvidia.CHANNELS,
        "discriminator_channels": test_nvidia.CHANNELS,
        "z_dim": 7,
        "w_dim": 8,
        "num_ws": 6,
        "mapping_layers": 3,
        "classes": 3,
        "architectures": {"generator": "resnet", "discriminator": "skip"},
        "missing": ["noise maps (seeded ones take their place)"],
    }
    assert {name: facts[name] for name in expected} == expected
    assert len(facts["sha256"]) == 64
    assert describe_generator(tmp_path / "a.pt", latent_dim=8) == facts
    with pytest.raises(CheckpointError, match=r"its latents have 8 numbers; leave out 9 \(--latent-dim\)"):
        describe_generator(tmp_path / "a.pt", latent_dim=9)


def test_what_the_file_holds_is_told_and_not_what_becomes_of_it(tmp_path: Path) -> None:
    """The layers that an "orig" network lacks are zeros once it is read, and a class is folded into its weights."""
    networks = {
        "G_ema": test_nvidia.generator_tensors("orig", classes=3),
        "D": test_nvidia_discriminator.discriminator_tensors("orig", 3),
    }
    torch.save(networks, tmp_path / "a.pt")
    facts = describe_generator(tmp_path / "a.pt")
    assert facts["architectures"] == {"generator": "orig", "discriminator": "orig"}
    trained = ("weight", "bias", "const", "noise_strength")
    assert facts["parameters"] == {
        what: sum(tensor.numel() for name, tensor in networks[which].items() if name.rpartition(".")[2] in trained)
        for what, which in (("generator", "G_ema"), ("discriminator", "D"))
    }


def test_parameters_of_a_stylegan3_are_counted(tmp_path: Path) -> None:
    state = test_stylegan3.random_state()
    torch.save(state, tmp_path / "a.pt")
    checkpoint = open_checkpoint(tmp_path / "a.pt")
    facts = describe(checkpoint, checkpoint.networks())
    weights = [tensor.numel() for name, tensor in state.items() if name.endswith((".weight", ".bias"))]
    assert facts["parameters"] == {"generator": sum(weights), "discriminator": 0}
    assert (facts["kind"], facts["channels"]) == ("StyleGAN3-T", list(test_stylegan3.WIDTHS[:-1]))
    assert facts["missing"] == ["discriminator"]
    assert "classes" not in facts
