"""Generators of a user's own, as ``module:function`` names them in the tests."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SIDE, LATENT = 16, 6


class Waves(nn.Module):
    """Pictures as sums of fixed cosine patterns whose weights are the latent."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(3)
        axis = torch.arange(SIDE) / SIDE
        phases = 2 * math.pi * torch.rand(LATENT, 3, 1, 1, generator=rng)
        turns = torch.randint(0, 4, (LATENT, 2), generator=rng).float()
        waves = turns[:, :1, None] * axis[:, None] + turns[:, 1:, None] * axis  # (LATENT, SIDE, SIDE)
        self.patterns = nn.Parameter(torch.cos(2 * math.pi * waves[:, None] + phases) / LATENT)

    def forward(self, w: Tensor) -> Tensor:
        return torch.einsum("bk,kchw->bchw", w, self.patterns)


class Complete(Waves):
    """The same with everything that a callable may carry."""

    resolution = SIDE
    latent_dim = LATENT
    w_mean = torch.full((LATENT,), 0.5)

    def draw_latents(self, count: int, rng: torch.Generator) -> Tensor:
        return 0.5 + 2 * torch.randn(count, LATENT, generator=rng)

    def features(self, images: Tensor) -> list[Tensor]:
        return [images, nn.functional.avg_pool2d(images, 4)]


class Sampler(Waves):
    """With latents under the other name, and neither a mean nor a count."""

    latent_dim = LATENT

    def sample_latents(self, count: int, *, rng: torch.Generator) -> Tensor:
        return 3 + torch.rand(count, LATENT, generator=rng)


def build() -> Complete:
    """A factory."""
    return Complete()


def bare() -> Waves:
    """A factory of a generator that says nothing of itself."""
    return Waves()


def plain(w: Tensor) -> Tensor:
    """The generator itself."""
    return Waves()(w)


def pyramid(images: Tensor) -> list[Tensor]:
    """Features of grey levels."""
    return [images.mean(1, keepdim=True)]


def broken() -> None:
    """A factory that fails."""
    raise RuntimeError("no weights\nat this place")


NUMBER = 3
