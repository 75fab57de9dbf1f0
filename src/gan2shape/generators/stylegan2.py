"""StyleGAN2's synthesis network with its mapping (Karras et al., CVPR 2020), for training and for frozen use.

Parameters carry the names of the common PyTorch checkpoint layout (``style.1.weight``, ``convs.0.conv.weight``, ...),
so a state dict of that layout loads as it is. `StyleGAN2Generator` can be trained; `StyleGAN2Generator.frozen` returns
the same function with kernels fused once, no trainable parameter, and an arithmetic of choice.

Latent rows: row 0 of ``num_ws = 2 log2(R) - 2`` feeds the 4x4 convolution and row 1 its to-RGB layer; the block at
8, 16, ... pixels uses rows i, i+1 and i+2 with i = 1, 3, ..., so a to-RGB row is also the next block's first row.

The residual architecture ("resnet" in NVIDIA's programs) has a shortcut around every block from 8 pixels on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gan2shape.generators.mapping import LARGEST_LATENT, MappingNetwork
from gan2shape.generators.stylegan2_layers import (
    ConstantInput,
    FrozenLayer,
    FrozenShortcut,
    FrozenToRGB,
    Shortcut,
    StyledLayer,
    ToRGB,
)

NOISE_SEED = 0

_Layer = Callable[[Tensor, Tensor], Tensor]
_ToRGB = Callable[[Tensor, Tensor, "Tensor | None"], Tensor]
_Shortcut = Callable[[Tensor], Tensor]
_RESIDUAL_SCALE = 1 / math.sqrt(2.0)


@dataclass(frozen=True)
class StyleGAN2Config:
    """Sizes of a generator; all of them can be read from its tensors."""

    resolution: int
    """Side of the pictures in pixels: a power of two from 8 to 1024."""
    channels: Mapping[int, int]
    """Count of channels at every resolution 4, 8, ... up to `resolution`."""
    z_dim: int = 512
    """Count of normal numbers that the mapping network takes."""
    w_dim: int = 512
    """Count of numbers in a latent w."""
    mapping_layers: int = 8
    """Count of linear layers in the mapping network, PixelNorm not counted."""
    residual: bool = False
    """Whether the blocks from 8 pixels on have shortcuts."""

    def __post_init__(self) -> None:
        if self.resolution not in (8, 16, 32, 64, 128, 256, 512, 1024):
            raise ValueError(f"resolution must be a power of two from 8 to 1024; got {self.resolution}")
        missing = [side for side in self.resolutions if self.channels.get(side, 0) < 1]
        if missing:
            raise ValueError(f"channels must name a positive count for every resolution; missing {missing}")
        if min(self.z_dim, self.w_dim, self.mapping_layers) < 1:
            raise ValueError("z_dim, w_dim and mapping_layers must be positive")
        if max(self.z_dim, self.w_dim) > LARGEST_LATENT:
            raise ValueError(f"z_dim and w_dim must be at most {LARGEST_LATENT}; got {self.z_dim} and {self.w_dim}")

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, ... up to `resolution`."""
        return tuple(2**level for level in range(2, int(math.log2(self.resolution)) + 1))

    @property
    def weight_count(self) -> int:
        """How many weights the mapping network and the 3x3 convolutions have, which are nearly all."""
        mapping = self.w_dim * (self.z_dim + (self.mapping_layers - 1) * self.w_dim)
        widths = [self.channels[side] for side in self.resolutions]
        pairs = zip(widths[:1] + widths[:-1], widths, strict=True)
        return mapping + sum(9 * (before + width) * width for before, width in pairs)

    @property
    def num_ws(self) -> int:
        """Count of latent rows that the layers of the synthesis network can tell apart."""
        return 2 * int(math.log2(self.resolution)) - 2

    @property
    def noise_sides(self) -> tuple[int, ...]:
        """Side in pixels of each layer's noise map: 4, 8, 8, 16, 16, ..."""
        return (4, *(side for side in self.resolutions[1:] for _ in range(2)))


