"""What tells generators from each other, and latents of a prior."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from gan2shape.errors import InputError
from gan2shape.generators.load import load_generator
from gan2shape.generators.loaded import LoadedGenerator, latent_mean, latent_rng, normals
from gan2shape.generators.offsets import DirectOffset
from gan2shape.generators.record import GeneratorRecord
from gan2shape.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator


def loaded() -> LoadedGenerator:
    generator = StyleGAN2Generator(StyleGAN2Config(8, {4: 2, 8: 2}, z_dim=3, w_dim=2, mapping_layers=1))
    return LoadedGenerator(generator, DirectOffset(2), None, torch.tensor([1.0, 2.0]), "a.pt", "ab" * 32)


def test_what_a_result_keeps_of_it() -> None:
    one = dataclasses.replace(loaded(), class_index=1, features_from="m:f")
    assert one.record == GeneratorRecord("a.pt", "ab" * 32, 1, "m:f")
    assert one.identity == "ab" * 32 + " class 1"


def test_truncation_is_linear_and_a_missing_prior_is_told() -> None:
    one = dataclasses.replace(loaded(), draw_latents=lambda count, rng: normals(count, 2, rng))
    full, half = (one.sample_latents(3, rng=torch.Generator().manual_seed(1), truncation=psi) for psi in (1.0, 0.5))
    torch.testing.assert_close(half, one.w_mean + 0.5 * (full - one.w_mean))
    with pytest.raises(InputError, match=r"a\.pt has no prior"):
        loaded().sample_latents(1, rng=torch.Generator())
    with pytest.raises(ValueError, match="count must be positive"):
        one.sample_latents(0, rng=torch.Generator())


def test_the_mean_is_that_of_mapped_normals() -> None:
    generator = StyleGAN2Generator(StyleGAN2Config(8, {4: 2, 8: 2}, z_dim=3, w_dim=2, mapping_layers=1))
    z = torch.randn(50, 3, generator=latent_rng(4))
    torch.testing.assert_close(latent_mean(generator, count=50, seed=4), generator.map(z).mean(0).detach())


def test_a_seeds_latents_are_its_own_and_no_weights_that_it_initialised() -> None:
    z, again, other = (normals(128, 64, latent_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(z, again)
    assert (z == other).float().mean() < 0.01
    assert z.std().item() == pytest.approx(1, abs=0.05)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        style = StyleGAN2Generator(StyleGAN2Config(8, {4: 2, 8: 2}, z_dim=64, w_dim=64, mapping_layers=2)).style
    rows = F.normalize(torch.cat([style[layer].weight.detach() for layer in (1, 2)]))
    bare = normals(128, 64, torch.Generator().manual_seed(0))
    assert (F.normalize(bare) * rows).sum(1).min() > 0.999  # What it is for: here they are the same.
    assert (F.normalize(z) @ rows.T).abs().max() < 0.7


def test_the_bundled_generators_latents_are_typical() -> None:
    """Drawn under the bare seed 0, under which its mapping network was initialised, they lie twice as far out."""
    loaded = load_generator(compute_dtype=torch.float32)
    spreads = [float((loaded.sample_latents(256, rng=latent_rng(seed)) - loaded.w_mean).std()) for seed in range(4)]
    assert max(spreads) < 1.1 * min(spreads)
