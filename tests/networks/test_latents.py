"""The latent encoder as a network and as a file: sizes, units, and whose generator it inverts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gan2shape.errors import CheckpointError
from gan2shape.generators import latent_rng, load_generator
from gan2shape.io.checkpoints import write_tensors
from gan2shape.networks.latents import (
    LATENT_ENCODER,
    LatentEncoder,
    encoder_beside,
    encoder_of,
    encoder_tensors,
    load_latent_encoder,
)
from gan2shape.networks.trained import NetworkSizes, save_networks

SIZES = NetworkSizes(16, 1, 4, 5)


@pytest.fixture
def encoder() -> LatentEncoder:
    torch.manual_seed(0)
    return LatentEncoder(SIZES)


def test_pictures_of_any_size_become_latents_about_the_mean(encoder: LatentEncoder, rng: torch.Generator) -> None:
    large = torch.rand(2, 3, 64, 64, generator=rng) * 2 - 1
    small = large.reshape(2, 3, 16, 4, 16, 4).mean((3, 5))  # Every 4x4 block's mean, by hand.
    torch.testing.assert_close(encoder.shrunk(large), small)
    assert encoder.shrunk(torch.zeros(2, 3, 8, 8)).shape == (2, 3, 16, 16)
    before = encoder(large)
    assert before.shape == (2, 5)
    encoder.mean.fill_(3.0)
    encoder.spread.fill_(0.5)
    torch.testing.assert_close(encoder(large), 3 + before / 2)


def test_a_file_says_whose_it_is(encoder: LatentEncoder, tmp_path: Path, rng: torch.Generator) -> None:
    file = tmp_path / "e.safetensors"
    save_networks(file, LATENT_ENCODER, encoder, SIZES, {"generator": "ab" * 32})
    read, generator = load_latent_encoder(file)
    assert generator == "ab" * 32
    image = torch.rand(1, 3, 16, 16, generator=rng)
    torch.testing.assert_close(read(image), encoder(image), rtol=0, atol=0.01)  # Half precision.
    assert encoder_of("ab" * 32, file) is not None
    with pytest.raises(CheckpointError, match="expected an encoder of this generator"):
        encoder_of("cd" * 32, file)
    width = SIZES.code_size
    assert encoder_of("ab" * 32, file, latent_dim=width) is not None
    with pytest.raises(CheckpointError, match=rf"encoder to {width + 1} numbers, the generator's latent; got {width}"):
        encoder_of("ab" * 32, file, latent_dim=width + 1)
    save_networks(file, LATENT_ENCODER, encoder, SIZES, {"generator": "ab" * 32 + " class 1"})
    assert encoder_of("ab" * 32 + " class 1", file) is not None
    with pytest.raises(CheckpointError, match=r"generator \(my_gan:build\); got one of abababababab class 1"):
        encoder_of("my_gan:build", file)
    with pytest.raises(CheckpointError):
        encoder_of("ab" * 32, tmp_path / "nothing.safetensors")


def test_an_encoder_goes_along_with_other_networks(
    encoder: LatentEncoder, tmp_path: Path, rng: torch.Generator
) -> None:
    file, other = tmp_path / "networks.safetensors", torch.ones(2)
    write_tensors(file, {"other": other}, {})
    assert encoder_beside(file, 16) is None
    write_tensors(file, {"other": other, **encoder_tensors(encoder)}, {})
    read = encoder_beside(file, 16)
    assert read is not None
    assert not any(weights.requires_grad for weights in read.parameters())
    image = torch.rand(1, 3, 16, 16, generator=rng)
    torch.testing.assert_close(read(image), encoder(image), rtol=0, atol=0.01)  # Half precision.
    with pytest.raises(CheckpointError, match=r"expected encoder\."):
        encoder_beside(file, 32)
    with pytest.raises(CheckpointError, match="image_size must be a power of two"):
        encoder_beside(file, 17)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("network.stem.weight", torch.zeros(1 << 20, 1, 1, 1)),  # As wide as that, the networks would need terabytes.
        ("network.stem.weight", torch.zeros(1 << 40, 0)),
        ("network.stem.weight", torch.zeros(())),
        ("mean", torch.zeros(0)),
        ("mean", torch.full((5,), float("nan"))),
        ("network.head.3.weight", None),
    ],
)
def test_an_encoder_that_cannot_be_is_refused(
    name: str, tensor: torch.Tensor | None, encoder: LatentEncoder, tmp_path: Path
) -> None:
    kept = {key: value for key, value in encoder_tensors(encoder).items() if key != f"encoder.{name}"}
    write_tensors(tmp_path / "f.safetensors", kept | ({} if tensor is None else {f"encoder.{name}": tensor}), {})
    with pytest.raises(CheckpointError, match=r"encoder\."):
        encoder_beside(tmp_path / "f.safetensors", 16)


def test_the_bundled_encoder_inverts_the_bundled_generator() -> None:
    loaded = load_generator()
    bundled = encoder_of(loaded.identity)
    assert bundled is not None
    assert encoder_of(loaded.identity, latent_dim=3) is None  # A file that claims to be the bundled one.
    assert encoder_of("00" * 32) is None  # Another generator simply has none.
    # Not of the bare seed 0: the mapping network began with its numbers, and they make no typical latents.
    latents = loaded.sample_latents(256, rng=latent_rng(0))
    with torch.no_grad():
        found = bundled(loaded.generator.synthesize(latents).clamp(-1, 1))
    unexplained = (found - latents).square().mean() / (latents - loaded.w_mean).square().mean()
    assert unexplained.item() < 0.5  # The mean latent has 1.
