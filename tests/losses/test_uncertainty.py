"""Confidence-weighted comparisons against the likelihoods of torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Laplace, Normal

from gan2shape.losses import gaussian_distance, laplace_distance


def case(rng: torch.Generator, channels: int = 3, side: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    a, b = torch.randn(2, 2, channels, side, side, generator=rng, dtype=torch.float64)
    return a, b, torch.rand(2, 1, side, side, generator=rng, dtype=torch.float64) + 0.1


def test_they_are_negative_log_likelihoods_up_to_a_constant(rng: torch.Generator) -> None:
    a, b, sigma = case(rng)
    laplace = -Laplace(b, sigma / math.sqrt(2)).log_prob(a).mean() - math.log(math.sqrt(2))
    assert torch.allclose(laplace_distance(a, b, sigma), laplace)
    normal = -Normal(b, sigma).log_prob(a).mean() - math.log(math.sqrt(2 * math.pi))
    assert torch.allclose(gaussian_distance(a, b, sigma), normal)


@pytest.mark.parametrize(("distance", "factor"), [(laplace_distance, math.sqrt(2)), (gaussian_distance, 1.0)])
def test_the_best_deviation_is_the_difference_itself(distance, factor: float) -> None:
    a, b = torch.full((1, 1, 4, 4), 0.3), torch.zeros(1, 1, 4, 4)
    values = torch.linspace(0.05, 1, 400)
    losses = torch.stack([distance(a, b, torch.full((1, 1, 4, 4), float(s))) for s in values])
    assert float(values[losses.argmin()]) == pytest.approx(0.3 * factor, abs=0.003)


@pytest.mark.parametrize("distance", [laplace_distance, gaussian_distance])
def test_masked_pixels_do_not_count(distance, rng: torch.Generator) -> None:
    a, b, sigma = case(rng)
    mask = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    mask[:, :, 2:6, 3:7] = 1
    expected = distance(a[:, :, 2:6, 3:7], b[:, :, 2:6, 3:7], sigma[:, :, 2:6, 3:7])
    assert torch.allclose(distance(a, b, sigma, mask), expected)


def test_a_larger_mask_is_averaged_to_the_size_of_the_features(rng: torch.Generator) -> None:
    a, b, sigma = case(rng, channels=5, side=4)
    mask = (torch.rand(2, 1, 16, 16, generator=rng) < 0.6).double()
    weights = torch.stack([mask[:, 0, i // 4 * 4 :][:, :4, i % 4 * 4 :][:, :, :4].mean((1, 2)) for i in range(16)], 1)
    each = (((a - b) / sigma) ** 2 / 2 + sigma.log()).mean(1).flatten(1)
    assert torch.allclose(gaussian_distance(a, b, sigma, mask), (each * weights).sum() / weights.sum())


@pytest.mark.parametrize("distance", [laplace_distance, gaussian_distance])
def test_gradients(distance, rng: torch.Generator) -> None:
    a, b, sigma = (value.requires_grad_() for value in case(rng, side=3))
    assert torch.autograd.gradcheck(distance, (a, b, sigma))


@pytest.mark.parametrize("distance", [laplace_distance, gaussian_distance])
def test_shapes_that_do_not_fit(distance) -> None:
    image, sigma = torch.zeros(2, 3, 4, 4), torch.ones(2, 1, 4, 4)
    with pytest.raises(ValueError, match="alike"):
        distance(image, torch.zeros(2, 3, 4, 5), sigma)
    with pytest.raises(ValueError, match="sigma"):
        distance(image, image, torch.ones(2, 3, 4, 4))
