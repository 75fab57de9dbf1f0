"""Distances of distributions against closed forms and loops, and the comparison on samples of known moments."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from gan2shape.errors import InputError
from gan2shape.evaluate.coverage import (
    Seen,
    compare,
    frechet_distance,
    generated_pictures,
    ks_distance,
    see,
    std_ratio,
)
from gan2shape.generators import LoadedGenerator, latent_rng, load_generator
from gan2shape.networks.probe import NUMBERS, Probe
from gan2shape.networks.trained import NetworkSizes


def _exactly(mean: np.ndarray, covariance: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Rows (count, F) whose sample moments are the given ones up to rounding."""
    raw = np.random.default_rng(seed).normal(size=(count, len(mean)))
    raw -= raw.mean(0)
    whitened = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw, rowvar=False))).T
    return whitened @ np.linalg.cholesky(covariance).T + mean


def _random_covariance(size: int, seed: int) -> np.ndarray:
    factor = np.random.default_rng(seed).normal(size=(size, size))
    return factor @ factor.T + 0.1 * np.eye(size)


def _newton_root(matrix: np.ndarray) -> np.ndarray:
    """Square root of a matrix with positive eigenvalues by Denman and Beavers' iteration: no eigenvectors."""
    root, inverse = matrix.copy(), np.eye(len(matrix))
    for _ in range(60):
        root, inverse = (root + np.linalg.inv(inverse)) / 2, (inverse + np.linalg.inv(root)) / 2
    return root


def test_frechet_distance_of_independent_features_is_the_sum_over_features() -> None:
    means, stds = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 0.5]]), np.array([[1.0, 2.0, 0.3], [0.5, 2.5, 3.0]])
    a, b = (_exactly(means[k], np.diag(stds[k] ** 2), 50 + 30 * k, k) for k in range(2))
    expected = ((means[0] - means[1]) ** 2 + (stds[0] - stds[1]) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_with_the_root_of_the_product_by_iteration() -> None:
    covariances = [_random_covariance(6, seed) for seed in (1, 2)]
    a, b = (_exactly(np.full(6, float(k)), covariances[k], 200, k) for k in range(2))
    root = _newton_root(covariances[0] @ covariances[1])
    np.testing.assert_allclose(root @ root, covariances[0] @ covariances[1], rtol=1e-6, atol=1e-8)
    expected = 6.0 + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.trace(root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-7)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-7)


def test_frechet_distance_turns_with_its_features_and_is_zero_to_itself() -> None:
    a, b = (_exactly(np.zeros(4), _random_covariance(4, seed), 60, seed) for seed in (3, 4))
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(4, 4)))[0]
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b), rel=1e-8)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-10)


