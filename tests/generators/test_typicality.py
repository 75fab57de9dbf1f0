"""Typicality against distributions that are known in closed form, and verdicts on pictures of known origin."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.generators import InvertConfig, LoadedGenerator, latent_rng
from gan2shape.generators.offsets import DirectOffset
from gan2shape.generators.typicality import (
    POOR_SHARE,
    Likeness,
    invert_own,
    latent_statistics,
    likeness_of,
    scale_of,
    unrelated_distance,
)

DIM = 3
SIDE = 8


@dataclass(frozen=True)
class Flat:
    """Three numbers make one plain colour."""

    resolution: int = SIDE
    latent_dim: int = DIM

    def synthesize(self, w: Tensor) -> Tensor:
        """Latents (B, 3) to pictures."""
        return w[:, :, None, None].expand(-1, -1, SIDE, SIDE)


def colours(images: Tensor) -> list[Tensor]:
    """The picture itself as its only feature map."""
    return [images]


def made(draw: Callable[[int, torch.Generator], Tensor] | None, *, features: bool = True) -> LoadedGenerator:
    return LoadedGenerator(
        generator=Flat(),
        offset=DirectOffset(DIM),
        features=colours if features else None,
        w_mean=torch.zeros(DIM),
        name="flat",
        sha256="",
        draw_latents=draw,
    )


def stretched(count: int, rng: torch.Generator) -> Tensor:
    """Independent normals of deviations 0.5, 0.1 and next to nothing."""
    return torch.randn(count, DIM, generator=rng) * torch.tensor([0.5, 0.1, 1e-6])


def test_distances_are_in_standard_deviations_of_the_axes_that_count() -> None:
    statistics = latent_statistics(made(stretched), count=40_000)
    assert statistics.whitening.shape == (DIM, 2)  # The third axis has no variance to speak of.
    for latent, squares in (
        ([0.5, 0.0, 0.0], 1),
        ([0.0, 0.3, 0.0], 9),
        ([-1.0, 0.1, 5.0], 5),
    ):
        assert statistics.distance(torch.tensor([latent])) == pytest.approx(math.sqrt(squares / 2), rel=0.03)
    rows = torch.tensor([[[0.5, 0.0, 0.0], [0.0, 0.3, 0.0]]])
    assert statistics.distance(rows) == pytest.approx(math.sqrt((0.5 + 4.5) / 2), rel=0.03)


def test_without_a_prior_there_are_no_statistics() -> None:
    with pytest.raises(InputError, match="no prior to draw latents from"):
        latent_statistics(made(None))


def test_percentiles_are_those_of_the_chi_square_distribution() -> None:
    """Two whitened normal axes: a share of 1 - exp(-r²/2) lies within r."""
    statistics = latent_statistics(made(stretched), count=40_000)
    for radius in (0.5, 1.0, 2.0):
        latent = torch.tensor([[0.5 * radius, 0.0, 0.0]])
        assert statistics.percentile(latent) == pytest.approx(100 * (1 - math.exp(-(radius**2) / 2)), abs=1.5)
    assert statistics.percentile(torch.zeros(1, DIM)) < 0.1
    assert statistics.percentile(torch.full((1, DIM), 9.0)) == 100.0


def test_unrelated_pictures_lie_as_far_apart_as_their_latents() -> None:
    """One number drawn from {-1, 1}: pairs differ by 2 in one channel of three, or not at all."""

    def two(count: int, rng: torch.Generator) -> Tensor:
        signs = torch.arange(count) % 8 < 1
        return torch.stack([2.0 * signs - 1, torch.zeros(count), torch.zeros(count)], dim=1)

    def half(count: int, rng: torch.Generator) -> Tensor:
        return torch.linspace(-1, 1, count)[:, None].expand(-1, DIM)

    assert unrelated_distance(made(two), count=16) == 0.0  # Of 120 pairs 28 differ: the median does not.
    pairs = sorted(abs(i - j) * 2 / 15 for i in range(16) for j in range(i))
    assert unrelated_distance(made(half), count=16) == pytest.approx(pairs[(len(pairs) - 1) // 2], rel=1e-5)
    with pytest.raises(ValueError, match="no features"):
        unrelated_distance(made(half, features=False))


def test_a_picture_of_its_own_is_no_reason_to_warn() -> None:
    loaded = made(stretched)
    latent = torch.tensor([[0.3, -0.1, 0.0]])
    likeness = likeness_of(loaded, loaded.generator.synthesize(latent), latent)
    assert likeness.share == 0.0
    assert likeness.warning() is None
    assert likeness.percentile is not None
    assert 10 < likeness.percentile < 90


def test_a_scale_serves_for_many_pictures() -> None:
    drawn: list[int] = []

    def counted(count: int, rng: torch.Generator) -> Tensor:
        drawn.append(count)
        return stretched(count, rng)

    loaded = made(counted)
    scale, calls = scale_of(loaded), len(drawn)
    assert calls > 0
    for value in (0.1, 0.4):
        latent, image = torch.full((1, DIM), value), torch.full((1, 3, SIDE, SIDE), 0.2)
        assert likeness_of(loaded, image, latent, scale) == likeness_of(made(stretched), image, latent)
    assert len(drawn) == calls


def test_a_picture_of_another_kind_is_told_with_numbers() -> None:
    loaded = made(stretched)
    image = torch.ones(1, 3, SIDE, SIDE)
    likeness = likeness_of(loaded, image, torch.tensor([[0.5, 0.3, 0.0]]))
    error = (0.25 + 0.49 + 1) / 3
    assert likeness.psnr == pytest.approx(10 * math.log10(4 / error), abs=1e-3)
    assert likeness.feature_distance == pytest.approx((0.5 + 0.7 + 1) / 3, abs=1e-5)
    warning = likeness.warning()
    assert warning is not None
    assert "8.4 dB PSNR" in warning
    assert f"{100 * (likeness.share or 0):.0f} % of the feature distance" in warning
    assert "\n" not in warning


def test_what_a_generator_does_not_have_is_left_out() -> None:
    likeness = likeness_of(made(None, features=False), torch.zeros(1, 3, SIDE, SIDE), torch.full((1, DIM), 0.1))
    assert likeness == Likeness(likeness.psnr, None, None, None, None)
    assert likeness.sentence() == "26.0 dB PSNR"
    assert not likeness.is_poor


def test_the_verdict_turns_where_it_says() -> None:
    for share, poor in ((POOR_SHARE - 0.01, False), (POOR_SHARE + 0.01, True)):
        assert Likeness(30.0, share * 0.5, 0.5, 1.0, 50.0).is_poor is poor
    assert Likeness(19.0, 0.0, 0.5, 1.0, 50.0).is_poor
    assert Likeness(30.0, 0.1, 0.0, 1.0, 50.0).share is None  # All its pictures are alike: no scale.


def test_its_own_pictures_are_found_again() -> None:
    quick = InvertConfig(samples=8, restarts=2, survey_steps=10, narrow_steps=10, final_steps=60)
    own = invert_own(made(stretched), 3, config=quick)
    assert own.count == 3
    assert own.psnr > 35
    assert own.feature_distance is not None
    assert own.feature_distance < 0.02
    assert invert_own(made(stretched, features=False), 1, config=quick).feature_distance is None


def test_its_own_pictures_start_from_what_is_proposed() -> None:
    """One step from the answer, or from the mean latent alone."""
    loaded = made(stretched)
    latents = loaded.sample_latents(2, rng=latent_rng(5))
    pictures = loaded.generator.synthesize(latents).clamp(-1, 1)

    def knowing(picture: Tensor) -> Tensor:
        assert picture.shape == (1, 3, SIDE, SIDE)
        return latents[(pictures - picture).abs().sum((1, 2, 3)).argmin()][None]

    config = InvertConfig(samples=1, restarts=1, survey_steps=0, narrow_steps=0, final_steps=1)
    without = invert_own(loaded, 2, config=config, seed=5)
    assert invert_own(loaded, 2, config=config, propose=knowing, seed=5).psnr > without.psnr + 10


def test_a_generator_without_layers_has_no_latent_for_each() -> None:
    config = InvertConfig(samples=1, restarts=1, survey_steps=0, narrow_steps=0, final_steps=1, rows_steps=1)
    with pytest.raises(InputError, match="no layers to tell apart"):
        invert_own(made(stretched), 1, config=config)
