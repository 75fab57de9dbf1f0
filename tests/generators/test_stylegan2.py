"""Mapping and synthesis against the slow float64 network, for several widths, depths and sizes."""

from __future__ import annotations

import pytest
import torch

from gan2shape.generators.rosinality import read_generator
from gan2shape.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator
from tests.generators import common_layout as slow

SIZES = [
    {"channels": {4: 5, 8: 3}, "z_dim": 6, "w_dim": 6, "layers": 2},
    {"channels": {4: 6, 8: 5, 16: 4}, "z_dim": 4, "w_dim": 7, "layers": 1},
    {"channels": {4: 8, 8: 6, 16: 4, 32: 2}, "z_dim": 8, "w_dim": 8, "layers": 8},
]


def _latents(config: StyleGAN2Config, rng: torch.Generator, rows: bool = True) -> torch.Tensor:
    shape = (2, config.num_ws, config.w_dim) if rows else (2, config.w_dim)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("size", SIZES)
def test_mapping_equals_the_slow_one(size: dict, rng: torch.Generator) -> None:
    state = slow.generator_state(**size)
    generator = read_generator(state).double()
    z = torch.randn(3, size["z_dim"], generator=rng, dtype=torch.float64)
    torch.testing.assert_close(generator.map(z), slow.slow_mapping(state, z, 0, size["layers"]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("frozen", [False, True])
def test_synthesis_equals_the_slow_one(size: dict, frozen: bool, rng: torch.Generator) -> None:
    state = slow.generator_state(**size)
    generator = read_generator(state).double()
    w = _latents(generator.config, rng)
    expected = slow.slow_synthesis(state, w, generator.fixed_noise())
    images = generator.frozen(torch.float64).synthesize(w) if frozen else generator.synthesize(w)
    assert images.dtype == torch.float64
    torch.testing.assert_close(images, expected)


def test_fixed_noise_is_that_of_the_checkpoint_and_enters_the_picture(rng: torch.Generator) -> None:
    state = slow.generator_state(**SIZES[0])
    generator = read_generator(state)
    assert torch.equal(generator.fixed_noise()[2], state["noises.noise_2"])
    w = _latents(generator.config, rng).float()
    quiet = generator.synthesize(w, noise=[torch.zeros_like(noise) for noise in generator.fixed_noise()])
    assert (generator.synthesize(w) - quiet).abs().max() > 1e-2


def test_absent_noise_is_seeded_and_the_same_every_time(rng: torch.Generator) -> None:
    state = slow.generator_state(**SIZES[0], with_buffers=False)
    first = read_generator(state)
    torch.manual_seed(123)
    second = read_generator(state)
    w = _latents(first.config, rng).float()
    assert torch.equal(first.synthesize(w), second.synthesize(w))


def test_one_latent_row_feeds_every_layer(rng: torch.Generator) -> None:
    generator = read_generator(slow.generator_state(**SIZES[1])).double()
    w = _latents(generator.config, rng, rows=False)
    rows = w[:, None].repeat(1, generator.config.num_ws, 1)
    torch.testing.assert_close(generator.synthesize(w), generator.synthesize(rows))


def test_trainable_generator_gives_gradients_to_every_parameter(rng: torch.Generator) -> None:
    generator = StyleGAN2Generator(StyleGAN2Config(8, {4: 4, 8: 3}, z_dim=5, w_dim=5, mapping_layers=2))
    z = torch.randn(2, 5, generator=rng)
    generator.synthesize(generator.map(z)).square().mean().backward()
    assert not [name for name, parameter in generator.named_parameters() if parameter.grad is None]


def test_gradient_to_the_latent_agrees_with_finite_differences(rng: torch.Generator) -> None:
    frozen = read_generator(slow.generator_state(**SIZES[0])).double().frozen(torch.float64)
    w = _latents(frozen.config, rng, rows=False)[:1].requires_grad_()
    assert torch.autograd.gradcheck(lambda latent: frozen.synthesize(latent)[..., ::3, ::3], (w,))


@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 6), (6,), (2, 4, 5)])
def test_wrong_latents_are_named(shape: tuple[int, ...]) -> None:
    generator = read_generator(slow.generator_state(**SIZES[0]))
    with pytest.raises(ValueError, match=r"w must be \(B, 6\) or \(B, 4, 6\)"):
        generator.synthesize(torch.zeros(shape))


@pytest.mark.parametrize(
    "bad",
    [
        {"resolution": 24, "channels": {4: 2, 8: 2}},
        {"resolution": 16, "channels": {4: 2, 8: 2}},
        {"resolution": 8, "channels": {4: 2, 8: 2}, "mapping_layers": 0},
    ],
)
def test_impossible_sizes_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError):
        StyleGAN2Config(**bad)


def test_every_size_to_1024_can_be_built() -> None:
    """A smoke test: the largest network has 18 latent rows and 17 noise maps."""
    config = StyleGAN2Config(1024, {2**level: 2 for level in range(2, 11)}, z_dim=4, w_dim=4, mapping_layers=1)
    generator = StyleGAN2Generator(config)
    assert config.num_ws == 18
    assert len(generator.fixed_noise()) == 17
    with torch.no_grad():
        assert generator.frozen().synthesize(torch.zeros(1, 4)).shape == (1, 3, 1024, 1024)
