"""What tells generators from each other, and latents of a prior."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from gan2shape.errors import InputError
from gan2shape.generators.loaded import LoadedGenerator, latent_mean, normals
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
    z = torch.randn(50, 3, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(latent_mean(generator, count=50, seed=4), generator.map(z).mean(0).detach())
