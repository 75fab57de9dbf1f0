"""Inversion of pictures that the generator made itself, where the right answer is known."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from gan2shape.generators import InvertConfig, LoadedGenerator, invert, load_generator
from gan2shape.generators.invert import signed_psnr
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


def test_equal_pictures_have_a_finite_ratio() -> None:
    picture = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert signed_psnr(picture, picture) == 100
    assert signed_psnr(picture, picture + 2e-6) == 100  # 120 dB.
    assert signed_psnr(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.2)) == pytest.approx(20, abs=1e-4)
    assert math.isnan(signed_psnr(picture, picture * float("nan")))


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


def test_a_proposed_start_is_used(small: LoadedGenerator) -> None:
    """With next to no steps only the proposal can be near: an encoder that knows the answer."""
    answer = small.sample_latents(1, rng=torch.Generator().manual_seed(3))
    image = small.generator.synthesize(answer)
    config = InvertConfig(samples=2, restarts=2, survey_steps=0, narrow_steps=0, final_steps=1, learning_rate=0.0)
    found = invert(small, image, rng=torch.Generator().manual_seed(0), config=config, start_latents=answer)
    assert torch.allclose(found.latent, answer, atol=1e-6)
    many = answer.expand(5, -1)  # More proposals than restarts: all of them start.
    found = invert(small, image, rng=torch.Generator().manual_seed(0), config=config, start_latents=many)
    assert torch.allclose(found.latent, answer, atol=1e-6)


def test_a_latent_per_layer_fits_what_one_latent_cannot(small: LoadedGenerator) -> None:
    generator = small.generator
    rows = small.sample_latents(generator.num_ws, rng=torch.Generator().manual_seed(5))[None]  # type: ignore[attr-defined]
    image = generator.synthesize(rows).clamp(-1, 1)
    quick = dataclasses.replace(QUICK, samples=8, restarts=1, survey_steps=0, narrow_steps=0, final_steps=60)
    shared = invert(small, image, rng=torch.Generator().manual_seed(0), config=quick)
    free, held = (
        invert(
            small,
            image,
            rng=torch.Generator().manual_seed(0),
            config=dataclasses.replace(quick, rows_steps=60, row_weight=weight),
        )
        for weight in (0.0, 100.0)
    )
    assert free.latent.shape == held.latent.shape == (1, *rows.shape[1:])
    assert free.loss < 0.9 * shared.loss
    assert free.psnr > shared.psnr
    # A heavy weight leaves the layers where the one latent was.
    deviations = [float((one.latent - shared.latent[:, None]).square().mean()) for one in (free, held)]
    assert deviations[1] < 0.05 * deviations[0]


def test_the_distance_of_features_is_told(small: LoadedGenerator) -> None:
    image = _picture(small, 4)
    config = InvertConfig(samples=2, restarts=1, survey_steps=0, narrow_steps=0, final_steps=1, feature_weight=2.5)
    found = invert(small, image, rng=torch.Generator().manual_seed(0), config=config)
    assert small.features is not None
    distance = sum(
        float((a - b).abs().double().mean())
        for a, b in zip(small.features(found.image), small.features(image), strict=True)
    )
    assert found.feature_distance == pytest.approx(distance, rel=1e-5)


def test_a_patient_run_is_shorter_and_noise_is_repeatable(small: LoadedGenerator) -> None:
    image = _picture(small, 1)
    told: list[int] = []
    config = dataclasses.replace(QUICK, final_steps=800, patience=8, jitter=0.05)
    results = [
        invert(
            small,
            image,
            rng=torch.Generator().manual_seed(0),
            config=config,
            on_progress=lambda done, total: told.append(done),
        )
        for _ in range(2)
    ]
    assert torch.equal(results[0].latent, results[1].latent)
    assert told[-1] == config.steps
    assert len(told) // 2 < 0.7 * config.steps
    assert results[0].psnr > 20


def test_wrong_pictures_and_settings_are_named(small: LoadedGenerator, rng: torch.Generator) -> None:
    with pytest.raises(ValueError, match=r"image must be \(1, 3, 16, 16\); got \(1, 3, 8, 8\)"):
        invert(small, torch.zeros(1, 3, 8, 8), rng=rng)
    with pytest.raises(ValueError, match="NaN"):
        invert(small, torch.full((1, 3, 16, 16), torch.nan), rng=rng)
    with pytest.raises(ValueError, match=r"start_latents must be \(K, 6\); got \(2, 5\)"):
        invert(small, torch.zeros(1, 3, 16, 16), rng=rng, start_latents=torch.zeros(2, 5))
    for wrong in ({"samples": 0}, {"restarts": 0}, {"final_steps": -1}, {"rows_steps": -1}, {"jitter": -0.1}):
        with pytest.raises(ValueError):
            InvertConfig(**wrong)
    with pytest.raises(ValueError):
        InvertConfig(survey_steps=0, narrow_steps=0, final_steps=0)
