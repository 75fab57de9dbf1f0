"""The autoencoder's parts against integrals and loops; that it learns is seen in the test of the training."""

from __future__ import annotations

import math

import pytest
import torch

from gan2shape.train.autoencode import (
    PICTURE_WEIGHT,
    autoencoder_loss,
    divergence,
    new_encoder,
    picture_distance,
    sample_posterior,
)
from gan2shape.train.stylegan2_config import new_networks


def test_divergence_is_the_integral_over_the_posterior() -> None:
    mean, log_variance = 0.7, math.log(0.4)
    x = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    posterior = torch.distributions.Normal(mean, math.sqrt(0.4)).log_prob(x)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(x)
    integral = torch.trapezoid(posterior.exp() * (posterior - prior), x).item()
    nats = divergence(torch.full((5, 3), mean), torch.full((5, 3), log_variance))
    assert nats.item() == pytest.approx(3 * integral, rel=1e-5)  # Three numbers a picture.


def test_picture_distance_by_hand() -> None:
    target = torch.zeros(2, 3, 16, 16)
    assert picture_distance(target + 0.5, target).item() == pytest.approx(0.5)  # A constant has no gradients.
    ramp = torch.arange(16.0).expand(2, 3, 16, 16)
    by_scale = [7.5 + 1, 7.5 + 2, 7.5 + 4, 7.5 + 8]  # The mean stays; neighbours differ by twice as much each time.
    assert picture_distance(ramp, target).item() == pytest.approx(sum(by_scale) / 4)


def test_samples_of_the_posterior_have_its_moments() -> None:
    mean, log_variance = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, math.log(0.25)]])
    rng = torch.Generator().manual_seed(0)
    z = sample_posterior(mean.expand(20_000, 2), log_variance.expand(20_000, 2), rng=rng)
    torch.testing.assert_close(z.mean(0), mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(z.std(0), torch.tensor([1.0, 0.5]), atol=0.02, rtol=0)


def test_loss_is_the_weighted_sum_and_reaches_both_networks() -> None:
    generator = new_networks(16, width=0.1).generator
    encoder = new_encoder(generator, 0)
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    rng = torch.Generator().manual_seed(0)
    loss, distance, nats = autoencoder_loss(encoder, generator, images, 0.1, dtype=torch.float32, rng=rng)
    assert loss.item() == pytest.approx(PICTURE_WEIGHT * distance.item() + 0.1 * nats.item(), rel=1e-5)
    loss.backward()
    for network in (encoder, generator.style, generator.convs):
        assert all(
            p.grad is not None and p.grad.abs().sum() > 0 for n, p in network.named_parameters() if "noise" not in n
        )


def test_encoders_of_one_seed_are_equal_and_leave_the_global_state_alone() -> None:
    generator = new_networks(16, width=0.1).generator
    before = torch.get_rng_state()
    first, second = new_encoder(generator, 4), new_encoder(generator, 4)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
