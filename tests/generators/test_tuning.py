"""Pivotal tuning of small random generators: what it must reach, what it must leave alone."""

from __future__ import annotations

import copy

import pytest
import torch

from gan2shape.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator
from gan2shape.generators.tuning import TuningConfig, self_correlation, tune

SIDE = 16
CONFIG = StyleGAN2Config(SIDE, channels={4: 8, 8: 8, 16: 8}, z_dim=6, w_dim=6, mapping_layers=2)
QUICK = TuningConfig(steps=25, learning_rate=1e-2, patience=0)


@pytest.fixture
def generator() -> StyleGAN2Generator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return StyleGAN2Generator(CONFIG)


@pytest.fixture
def image() -> torch.Tensor:
    """Four quarters, which no random generator makes."""
    picture = torch.full((1, 3, SIDE, SIDE), -0.5)
    picture[:, 0, :8, :8], picture[:, 1, 8:], picture[:, 2, :, 8:] = 0.8, 0.6, 0.4
    return picture


def _pivot(generator: StyleGAN2Generator) -> torch.Tensor:
    with torch.no_grad():
        return generator.map(torch.randn(1, 6, generator=torch.Generator().manual_seed(1)))


def test_the_pivot_comes_to_make_the_photo_and_the_original_stays(
    generator: StyleGAN2Generator, image: torch.Tensor
) -> None:
    before = copy.deepcopy(generator.state_dict())
    pivot = _pivot(generator)
    told: list[tuple[int, int]] = []
    tuned = tune(
        generator,
        None,
        image,
        pivot,
        rng=torch.Generator().manual_seed(0),
        config=QUICK,
        on_progress=lambda *at: told.append(at),
    )
    first = (generator.synthesize(pivot).clamp(-1, 1) - image).square().mean()
    assert tuned.psnr > 10 * float(torch.log10(4 / first.detach())) + 6
    assert torch.equal(tuned.image, tuned.generator.synthesize(pivot).clamp(-1, 1))
    assert tuned.psnr == pytest.approx(10 * float(torch.log10(4 / (tuned.image - image).square().mean())), abs=1e-3)
    assert told == [(step, 25) for step in range(1, 26)]
    assert tuned.steps == 25
    after = generator.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    moved = tuned.generator.state_dict()
    assert all(torch.equal(moved[name], before[name]) for name in before if name.startswith("style."))
    assert not torch.equal(moved["convs.0.conv.weight"], before["convs.0.conv.weight"])
    assert not any(parameter.requires_grad for parameter in tuned.generator.parameters())


def test_locality_holds_the_neighbours(generator: StyleGAN2Generator, image: torch.Tensor) -> None:
    pivot = _pivot(generator)
    near = (
        pivot + 0.5 * (generator.map(torch.randn(32, 6, generator=torch.Generator().manual_seed(9))) - pivot).detach()
    )
    changes = []
    for weight in (0.0, 10.0):
        config = TuningConfig(steps=25, learning_rate=1e-2, patience=0, locality_weight=weight, locality_radius=0.5)
        tuned = tune(generator, None, image, pivot, rng=torch.Generator().manual_seed(0), config=config)
        with torch.no_grad():
            changes.append(float((tuned.generator.synthesize(near) - generator.synthesize(near)).abs().mean()))
    assert changes[1] < 0.5 * changes[0]


def test_tuning_is_repeatable_and_ends_early(generator: StyleGAN2Generator, image: torch.Tensor) -> None:
    pivot, config = _pivot(generator), TuningConfig(steps=300, learning_rate=1e-7, patience=5)
    runs = [tune(generator, None, image, pivot, rng=torch.Generator().manual_seed(0), config=config) for _ in range(2)]
    assert runs[0].steps == 6
    assert torch.equal(runs[0].image, runs[1].image)


def test_rows_and_features_are_taken_too(generator: StyleGAN2Generator, image: torch.Tensor) -> None:
    recorded = []

    def features(images: torch.Tensor) -> list[torch.Tensor]:
        recorded.append(torch.is_grad_enabled())
        return [images[:, :, ::2, ::2]]

    rows = _pivot(generator)[:, None].repeat(1, CONFIG.num_ws, 1)
    config = TuningConfig(steps=2, patience=0)
    tuned = tune(generator, features, image, rows, rng=torch.Generator().manual_seed(0), config=config)
    assert tuned.image.shape == image.shape
    # The photo once; in each of two steps its picture, and a neighbour before and after: of tuned pictures alone
    # gradients are wanted.
    assert recorded == [False, *2 * [True, False, True]]


def test_noise_maps_move_only_where_they_count_and_stay_noise(
    generator: StyleGAN2Generator, image: torch.Tensor
) -> None:
    with torch.no_grad():
        generator.convs[3].noise.weight.fill_(0.5)  # type: ignore[union-attr]
    before = [noise.clone() for noise in generator.fixed_noise()]
    pivot = _pivot(generator)
    config = TuningConfig(steps=20, learning_rate=0.02, patience=0, noise_weight=10.0)
    tuned = tune(generator, None, image, pivot, rng=torch.Generator().manual_seed(0), config=config)
    after = tuned.generator.fixed_noise()
    same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert same == [True, True, True, True, False]
    assert float(after[4].mean()) == pytest.approx(0, abs=1e-5)
    assert float(after[4].square().mean()) == pytest.approx(1, abs=1e-4)
    still = tune(
        generator,
        None,
        image,
        pivot,
        rng=torch.Generator().manual_seed(0),
        config=TuningConfig(steps=2, noise_weight=0),
    )
    assert all(torch.equal(a, b) for a, b in zip(before, still.generator.fixed_noise(), strict=True))


def test_white_noise_is_uncorrelated_and_stripes_are_not() -> None:
    """Against sums written out: two shifts at sides 32, 16 and 8."""
    noise = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected, level = 0.0, noise[0, 0].numpy()
    for side in (32, 16, 8):
        across = sum(level[y, x] * level[y, x - 1] for y in range(side) for x in range(side)) / side**2
        down = sum(level[y, x] * level[y - 1, x] for y in range(side) for x in range(side)) / side**2
        expected += across**2 + down**2
        level = (level[::2, ::2] + level[1::2, ::2] + level[::2, 1::2] + level[1::2, 1::2]) / 2
    assert float(self_correlation(noise)) == pytest.approx(expected, rel=1e-9)
    assert expected < 0.2
    stripes = torch.ones(1, 1, 32, 32, dtype=torch.float64)
    stripes[..., 1::2, :] = -1
    assert float(self_correlation(stripes)) == pytest.approx(2.0)  # 1 across and 1 down; coarser levels are zero.


def test_wrong_pictures_and_settings_are_named(generator: StyleGAN2Generator, rng: torch.Generator) -> None:
    with pytest.raises(ValueError, match=r"image must be \(1, 3, 16, 16\); got \(1, 3, 8, 8\)"):
        tune(generator, None, torch.zeros(1, 3, 8, 8), _pivot(generator), rng=rng)
    for wrong in ({"steps": 0}, {"learning_rate": 0.0}, {"locality_weight": -1.0}, {"patience": -1}):
        with pytest.raises(ValueError):
            TuningConfig(**wrong)
