"""Settings out of range, and networks from files or random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from gan2shape.errors import CheckpointError, InputError
from gan2shape.generators.discriminator import DiscriminatorConfig, StyleGAN2Discriminator
from gan2shape.generators.load import save_generator
from gan2shape.generators.loaded import latent_rng
from gan2shape.train.stylegan2_config import Networks, StyleGAN2Settings, new_networks, read_networks


def _networks(seed: int = 0) -> Networks:
    return new_networks(16, width=0.1, seed=seed)


def test_new_networks_follow_their_seed_and_leave_the_global_state_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = _networks(1), _networks(1), _networks(2)
    assert torch.equal(before, torch.get_rng_state())
    weights = [networks.generator.convs[0].conv.weight for networks in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(first.average.convs[0].conv.weight, weights[0])
    assert dict(first.generator.config.channels) == {4: 13, 8: 13, 16: 10}


def test_the_mapping_network_does_not_begin_with_the_latents_of_its_seed() -> None:
    rows = torch.cat([_networks(1).generator.style[layer].weight.detach() for layer in (1, 2)])
    for rng in (torch.Generator().manual_seed(1), latent_rng(1)):
        drawn = torch.randn(2048, 256, generator=rng)
        assert (F.normalize(drawn) @ F.normalize(rows).T).max() < 0.5


@pytest.mark.parametrize(("size", "width", "words"), [(48, 1.0, "size must be"), (16, 0.0, "width must be")])
def test_impossible_networks(size: int, width: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        new_networks(size, width=width)


def test_adversarial_training_begins_after_whole_iterations_of_warm_start() -> None:
    assert [StyleGAN2Settings(batch=8, warm_start=count).first for count in (0, 1, 8, 9)] == [0, 1, 1, 2]


@pytest.mark.parametrize(
    "change", [{"batch": 0}, {"r1_share": 0.0}, {"mixing": 1.5}, {"learning_rate": 0.0}, {"path_weight": -1.0}]
)
def test_impossible_settings(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(change))} must be"):
        StyleGAN2Settings(**change)


def test_weights_of_a_file_are_the_start(tmp_path: Path) -> None:
    networks = _networks(5)
    save_generator(tmp_path / "both.safetensors", networks.generator, networks.discriminator, dtype=torch.float32)
    save_generator(tmp_path / "alone.safetensors", networks.generator, dtype=torch.float32)
    torch.save({"g": networks.generator.state_dict(), "g_ema": _networks(6).generator.state_dict()}, tmp_path / "c.pt")
    both, alone = read_networks(tmp_path / "both.safetensors"), read_networks(tmp_path / "alone.safetensors")
    common = read_networks(tmp_path / "c.pt")
    for found, wanted in (
        (both.generator, networks.generator),
        (both.average, networks.generator),
        (both.discriminator, networks.discriminator),
        (alone.generator, networks.generator),
        (common.generator, networks.generator),
        (common.average, _networks(6).generator),
    ):
        for name, value in wanted.state_dict().items():
            assert torch.equal(found.state_dict()[name], value)
    assert alone.discriminator.config == networks.discriminator.config


def test_a_file_without_a_generator(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(2)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="holds no StyleGAN2 generator"):
        read_networks(tmp_path / "x.pt")


def test_a_discriminator_of_another_size(tmp_path: Path) -> None:
    other = StyleGAN2Discriminator(DiscriminatorConfig(8, {4: 4, 8: 4}))
    save_generator(tmp_path / "x.safetensors", _networks().generator, other)
    with pytest.raises(InputError, match="expected a discriminator for 16 px; got 8 px"):
        read_networks(tmp_path / "x.safetensors")


def test_an_architecture_that_cannot_be_trained(tmp_path: Path) -> None:
    networks = _networks()
    channels = dict(networks.generator.config.channels)
    other = StyleGAN2Discriminator(DiscriminatorConfig(16, channels, sees_every_size=True))
    save_generator(tmp_path / "x.safetensors", networks.generator, other)
    with pytest.raises(InputError, match="no others can be trained"):
        read_networks(tmp_path / "x.safetensors")
