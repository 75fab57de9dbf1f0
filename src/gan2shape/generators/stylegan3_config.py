"""StyleGAN3's sizes and the schedule of its layers (Karras et al., NeurIPS 2021, section 3.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gan2shape.generators.mapping import LARGEST_LATENT

RGB = 3
LARGEST_MARGIN = 100
"""Ten times the published one; the margin is painted at every layer."""


@dataclass(frozen=True)
class StyleGAN3Config:
    """Sizes of a generator; the defaults are those of every published one."""

    resolution: int
    """Side of the pictures in pixels: a power of two from 16 to 1024."""
    channels: tuple[int, ...]
    """Count of channels after each layer but the last, which gives RGB; the input has as many as the first."""
    z_dim: int = 512
    """Count of normal numbers that the mapping network takes."""
    w_dim: int = 512
    """Count of numbers in a latent w."""
    mapping_layers: int = 2
    """Count of linear layers in the mapping network."""
    kernel_size: int = 3
    """Side of the convolutions: 3 for configuration T (translation), 1 for R (rotation)."""
    radial: bool = False
    """Radially symmetric filters after the activation, as in configuration R."""
    critical_layers: int = 2
    """Layers at the end whose cutoff is half the sampling rate."""
    margin: int = 10
    """Samples around the picture at every sampling rate."""
    output_scale: float = 0.25
    """Factor of the last layer's result."""
    clamp: float | None = 256.0
    """Largest magnitude after an activation; None means any."""

    def __post_init__(self) -> None:
        if self.resolution not in (16, 32, 64, 128, 256, 512, 1024):
            raise ValueError(f"resolution must be a power of two from 16 to 1024; got {self.resolution}")
        if len(self.channels) <= self.critical_layers or self.critical_layers < 1:
            raise ValueError(f"{len(self.channels)} layers are too few for {self.critical_layers} critical ones")
        if min(*self.channels, self.z_dim, self.w_dim, self.mapping_layers) < 1 or self.margin < 0:
            raise ValueError("channels, z_dim, w_dim and mapping_layers must be positive, margin not negative")
        if max(self.z_dim, self.w_dim) > LARGEST_LATENT:
            raise ValueError(f"z_dim and w_dim must be at most {LARGEST_LATENT}; got {self.z_dim} and {self.w_dim}")
        if self.margin > LARGEST_MARGIN:
            raise ValueError(f"margin must be at most {LARGEST_MARGIN} samples; got {self.margin}")
        if self.clamp is not None and not self.clamp > 0:
            raise ValueError(f"clamp must be positive or None; got {self.clamp}")
        if self.kernel_size not in (1, 3):
            raise ValueError(f"kernel_size must be 1 or 3; got {self.kernel_size}")

    @property
    def num_ws(self) -> int:
        """Count of latent rows: one for the input, one for every layer."""
        return len(self.channels) + 2


@dataclass(frozen=True)
class Band:
    """A layer's place in the schedule; lengths in units of the picture's side, frequencies in cycles per side."""

    cutoff: float
    """Frequencies up to here are kept."""
    half_width: float
    """Half the width of the transition band around the cutoff."""
    rate: int
    """Samples per side of the picture."""
    size: int
    """Samples per side with the margins."""


@dataclass(frozen=True)
class LayerPlan:
    """One layer: from which band to which, and with how many channels."""

    source: Band
    target: Band
    in_channels: int
    out_channels: int
    to_rgb: bool
    critical: bool

    def name(self, index: int) -> str:
        """Its name in a checkpoint: number, size and channels."""
        return f"L{index}_{self.target.size}_{self.out_channels}"


FIRST_CUTOFF = 2.0
FIRST_STOPBAND = 2.0**2.1
LAST_STOPBAND = 2.0**0.3
"""Relative to the last cutoff, which is half the resolution."""


def bands(config: StyleGAN3Config) -> list[Band]:
    """The band after every layer, the to-RGB layer included; the input layer has the first one too."""
    count, last = len(config.channels), config.resolution / 2
    found = []
    for index in range(count + 1):
        exponent = min(index / (count - config.critical_layers), 1.0)
        cutoff = FIRST_CUTOFF * (last / FIRST_CUTOFF) ** exponent
        stopband = FIRST_STOPBAND * (last * LAST_STOPBAND / FIRST_STOPBAND) ** exponent
        rate = 2 ** math.ceil(math.log2(min(2 * stopband, config.resolution)))
        size = config.resolution if index >= count - 1 else rate + 2 * config.margin
        found.append(Band(cutoff, max(stopband, rate / 2) - cutoff, rate, size))
    return found


def layer_plans(config: StyleGAN3Config) -> list[LayerPlan]:
    """Every layer after the input, the to-RGB layer last."""
    found = bands(config)
    widths = (config.channels[0], *config.channels, RGB)
    return [
        LayerPlan(
            source=found[max(index - 1, 0)],
            target=found[index],
            in_channels=widths[index],
            out_channels=widths[index + 1],
            to_rgb=index == len(config.channels),
            critical=index >= len(config.channels) - config.critical_layers,
        )
        for index in range(len(found))
    ]