def test_frechet_distance_with_fewer_rows_than_features() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(5, 30))
    assert frechet_distance(a, a + 2.0) == pytest.approx(30 * 4.0)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros((1, 3)), np.zeros((4, 3))),
        (np.zeros((4, 3)), np.zeros((4, 2))),
        (np.zeros(4), np.zeros((4, 1))),
        (np.full((4, 3), np.nan), np.zeros((4, 3))),
    ],
)
def test_features_that_have_no_distance(a: np.ndarray, b: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        frechet_distance(a, b)


def test_ks_distance_by_counting() -> None:
    rng = np.random.default_rng(0)
    for a, b in ((rng.normal(size=31), rng.normal(0.4, 2, size=17)), (rng.integers(0, 4, 20), rng.integers(1, 5, 9))):
        places = [*a, *b]
        expected = max(abs(sum(v <= p for v in a) / len(a) - sum(v <= p for v in b) / len(b)) for p in places)
        assert ks_distance(a, b) == pytest.approx(expected, abs=1e-12)
        assert ks_distance(b, a) == pytest.approx(expected, abs=1e-12)
    assert ks_distance(np.arange(5), np.arange(5) + 10) == 1
    assert ks_distance(np.arange(5), np.arange(5)) == 0
    with pytest.raises(ValueError, match="empty"):
        ks_distance(np.zeros(0), np.ones(3))


def test_ks_distance_of_two_normals_is_the_analytic_one() -> None:
    """Of equal spread and means d apart it is 2 Φ(d / 2) - 1."""
    ranks = (np.arange(20_001) + 0.5) / 20_001
    normal = np.array([_normal_quantile(p) for p in ranks])
    expected = math.erf(0.7 / 2 / math.sqrt(2))
    assert ks_distance(normal, normal + 0.7) == pytest.approx(expected, abs=2e-4)


def _normal_quantile(p: float) -> float:
    low, high = -10.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if 0.5 * (1 + math.erf(middle / math.sqrt(2))) < p else (low, middle)
    return low


def _seen(count: int, seed: int, **changed: tuple[float, float]) -> Seen:
    """Features and numbers of unit normals; single numbers with another mean and standard deviation."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(count, len(NUMBERS)))
    for name, (mean, std) in changed.items():
        column = NUMBERS.index(name.replace("_", " "))
        numbers[:, column] = mean + std * numbers[:, column]
    return Seen(rng.normal(size=(count, 5)), numbers)


def test_a_generator_without_a_fault_meets_the_goals_at_the_floor() -> None:
    found = compare(_seen(1000, 1), _seen(2000, 2))
    assert found.met
    assert found.count == 1000
    assert [q.name for q in found.quantities] == list(NUMBERS)
    assert [q.name for q in found.quantities if q.met is not None] == ["pitch", "yaw", "light x"]
    assert found.frechet < 3 * found.floor
    assert found.collapse == pytest.approx(5, rel=0.1)
    for quantity in found.quantities:
        assert quantity.ratio == pytest.approx(1, abs=0.1)
        assert max(quantity.distance, quantity.floor) < 0.1


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({"yaw": (0, 0.7)}, "yaw"),  # Too narrow, though near enough in distribution.
        ({"yaw": (0.5, 1)}, "yaw"),
        ({"light_x": (0.5, 1)}, "light x"),
        ({"pitch": (0, 0.4)}, "pitch"),
        ({"roll": (3, 1)}, None),  # No goal.
        ({"pitch": (0, 0.75)}, None),  # The goal for spread is yaw's.
    ],
)
def test_goals(changed: dict[str, tuple[float, float]], missed: str | None) -> None:
    found = compare(_seen(2000, 1, **changed), _seen(4000, 2))
    assert [q.name for q in found.quantities if q.met is False] == ([missed] if missed else [])
    assert found.met is (missed is None)


def test_moments_of_the_comparison_by_hand() -> None:
    generated, true = _seen(500, 1, yaw=(3, 2)), _seen(1000, 2, yaw=(1, 4))
    found = compare(generated, true)
    yaw = found.quantities[1]
    first, a = true.numbers[:500, 1], generated.numbers[:, 1]
    assert (yaw.true_mean, yaw.true_std) == (pytest.approx(first.mean()), pytest.approx(first.std()))
    assert (yaw.mean, yaw.std) == (pytest.approx(a.mean()), pytest.approx(a.std()))
    assert yaw.ratio == pytest.approx(a.std() / first.std())
    assert yaw.floor == pytest.approx(ks_distance(true.numbers[500:, 1], first))
    features = true.features[:500]
    assert found.collapse == pytest.approx(np.square(features - features.mean(0)).sum() / 499)


def test_sets_of_other_sizes_and_a_constant() -> None:
    with pytest.raises(ValueError, match="expected twice as many true pictures as generated ones; got 1999, 1000"):
        compare(_seen(1000, 1), _seen(1999, 2))
    for constant in (np.ones(3), np.zeros(3), np.full(1000, 0.1), 30 + 1e-6 * np.arange(3)):  # The last is rounding.
        assert std_ratio(np.arange(3), constant) is None


def test_true_pictures_that_do_not_vary_have_no_ratio_and_miss_the_goal() -> None:
    """Otherwise their distributions are alike, so that nothing else misses the goal."""
    generated, true = _seen(500, 1, yaw=(3, 0)), _seen(1000, 2, yaw=(3, 0))
    found = compare(generated, true)
    yaw = found.quantities[1]
    assert (yaw.ratio, yaw.ratio_text, yaw.distance, yaw.met) == (None, "–", 0, False)
    assert not found.met
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["quantities"][1]["ratio"] is None
    assert found.quantities[0].ratio_text == f"{found.quantities[0].ratio:.2f}"


class _Mean(Probe):
    """Reads the mean colours of a picture as its first three numbers and features."""

    def read(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        colours = image.mean((2, 3))
        return colours, torch.cat([colours, torch.zeros(len(image), 5)], 1)


@pytest.fixture
def probe() -> Probe:
    return _Mean(NetworkSizes(16, 1, 4, 4))


def test_pictures_are_seen_in_order_clamped_and_at_the_probes_size(probe: Probe, rng: torch.Generator) -> None:
    images = torch.rand(5, 3, 32, 32, generator=rng) * 4 - 2
    seen = see(probe, images.split(2))
    expected = images.clamp(-1, 1).mean((2, 3)).double().numpy()
    np.testing.assert_allclose(seen.numbers[:, :3], expected, atol=1e-6)
    np.testing.assert_allclose(seen.features, expected, atol=1e-6)
    assert seen.features.dtype == np.float64
    np.testing.assert_array_equal(seen.number("yaw"), seen.numbers[:, 1])
    with pytest.raises(InputError, match="expected pictures of 16 px, the probe's size, or a multiple of it; got 24"):
        see(probe, [torch.zeros(1, 3, 24, 24)])
    with pytest.raises(InputError, match="got 8 px"):
        see(probe, [torch.zeros(1, 3, 8, 8)])
    with pytest.raises(ValueError, match="got none"):
        see(probe, [])


def test_generated_pictures_are_those_of_the_seeds_latents() -> None:
    loaded: LoadedGenerator = load_generator(compute_dtype=torch.float32)
    batches = list(generated_pictures(loaded, 51, seed=3, truncation=0.5))
    assert [len(batch) for batch in batches] == [50, 1]
    rng = latent_rng(3)
    w = loaded.w_mean + 0.5 * (loaded.sample_latents(50, rng=rng) - loaded.w_mean)
    torch.testing.assert_close(batches[0][7:8], loaded.generator.synthesize(w[7:8]), atol=1e-4, rtol=1e-4)
    other = next(generated_pictures(loaded, 2, seed=4))
    assert (other - batches[0][:2]).abs().max() > 0.1
    with pytest.raises(InputError, match="no prior"):
        next(generated_pictures(replace(loaded, draw_latents=None), 2, seed=4))