class StyleGAN2Generator(nn.Module):
    """The trainable generator. Weights start from torch's global random state, noise maps from a fixed seed."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.style = MappingNetwork(config.z_dim, config.w_dim, config.mapping_layers)
        self.input = ConstantInput(channels[4])
        self.conv1 = StyledLayer(channels[4], channels[4], config.w_dim)
        self.to_rgb1 = ToRGB(channels[4], config.w_dim)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for side in config.resolutions[1:]:
            self.convs.append(StyledLayer(channels[side // 2], channels[side], config.w_dim, up=True))
            self.convs.append(StyledLayer(channels[side], channels[side], config.w_dim))
            self.to_rgbs.append(ToRGB(channels[side], config.w_dim))
        later = config.resolutions[1:] if config.residual else ()
        self.skips = nn.ModuleList(Shortcut(channels[side // 2], channels[side]) for side in later)
        self.noises = nn.Module()
        rng = torch.Generator().manual_seed(NOISE_SEED)
        for index, side in enumerate(config.noise_sides):
            self.noises.register_buffer(f"noise_{index}", torch.randn(1, 1, side, side, generator=rng))

    @property
    def resolution(self) -> int:
        """Side of the pictures in pixels."""
        return self.config.resolution

    @property
    def latent_dim(self) -> int:
        """Count of numbers in one latent row."""
        return self.config.w_dim

    def fixed_noise(self) -> list[Tensor]:
        """The noise maps (1, 1, side, side), one per layer."""
        return [self.noises.get_buffer(f"noise_{index}") for index in range(len(self.config.noise_sides))]

    def map(self, z: Tensor) -> Tensor:
        """Normal numbers (B, z_dim) to latents (B, w_dim)."""
        return self.style.entries(z, 0, self.style.layers)

    def synthesize(self, w: Tensor, *, noise: Sequence[Tensor] | None = None) -> Tensor:
        """Latents (B, w_dim) or (B, num_ws, w_dim) to pictures (B, 3, R, R), signed, not clamped.

        `noise` holds one map (1 or B, 1, side, side) per layer, sides as in the config; None means the fixed maps.
        Raises ValueError for latents of another shape.
        """
        maps = self.fixed_noise() if noise is None else noise
        styled = [self.conv1, *self.convs]
        layers = [_with_noise(layer, noise_map) for layer, noise_map in zip(styled, maps, strict=True)]
        rows = _latent_rows(w, self.config)
        return _synthesize(self.input.input, layers, [self.to_rgb1, *self.to_rgbs], list(self.skips), rows)

    def forward(self, w: Tensor) -> Tensor:
        """The same as `synthesize` with the fixed noise."""
        return self.synthesize(w)

    def frozen(self, dtype: torch.dtype = torch.float32) -> FrozenStyleGAN2:
        """The same function with fused kernels and without trainable parameters, computing in `dtype`."""
        return FrozenStyleGAN2(self, dtype)


class FrozenStyleGAN2(nn.Module):
    """A generator whose kernels were fused once; gradients reach the latents and never the weights."""

    def __init__(self, source: StyleGAN2Generator, dtype: torch.dtype) -> None:
        super().__init__()
        self.config = source.config
        mapping = MappingNetwork(self.config.z_dim, self.config.w_dim, self.config.mapping_layers)
        mapping.to(device=source.input.input.device, dtype=source.input.input.dtype)
        mapping.load_state_dict(source.style.state_dict())
        self.style = mapping
        constant = source.input.input.detach().to(dtype)
        self.constant: Tensor
        self.register_buffer("constant", constant.contiguous(memory_format=torch.channels_last))
        styled = zip([source.conv1, *source.convs], source.fixed_noise(), strict=True)
        self.layers = nn.ModuleList(FrozenLayer(layer, noise, dtype) for layer, noise in styled)
        self.to_rgb = nn.ModuleList(FrozenToRGB(layer, dtype) for layer in [source.to_rgb1, *source.to_rgbs])
        shortcuts = [layer for layer in source.skips if isinstance(layer, Shortcut)]
        self.skips = nn.ModuleList(FrozenShortcut(layer, dtype) for layer in shortcuts)
        self.eval().requires_grad_(False)

    @property
    def resolution(self) -> int:
        """Side of the pictures in pixels."""
        return self.config.resolution

    @property
    def latent_dim(self) -> int:
        """Count of numbers in one latent row."""
        return self.config.w_dim

    @property
    def num_ws(self) -> int:
        """Count of rows in a latent with one row per layer."""
        return self.config.num_ws

    def map(self, z: Tensor) -> Tensor:
        """Normal numbers (B, z_dim) to latents (B, w_dim)."""
        return self.style.entries(z, 0, self.style.layers)

    def synthesize(self, w: Tensor) -> Tensor:
        """Latents (B, w_dim) or (B, num_ws, w_dim) to pictures (B, 3, R, R), signed, not clamped, w's dtype.

        Raises ValueError for latents of another shape.
        """
        rows = _latent_rows(w, self.config).to(self.style.dtype)
        return _synthesize(self.constant, list(self.layers), list(self.to_rgb), list(self.skips), rows).to(w.dtype)

    def forward(self, w: Tensor) -> Tensor:
        """The same as `synthesize`."""
        return self.synthesize(w)


def _synthesize(
    constant: Tensor,
    layers: Sequence[_Layer],
    to_rgb: Sequence[_ToRGB],
    shortcuts: Sequence[_Shortcut],
    rows: Tensor,
) -> Tensor:
    """The synthesis network: constant (1, C, 4, 4), 2n-1 layers, n to-RGB layers, latents (B, 2n, w_dim).

    There are n-1 shortcuts, or none.
    """
    x = layers[0](constant.expand(rows.shape[0], -1, -1, -1), rows[:, 0])
    rgb = to_rgb[0](x, rows[:, 1], None)
    for block in range(1, len(to_rgb)):
        first = 2 * block - 1
        y = layers[first + 1](layers[first](x, rows[:, first]), rows[:, first + 1])
        x = (y + shortcuts[block - 1](x)) * _RESIDUAL_SCALE if shortcuts else y
        rgb = to_rgb[block](x, rows[:, first + 2], rgb)
    return rgb


def _with_noise(layer: nn.Module, noise: Tensor) -> _Layer:
    """A styled layer that always sees `noise`."""
    return lambda x, w: layer(x, w, noise)


def _latent_rows(w: Tensor, config: StyleGAN2Config) -> Tensor:
    """Latents as (B, num_ws, w_dim), whatever of the two forms they came in."""
    if w.ndim == 2 and w.shape[1] == config.w_dim:
        return w[:, None].expand(-1, config.num_ws, -1)
    if w.ndim == 3 and w.shape[1:] == (config.num_ws, config.w_dim):
        return w
    expected = f"(B, {config.w_dim}) or (B, {config.num_ws}, {config.w_dim})"
    raise ValueError(f"w must be {expected}; got {tuple(w.shape)}")
