"""Score and block features against the slow float64 network."""

from __future__ import annotations

import pytest
import torch

from gan2shape.generators.discriminator import DiscriminatorConfig, StyleGAN2Discriminator
from gan2shape.generators.rosinality import read_discriminator
from tests.generators import common_layout as slow

SIZES = [{4: 5, 8: 3}, {4: 6, 8: 5, 16: 4, 32: 2}, {4: 3, 8: 3, 16: 4, 32: 2, 64: 2, 128: 2}]


def _images(count: int, height: int, width: int, rng: torch.Generator) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=rng, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_score_equals_the_slow_one(count: int, rng: torch.Generator) -> None:
    state = slow.discriminator_state(SIZES[1])
    images = _images(count, 32, 32, rng)
    torch.testing.assert_close(read_discriminator(state).double()(images), slow.slow_score(state, images))


@pytest.mark.parametrize("channels", SIZES)
def test_features_are_the_first_four_block_outputs(channels: dict[int, int], rng: torch.Generator) -> None:
    state = slow.discriminator_state(channels)
    images = _images(2, max(channels), max(channels), rng)
    expected = slow.slow_features(state, images)[:4]
    discriminator = read_discriminator(state).double()
    for features in (discriminator.block_features(images), discriminator.frozen_features(torch.float64)(images)):
        assert len(features) == len(expected) == min(4, len(channels) - 1)
        for ours, theirs in zip(features, expected, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("shape", [(16, 16), (64, 64), (48, 40), (33, 47)])
def test_features_work_on_pictures_of_another_size(shape: tuple[int, int], rng: torch.Generator) -> None:
    state = slow.discriminator_state(SIZES[1])
    images = _images(1, *shape, rng)
    features = read_discriminator(state).double().frozen_features(torch.float64)(images)
    for ours, theirs in zip(features, slow.slow_features(state, images), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_features_are_float32_and_let_the_gradient_reach_the_picture(dtype: torch.dtype, rng: torch.Generator) -> None:
    frozen = read_discriminator(slow.discriminator_state(SIZES[1])).frozen_features(dtype)
    images = _images(2, 32, 32, rng).float().requires_grad_()
    features = frozen(images)
    assert {feature.dtype for feature in features} == {torch.float32}
    torch.stack([feature.abs().mean() for feature in features]).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().max() > 0
    assert list(frozen.parameters()) == []


def test_trainable_discriminator_gives_gradients_to_every_parameter(rng: torch.Generator) -> None:
    discriminator = StyleGAN2Discriminator(DiscriminatorConfig(16, {4: 3, 8: 3, 16: 2}))
    discriminator(_images(4, 16, 16, rng).float()).sum().backward()
    # The last bias shifts every score alike, so its gradient is the count of scores.
    assert not [name for name, parameter in discriminator.named_parameters() if parameter.grad is None]


def test_wrong_pictures_and_batches_are_named() -> None:
    discriminator = StyleGAN2Discriminator(DiscriminatorConfig(8, {4: 2, 8: 2}))
    with pytest.raises(ValueError, match=r"images must be \(B, 3, 8, 8\)"):
        discriminator(torch.zeros(1, 3, 16, 16))
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\)"):
        discriminator.block_features(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match="multiple"):
        discriminator(torch.zeros(6, 3, 8, 8))
