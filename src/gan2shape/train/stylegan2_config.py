"""Settings of a StyleGAN2 training, and the networks that it starts from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from gan2shape.errors import CheckpointError, InputError
from gan2shape.generators.discriminator import DiscriminatorConfig, StyleGAN2Discriminator
from gan2shape.generators.rosinality import read_discriminator, read_generator
from gan2shape.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator
from gan2shape.io.checkpoints import read_tensors
from gan2shape.train.run import weights_seed

CHANNELS: Mapping[int, int] = MappingProxyType({4: 128, 8: 128, 16: 96, 32: 48, 64: 24, 128: 16, 256: 12, 512: 8})
"""Channels by resolution of networks made from scratch at width 1: sized for training on a CPU."""
W_DIM, MAPPING_LAYERS = 256, 8


@dataclass(frozen=True)
class StyleGAN2Settings:
    """How to train; everything that the course of a training depends on besides data and seed."""

    batch: int = 32
    """Pictures per iteration, over all processes: a multiple of 4 in each."""
    learning_rate: float = 0.002
    """Of Adam, for both networks."""
    warm_up: int = 0
    """Iterations over which the learning rates rise from zero; for starts from weights without optimiser state."""
    critic_first: int = 0
    """Iterations at the start in which only the discriminator learns."""
    r1_gamma: float = 0.1
    """Weight of the R1 penalty (the loss is half of it times the squared gradient)."""
    r1_every: int = 16
    """Iterations between two R1 steps; the penalty is multiplied by as much."""
    r1_share: float = 0.5
    """Part of the batch that the R1 penalty is computed on."""
    mixing: float = 0.9
    """Probability that a picture takes its styles from two latents."""
    path_weight: float = 0.0
    """Weight of the path-length regularisation; 0 = none."""
    path_every: int = 4
    """Iterations between two path-length steps."""
    average_kimg: float = 10.0
    """Half-life of the generator's moving average, in thousands of pictures."""
    average_ramp: float = 0.05
    """Early in a training the half-life is at most this part of the pictures so far."""
    noise: bool = False
    """Train with random noise added in every layer."""
    mirror: bool = True
    """Mirror half of the real pictures."""
    shift: int = 0
    """Move real pictures by up to this many pixels."""

    warm_start: int = 0
    """Pictures that the generator learns from as the decoder of an autoencoder before the adversarial training."""
    reconstruction: float = 0.0
    """Weight of the autoencoder's picture distance beside the adversarial loss; 0 = none."""

    def __post_init__(self) -> None:
        counts = {"batch": self.batch, "r1_every": self.r1_every, "path_every": self.path_every}
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1; got {count}")
        weights = {
            "warm_up": self.warm_up,
            "critic_first": self.critic_first,
            "r1_gamma": self.r1_gamma,
            "path_weight": self.path_weight,
            "average_kimg": self.average_kimg,
            "average_ramp": self.average_ramp,
            "shift": self.shift,
            "warm_start": self.warm_start,
            "reconstruction": self.reconstruction,
        }
        for name, value in weights.items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be 0 or more; got {value}")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate must be between 0 and 1; got {self.learning_rate}")
        if not 0 <= self.mixing <= 1:
            raise ValueError(f"mixing must be from 0 to 1; got {self.mixing}")
        if not 0 < self.r1_share <= 1:
            raise ValueError(f"r1_share must be more than 0 and at most 1; got {self.r1_share}")

    @property
    def first(self) -> int:
        """Iteration that the adversarial training begins with."""
        return -(-self.warm_start // self.batch)


@dataclass(frozen=True, eq=False)
class Networks:
    """What a training starts from."""

    generator: StyleGAN2Generator
    """The generator to train."""
    average: StyleGAN2Generator
    """Its moving average."""
    discriminator: StyleGAN2Discriminator
    """The discriminator to train."""


def new_networks(size: int, *, width: float = 1.0, seed: int = 0) -> Networks:
    """Networks with random weights.

    Args:
        size: side of the pictures, a power of two from 8 to 512.
        width: factor on the channels of `CHANNELS`.
        seed: of the weights.

    Raises:
        ValueError: a size or width out of its range.
    """
    if size not in CHANNELS or size < 8:
        raise ValueError(f"size must be a power of two from 8 to {max(CHANNELS)}; got {size}")
    if not 0 < width <= 16:
        raise ValueError(f"width must be more than 0 and at most 16; got {width}")
    channels = {side: max(4, round(width * count)) for side, count in CHANNELS.items() if side <= size}
    config = StyleGAN2Config(size, channels, z_dim=W_DIM, w_dim=W_DIM, mapping_layers=MAPPING_LAYERS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(weights_seed(seed))
        generator = StyleGAN2Generator(config)
        discriminator = StyleGAN2Discriminator(DiscriminatorConfig(size, channels))
    return Networks(generator, _copy(generator), discriminator)


def read_networks(path: str | os.PathLike[str], *, seed: int = 0) -> Networks:
    """Networks with the weights of a file (.safetensors, .pt, .pth of the common layout).

    The generator starts from ``g`` where the file has it, else from ``g_ema``; a discriminator that is not there is
    made with the generator's channels and random weights.

    Raises:
        CheckpointError: the file cannot be read or holds no such generator.
        InputError: the discriminator has another resolution than the generator.
    """
    tensors = read_tensors(path)
    parts = {part: _under(part, tensors) for part in ("g", "g_ema", "d")}
    if not parts["g_ema"]:
        bare = tensors if "style.1.weight" in tensors else {}
        parts["g_ema"] = parts["g"] or {name: value for name, value in bare.items() if name not in _MEANS}
    if not parts["g_ema"]:
        raise CheckpointError(f"{path} holds no StyleGAN2 generator: expected 'g_ema'")
    try:
        average = read_generator(parts["g_ema"])
        generator = read_generator(parts["g"] or parts["g_ema"])
        discriminator = read_discriminator(parts["d"]) if parts["d"] else _fresh_discriminator(generator, seed)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if generator.config.residual or discriminator.config.sees_every_size:
        raise InputError(f"{path}: expected a 'skip' generator and a 'resnet' discriminator; no others can be trained")
    if discriminator.config.resolution != generator.resolution:
        raise InputError(
            f"{path}: expected a discriminator for {generator.resolution} px; got {discriminator.config.resolution} px"
        )
    return Networks(generator, average, discriminator)


_MEANS = ("w_mean", "latent_avg")


def _under(part: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    start = f"{part}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _copy(generator: StyleGAN2Generator) -> StyleGAN2Generator:
    with torch.random.fork_rng(devices=[]):
        copy = StyleGAN2Generator(generator.config)
    copy.load_state_dict(generator.state_dict())
    return copy


def _fresh_discriminator(generator: StyleGAN2Generator, seed: int) -> StyleGAN2Discriminator:
    config = DiscriminatorConfig(generator.resolution, dict(generator.config.channels))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(weights_seed(seed))
        return StyleGAN2Discriminator(config)
