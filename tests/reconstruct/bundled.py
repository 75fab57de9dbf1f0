"""The bundled generator with its networks, a picture that it makes, and reconstructions that take a moment."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan2shape.generators import LoadedGenerator, load_generator
from gan2shape.networks.one_pass import TurnedStart
from gan2shape.reconstruct.config import Inversion, Turned
from gan2shape.reconstruct.pipeline import Job
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.reconstruct.target import Target
from gan2shape.reconstruct.turned import load_start
from tests.reconstruct.small import disc

SIDE = 64
QUICK = replace(
    PRESETS["default"],
    turned=Turned(views=4, refine=3, refinements=1, hold=0, batch_size=2),
    inversion=Inversion(encoder=True, samples=4, restarts=1, survey_steps=1, narrow_steps=0, final_steps=2),
)


@cache
def bundled() -> LoadedGenerator:
    """Loaded once for all tests; nothing changes it."""
    return load_generator()


@cache
def bundled_start() -> TurnedStart:
    """Its networks and directions."""
    return load_start(bundled())


def own_target(seed: int = 3) -> Target:
    """A typical picture of the bundled generator with its latent, and a disc for a mask."""
    loaded = bundled()
    latent = loaded.sample_latents(1, rng=torch.Generator().manual_seed(seed), truncation=0.7)
    with torch.no_grad():
        return Target(loaded.generator.synthesize(latent).clamp(-1, 1), latent, disc(SIDE))


def own_job(folder: Path, *, known: bool = True, **changed: Any) -> Job:
    """A job with `own_target`."""
    target = own_target()

    def masker(image: Tensor) -> Tensor:
        return target.mask

    return replace(Job(target.image, folder, masker, target.latent if known else None), **changed)
