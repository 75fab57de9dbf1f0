"""Inversion of pictures that the generator made itself, where the right answer is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gan2shape.generators import InvertConfig, LoadedGenerator, invert, load_generator
from tests.generators import common_layout as slow

QUICK = InvertConfig(samples=32, restarts=3, survey_steps=20, narrow_steps=20, final_steps=120)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> LoadedGenerator:
    channels = {4: 8, 8: 6, 16: 4}
    path = tmp_path_factory.mktemp("small") / "a.pt"
    g_ema = slow.generator_state(channels, z_dim=6, w_dim=6, layers=2)
    torch.save({"g_ema": g_ema, "d": slow.discriminator_state(channels)}, path)
    return load_generator(path, compute_dtype=torch.float32)


def _picture(loaded: LoadedGenerator, seed: int) -> torch.Tensor:
    w = loaded.sample_latents(1, rng=torch.Generator().manual_seed(seed), truncation=0.8)
    return loaded.generator.synthesize(w).clamp(-1, 1)


def test_bundled_generator_recovers_its_own_picture() -> None:
    loaded = load_generator()
    image = _picture(loaded, 3)
    result = invert(loaded, image, rng=torch.Generator().manual_seed(0), config=QUICK)
    assert result.psnr > 30
    error = (result.image - image).square().mean()
    assert result.psnr == pytest.approx(float(10 * torch.log10(4 / error)), abs=1e-3)
    assert torch.equal(result.image, loaded.generator.synthesize(result.latent).clamp(-1, 1))
    assert result.latent.shape == (1, loaded.generator.latent_dim)


def test_result_beats_every_scored_sample_and_the_mean(small: LoadedGenerator) -> None:
    image = _picture(small, 1)
    result = invert(small, image, rng=torch.Generator().manual_seed(0), config=QUICK)
    samples = small.sample_latents(32, rng=torch.Generator().manual_seed(0), truncation=0.7)
    images = small.generator.synthesize(torch.cat([samples, small.w_mean[None]]))
    assert small.features is not None
    losses = (images - image).abs().mean((1, 2, 3))
    for ours, theirs in zip(small.features(images), small.features(image), strict=True):
        losses = losses + (ours - theirs).abs().mean((1, 2, 3))
    assert result.loss < 0.9 * losses.min()


def test_same_seed_gives_the_same_latent_and_progress_is_told(small: LoadedGenerator) -> None:
    image = _picture(small, 2)
    calls: list[tuple[int, int]] = []
    first, second = (
        invert(
            small,
            image,
            rng=torch.Generator().manual_seed(7),
            config=InvertConfig(samples=8, restarts=2, survey_steps=3, narrow_steps=2, final_steps=4),
            on_progress=lambda done, total: calls.append((done, total)),
        )
        for _ in range(2)
    )
    assert torch.equal(first.latent, second.latent)
    assert calls == 2 * [(step, 9) for step in range(1, 10)]


def test_generators_without_features_are_inverted_by_the_pictures_alone(tmp_path: Path) -> None:
    torch.save(slow.generator_state({4: 8, 8: 6}, z_dim=6, w_dim=6, layers=2), tmp_path / "a.pt")
    loaded = load_generator(tmp_path / "a.pt", compute_dtype=torch.float32)
    assert loaded.features is None
    image = _picture(loaded, 0)
    assert invert(loaded, image, rng=torch.Generator().manual_seed(0), config=QUICK).psnr > 20


def test_wrong_pictures_and_settings_are_named(small: LoadedGenerator, rng: torch.Generator) -> None:
    with pytest.raises(ValueError, match=r"image must be \(1, 3, 16, 16\); got \(1, 3, 8, 8\)"):
        invert(small, torch.zeros(1, 3, 8, 8), rng=rng)
    with pytest.raises(ValueError, match="NaN"):
        invert(small, torch.full((1, 3, 16, 16), torch.nan), rng=rng)
    for wrong in ({"samples": 0}, {"restarts": 0}, {"final_steps": -1}):
        with pytest.raises(ValueError):
            InvertConfig(**wrong)
    with pytest.raises(ValueError):
        InvertConfig(survey_steps=0, narrow_steps=0, final_steps=0)
