"""A warm start for a generator: an unlabelled variational autoencoder whose decoder it is (Kingma and Welling, 2014).

The posterior is over z, in front of the mapping network, with the normal prior that adversarial training draws from;
so what the decoder learns to show for samples of the prior is where that training begins. Pictures are compared by
absolute differences on four scales, of levels and of neighbours' differences. It sees pictures and nothing else.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan2shape.generators.discriminator import DiscriminatorConfig, StyleGAN2Discriminator
from gan2shape.generators.ops import EqualLinear
from gan2shape.generators.stylegan2 import StyleGAN2Generator
from gan2shape.train.run import weights_seed
from gan2shape.train.stylegan2_forward import features, synthesize

SCALES = 4
PICTURE_WEIGHT = 1500.0
"""Of `picture_distance` against the divergence in nats of a whole picture."""
DIVERGENCE_WEIGHTS = (1.0, 0.1)
"""Of the divergence, in the first and the second half of a warm start: order first, detail then."""
_FIRST_LOG_VARIANCE = -2.0


class Encoder(nn.Module):
    """A discriminator's convolutions with a head for the mean and the log-variance of z."""

    def __init__(self, config: DiscriminatorConfig, z_dim: int) -> None:
        super().__init__()
        self.convs = StyleGAN2Discriminator(config).convs
        width = config.channels[4]
        self.head = nn.Sequential(EqualLinear(16 * width, 2 * width, activated=True), EqualLinear(2 * width, 2 * z_dim))
        with torch.no_grad():
            bias = self.head[1].bias
            assert isinstance(bias, nn.Parameter)
            bias[z_dim:] = _FIRST_LOG_VARIANCE

    def posterior(self, images: Tensor, *, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Signed pictures (B, 3, R, R) to mean and log-variance of z, each (B, z_dim); convolutions in ``dtype``."""
        mean, log_variance = self.head(features(self.convs, images, dtype=dtype).flatten(1)).chunk(2, 1)
        return mean, log_variance


def new_encoder(generator: StyleGAN2Generator, seed: int) -> Encoder:
    """An encoder with the generator's channels; its random weights come from ``seed``."""
    config = DiscriminatorConfig(generator.resolution, dict(generator.config.channels))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(weights_seed(seed, "autoencoder"))
        return Encoder(config, generator.config.z_dim)


def sample_posterior(mean: Tensor, log_variance: Tensor, *, rng: torch.Generator) -> Tensor:
    """One z (B, z_dim) per posterior, differentiable by its mean and log-variance (B, z_dim)."""
    return mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=rng, device=rng.device)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of normal posteriors (B, z_dim) from the unit normal, nats, batch mean."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()


def picture_distance(images: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of pictures (B, 3, H, W) and of their gradients, averaged over `SCALES` scales.

    A scale is half the one before (2x2 means); a gradient is the difference of two neighbours.
    """
    total = images.new_zeros(())
    error = images - target
    for scale in range(SCALES):
        error = F.avg_pool2d(error, 2) if scale else error
        rows, columns = error.diff(dim=2), error.diff(dim=3)
        total = total + error.abs().mean() + rows.abs().mean() + columns.abs().mean()
    return total / SCALES


def autoencoder_loss(
    encoder: Encoder,
    generator: StyleGAN2Generator,
    images: Tensor,
    divergence_weight: float,
    *,
    dtype: torch.dtype,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """The autoencoder's loss on signed pictures (B, 3, R, R).

    Returns:
        ``PICTURE_WEIGHT * distance + divergence_weight * divergence``, the distance and the divergence: scalars.
    """
    mean, log_variance = encoder.posterior(images, dtype=dtype)
    w = generator.map(sample_posterior(mean, log_variance, rng=rng))
    rows = w[:, None].expand(-1, generator.config.num_ws, -1)
    distance = picture_distance(synthesize(generator, rows, dtype=dtype), images)
    nats = divergence(mean, log_variance)
    return PICTURE_WEIGHT * distance + divergence_weight * nats, distance, nats
