"""Step 2 on known arithmetic: a generator that is linear in its latent, and what draws pseudo samples for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gan2shape.generators.offsets import DirectOffset
from gan2shape.networks import ResidualEncoder
from gan2shape.priors import LightingPrior, PosePrior
from gan2shape.reconstruct.step2_projection import Projector, Sampler
from gan2shape.reconstruct.target import Framing, Target
from gan2shape.render import Camera, DepthRange
from gan2shape.render.units import PoseRange
from tests.reconstruct.small import CAMERA, SIZE, disc


def sampler(use_mask: bool = False, camera: Camera = CAMERA, **priors: Any) -> Sampler:
    """Draws pseudo samples with the generic priors, or those that are named."""
    parts = {"pose": PosePrior(), "lighting": LightingPrior(), **priors}
    return Sampler(camera, DepthRange(), PoseRange(), use_mask=use_mask, **parts)


def seeded(seed: int = 0) -> torch.Generator:
    """A random generator."""
    return torch.Generator().manual_seed(seed)


class Affine:
    """A generator whose pictures are linear in the latent, rows of a w+ averaged."""

    resolution = SIZE
    latent_dim = 4

    def __init__(self) -> None:
        self.basis = torch.randn(4, 3 * SIZE * SIZE, generator=seeded(5)) * 0.2

    def synthesize(self, w: Tensor) -> Tensor:
        """Latents (B, 4) or (B, L, 4) to pictures (B, 3, 32, 32)."""
        rows = w if w.ndim == 2 else w.mean(1)
        return (rows @ self.basis).view(-1, 3, SIZE, SIZE)


def affine_projector(relative: bool, seed: int = 0) -> Projector:
    """E of a few channels before that generator."""
    torch.manual_seed(seed)
    encoder = ResidualEncoder(4, SIZE, 4)
    return Projector(encoder, DirectOffset(4), Affine(), Framing(SIZE, SIZE, SIZE), relative)


def affine_target(rows: int | None = None) -> Target:
    """A grey picture with some latent of that generator, a w+ of ``rows`` rows if named."""
    shape = (1, 4) if rows is None else (1, rows, 4)
    return Target(torch.zeros(1, 3, SIZE, SIZE), torch.randn(shape, generator=seeded(6)), disc())
