"""Losses of StyleGAN2's training against arithmetic by hand and networks whose derivatives are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gan2shape.train.stylegan2_losses import (
    average_decay,
    critic_loss,
    generator_loss,
    path_lengths,
    path_penalty,
    r1_penalty,
    update_average,
)


def test_logistic_losses_by_hand() -> None:
    real, fake = torch.tensor([[0.0], [2.0]]), torch.tensor([[-1.0], [3.0]])
    expected = (math.log(2) + math.log1p(math.exp(-2))) / 2 + (math.log1p(math.exp(-1)) + math.log1p(math.exp(3))) / 2
    assert critic_loss(real, fake).item() == pytest.approx(expected, rel=1e-6)
    expected = (math.log1p(math.exp(1)) + math.log1p(math.exp(-3))) / 2
    assert generator_loss(fake).item() == pytest.approx(expected, rel=1e-6)


def test_r1_of_a_linear_critic_is_the_square_of_its_weights() -> None:
    weight = torch.randn(3 * 4 * 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    penalty = r1_penalty(lambda x: x.flatten(1) @ weight[:, None], torch.randn(5, 3, 4, 4))
    assert penalty.item() == pytest.approx(weight.square().sum().item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(gradient, 2 * weight.detach())


def test_r1_of_a_quadratic_critic_is_the_mean_over_samples() -> None:
    images = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    penalty = r1_penalty(lambda x: x.square().sum((1, 2, 3))[:, None], images)  # Its gradient is twice the picture.
    assert penalty.item() == pytest.approx(sum(4 * float((image**2).sum()) for image in images) / 4, rel=1e-12)


def test_path_length_of_a_linear_generator() -> None:
    rng = torch.Generator().manual_seed(0)
    matrix = torch.randn(3 * 4 * 4, 6, generator=rng, dtype=torch.float64).requires_grad_()
    latents = torch.randn(5, 2, 6, generator=rng, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(5, 3, 4, 4, generator=rng, dtype=torch.float64)
    images = ((latents[:, 0] + 3 * latents[:, 1]) @ matrix.t()).view(5, 3, 4, 4)
    lengths = path_lengths(images, latents, noise)
    for length, sample in zip(lengths, noise, strict=True):
        back = matrix.detach().t() @ sample.flatten() / 4  # J^T y of row 0; row 1 is three times as long.
        assert length.item() == pytest.approx(math.sqrt((1 + 9) / 2 * float(back @ back)), rel=1e-10)
    (gradient,) = torch.autograd.grad(lengths.sum(), matrix)
    step = 1e-6
    bumped = matrix.detach().clone()
    bumped[7, 2] += step
    again = ((latents[:, 0] + 3 * latents[:, 1]) @ bumped.t()).view(5, 3, 4, 4)
    difference = (path_lengths(again, latents, noise).sum() - lengths.sum()).item() / step
    assert gradient[7, 2].item() == pytest.approx(difference, rel=1e-4)


def test_path_penalty_and_its_running_mean() -> None:
    penalty, mean = path_penalty(torch.tensor([1.0, 3.0]), torch.tensor(1.0))
    assert mean.item() == pytest.approx(1.01)
    assert penalty.item() == pytest.approx((0.01**2 + 1.99**2) / 2, rel=1e-5)


def test_decay_of_the_average() -> None:
    assert average_decay(32, 1000, 1e9, 0.05) ** (1000 / 32) == pytest.approx(0.5)
    assert average_decay(32, 1000, 640, 0.05) == pytest.approx(0.5)  # Half-life cut to 32 pictures.
    assert average_decay(32, 1000, 0, 0.05) == 0
    assert average_decay(32, 1000, 0, 0.0) == average_decay(32, 1000, 1e9, 0.05)


def test_average_of_parameters_and_copy_of_buffers() -> None:
    average, current = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    with torch.no_grad():
        average.weight.copy_(torch.tensor([1.0, 2.0]))
        current.weight.copy_(torch.tensor([5.0, -2.0]))
    current.running_mean.fill_(3.0)
    update_average(average, current, 0.75)
    torch.testing.assert_close(average.weight.detach(), torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(average.running_mean, torch.tensor([3.0, 3.0]))
    torch.testing.assert_close(current.weight.detach(), torch.tensor([5.0, -2.0]))
