"""A generator with everything that a reconstruction can use of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.generators.protocol import FeatureExtractor, Generator, LatentOffset
from gan2shape.generators.record import GeneratorRecord
from gan2shape.generators.stylegan2 import StyleGAN2Generator
from gan2shape.generators.stylegan3 import StyleGAN3Generator

MEAN_SAMPLES = 4096
MEAN_SEED = 0


@dataclass(frozen=True, eq=False)
class LoadedGenerator:
    """A frozen generator and its optional capabilities."""

    generator: Generator
    """Latents to pictures."""
    offset: LatentOffset
    """Codes of the projection encoder to latent offsets."""
    features: FeatureExtractor | None
    """Discriminator features, or those that take their place; None where there are none."""
    w_mean: Tensor
    """Mean latent (latent_dim,)."""
    name: str
    """"bundled", the file's name, or ``module:function``."""
    sha256: str
    """SHA-256 of the file, in hexadecimal; empty for a generator that is no file."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Sizes, credits and what is missing, for people: plain values only."""
    draw_latents: Callable[[int, torch.Generator], Tensor] | None = None
    """Count and random generator to untruncated latents (count, latent_dim); None where a GAN has no prior."""
    class_index: int | None = None
    """Which class of a conditional generator this one draws, the one of a converted file too; None for others."""
    source_sha256: str = ""
    """Of the file that this one was converted from, as its header says; empty for any other."""
    features_from: str = ""
    """Where features come from that took the place of the checkpoint's own; empty for those or none."""

    @property
    def record(self) -> GeneratorRecord:
        """What a result keeps of this generator."""
        return GeneratorRecord(self.name, self.sha256, self.class_index, self.features_from, self.source_sha256)

    @property
    def identity(self) -> str:
        """What a result must have been made with, to go on with this generator; a converted file is its source."""
        return self.record.identity

    def sample_latents(self, count: int, *, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Random latents (count, latent_dim), moved towards the mean: ``mean + truncation (w - mean)``.

        Raises:
            InputError: the generator has no prior to draw from.
            ValueError: `count` is not positive.
        """
        if self.draw_latents is None:
            raise InputError(f"the generator {self.name} has no prior to draw latents from")
        if count < 1:
            raise ValueError(f"count must be positive; got {count}")
        return self.w_mean + truncation * (self.draw_latents(count, rng) - self.w_mean)


@torch.no_grad()
def latent_mean(
    generator: StyleGAN2Generator | StyleGAN3Generator, count: int = MEAN_SAMPLES, seed: int = MEAN_SEED
) -> Tensor:
    """Mean (latent_dim,) of `count` mapped normals, the same for the same seed."""
    z = normals(count, generator.config.z_dim, latent_rng(seed))
    return generator.map(z.to(next(generator.style.parameters()))).mean(0)


def latent_rng(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The random generator, on a device, that draws the latents of a user's seed: made from a hash of it.

    The seed itself will not do. Networks that were initialised under it, as the bundled generator's were under 0, began
    with the very numbers that it draws, and a mapping network hardly moves from them: such a latent is a row of one of
    its layers, and lies twice as far from the mean as others do.
    """
    digest = hashlib.blake2b(f"latents/{seed}".encode(), digest_size=7).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little"))


def normals(count: int, width: int, rng: torch.Generator) -> Tensor:
    """Standard normal numbers (count, width), on the device of `rng`."""
    return torch.randn(count, width, generator=rng, device=rng.device)
