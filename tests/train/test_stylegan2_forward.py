"""The training passes against the networks' own float32 passes, which use fused kernels."""

from __future__ import annotations

import pytest
import torch

from gan2shape.train.stylegan2_config import Networks, new_networks
from gan2shape.train.stylegan2_forward import score, synthesize


@pytest.fixture
def networks() -> Networks:
    networks = new_networks(32, width=0.25, seed=3)
    with torch.no_grad():
        rng = torch.Generator().manual_seed(0)
        for name, parameter in [*networks.generator.named_parameters(), *networks.discriminator.named_parameters()]:
            if "bias" in name or "noise" in name:
                parameter += 0.3 * torch.randn(parameter.shape, generator=rng)
    return networks


def _rows(networks: Networks) -> torch.Tensor:
    return torch.randn(4, networks.generator.config.num_ws, 256, generator=torch.Generator().manual_seed(1))


def test_synthesis_and_its_gradients_equal_the_networks(networks: Networks) -> None:
    generator, rows = networks.generator, _rows(networks)
    weight = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    results = []
    for images in (
        generator.synthesize(rows),
        synthesize(generator, rows, dtype=torch.float32, noise=generator.fixed_noise()),
    ):
        synthesis = [p for name, p in generator.named_parameters() if not name.startswith("style")]
        results.append([images.detach(), *torch.autograd.grad((images * weight).mean(), synthesis)])
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_without_noise_maps_no_noise_is_added(networks: Networks) -> None:
    generator, rows = networks.generator, _rows(networks)
    still = [torch.zeros_like(noise) for noise in generator.fixed_noise()]
    ours = synthesize(generator, rows, dtype=torch.float32)
    torch.testing.assert_close(ours, generator.synthesize(rows, noise=still), rtol=1e-4, atol=1e-5)


def test_scores_and_their_gradients_equal_the_networks(networks: Networks) -> None:
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1
    discriminator = networks.discriminator
    results = []
    for scores in (discriminator(images), score(discriminator, images, dtype=torch.float32)):
        gradients = torch.autograd.grad(scores.square().sum(), list(discriminator.parameters()))
        results.append([scores.detach(), *gradients])
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_bfloat16_is_near_and_gradients_stay_float32(networks: Networks) -> None:
    generator, rows = networks.generator, _rows(networks)
    fine, coarse = (synthesize(generator, rows, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    assert coarse.dtype == torch.float32
    assert (fine - coarse).abs().mean() < 0.02 * fine.abs().mean()
    coarse.square().mean().backward()
    assert generator.convs[0].conv.weight.grad.dtype == torch.float32
    scores = [score(networks.discriminator, fine.detach(), dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    assert (scores[0] - scores[1]).abs().max() < 0.05 * scores[0].abs().max()
