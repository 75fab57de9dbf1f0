"""Losses of StyleGAN2's training (Karras et al., CVPR 2020): logistic, R1 and path length, and the moving average."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATH_DECAY = 0.01
"""Weight of the newest mean in the running mean of path lengths (Karras et al., appendix B)."""


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Logistic loss of the discriminator: ``mean softplus(-real) + mean softplus(fake)`` of scores (B, 1)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Non-saturating loss of the generator: ``mean softplus(-fake)`` of scores (B, 1)."""
    return F.softplus(-fake).mean()


def r1_penalty(critic: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Mean over samples of the squared norm of the scores' gradient at real pictures (Mescheder et al., ICML 2018).

    Args:
        critic: pictures (B, 3, H, W) to scores (B, 1), twice differentiable.
        images: real pictures.

    Returns:
        A scalar whose gradient reaches the critic's weights; the loss is ``gamma / 2`` times this.
    """
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def path_lengths(images: Tensor, latents: Tensor, noise: Tensor) -> Tensor:
    """Length of ``J^T y`` per sample, ``J`` the derivative of pictures by latents and ``y`` random pictures.

    Args:
        images: (B, 3, H, W), a differentiable function of ``latents``.
        latents: (B, num_ws, w_dim); the length is the root of the mean over rows of the squared norm of each row.
        noise: unit normals (B, 3, H, W); they are scaled by ``1 / sqrt(H W)`` so that a length does not depend on
            the resolution.

    Returns:
        (B,), differentiable by whatever made the pictures.
    """
    scaled = noise / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * scaled).sum(), latents, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


def path_penalty(lengths: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Squared deviation of path lengths from their running mean.

    Args:
        lengths: (B,) of `path_lengths`.
        mean: running mean (), zero in the beginning.

    Returns:
        The penalty (a differentiable scalar), and the new running mean (), detached.
    """
    new_mean = mean + PATH_DECAY * (lengths.detach().mean() - mean)
    return (lengths - new_mean).square().mean(), new_mean


def average_decay(batch: int, half_life: float, pictures_done: float, ramp_up: float) -> float:
    """Decay of the generator's moving average for one iteration.

    Args:
        batch: pictures of one iteration.
        half_life: pictures after which a weight has half its influence.
        pictures_done: pictures so far; early on the half-life is at most ``ramp_up`` times this.
        ramp_up: as above; 0 switches the ramp off.

    Returns:
        ``0.5 ** (batch / half-life)``, from 0 to 1; 0 copies.
    """
    if ramp_up > 0:
        half_life = min(half_life, ramp_up * pictures_done)
    return 0.5 ** (batch / half_life) if half_life > 0 else 0.0


@torch.no_grad()
def update_average(average: nn.Module, current: nn.Module, decay: float) -> None:
    """``average = decay average + (1 - decay) current`` for parameters; buffers are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(current.parameters()), 1 - decay)
    for kept, new in zip(average.buffers(), current.buffers(), strict=True):
        kept.copy_(new)
