"""StyleGAN2's synthesis network with its mapping (Karras et al., CVPR 2020), for training and for frozen use.

Parameters carry the names of the common PyTorch checkpoint layout (``style.1.weight``, ``convs.0.conv.weight``, ...),
so a state dict of that layout loads as it is. `StyleGAN2Generator` can be trained; `StyleGAN2Generator.frozen` returns
the same function with kernels fused once, no trainable parameter, and an arithmetic of choice.

Latent rows: row 0 of ``num_ws = 2 log2(R) - 2`` feeds the 4x4 convolution and row 1 its to-RGB layer; the block at
8, 16, ... pixels uses rows i, i+1 and i+2 with i = 1, 3, ..., so a to-RGB row is also the next block's first row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan2shape.generators.mapping import MappingNetwork
from gan2shape.generators.ops import (
    ACTIVATION_GAIN,
    LEAK,
    EqualLinear,
    activate,
    conv_up,
    demodulation,
    filter_power,
    fuse_up,
    per_channel,
    upsample,
)

NOISE_SEED = 0

_Layer = Callable[[Tensor, Tensor], Tensor]
_ToRGB = Callable[[Tensor, Tensor, "Tensor | None"], Tensor]


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

    def __post_init__(self) -> None:
        if self.resolution not in (8, 16, 32, 64, 128, 256, 512, 1024):
            raise ValueError(f"resolution must be a power of two from 8 to 1024; got {self.resolution}")
        missing = [side for side in self.resolutions if self.channels.get(side, 0) < 1]
        if missing:
            raise ValueError(f"channels must name a positive count for every resolution; missing {missing}")
        if min(self.z_dim, self.w_dim, self.mapping_layers) < 1:
            raise ValueError("z_dim, w_dim and mapping_layers must be positive")

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, ... up to `resolution`."""
        return tuple(2**level for level in range(2, int(math.log2(self.resolution)) + 1))

    @property
    def num_ws(self) -> int:
        """Count of latent rows that the layers of the synthesis network can tell apart."""
        return 2 * int(math.log2(self.resolution)) - 2

    @property
    def noise_sides(self) -> tuple[int, ...]:
        """Side in pixels of each layer's noise map: 4, 8, 8, 16, 16, ..."""
        return (4, *(side for side in self.resolutions[1:] for _ in range(2)))


class ModulatedConv(nn.Module):
    """Weights of a modulated convolution: filters (1, O, I, k, k) and the affine map from w to the style (B, I)."""

    def __init__(self, in_channels: int, out_channels: int, size: int, w_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, out_channels, in_channels, size, size))
        self.modulation = EqualLinear(w_dim, in_channels, bias=1.0)

    def filters(self) -> Tensor:
        """Filters (O, I, k, k) with their run-time scale ``1 / sqrt(I k k)``."""
        return self.weight[0] / math.sqrt(self.weight[0, 0].numel())


class NoiseStrength(nn.Module):
    """One learned factor for a layer's noise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class ChannelBias(nn.Module):
    """Bias (C,) that is added before an activation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))


class ConstantInput(nn.Module):
    """The learned 4x4 map (1, C, 4, 4) that synthesis starts from."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class StyledLayer(nn.Module):
    """Modulated 3x3 convolution, perhaps up-sampling by two, then noise, bias and activation."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(in_channels, out_channels, 3, w_dim)
        self.noise = NoiseStrength()
        self.activate = ChannelBias(out_channels)
        self.up = up

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """Map (B, I, H, W), latents (B, w_dim) and noise (1 or B, 1, h, w) to (B, O, h, w), h = H or 2H."""
        filters = self.conv.filters()
        style = self.conv.modulation(w)
        x = x * per_channel(style)
        y = conv_up(x, fuse_up(filters)) if self.up else F.conv2d(x, filters, padding=1)
        y = y * per_channel(demodulation(style, filter_power(filters)))
        return activate(y + self.noise.weight * noise + per_channel(self.activate.bias))


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to RGB without demodulation, added to the up-sampled picture so far."""

    def __init__(self, in_channels: int, w_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(in_channels, 3, 1, w_dim)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, w: Tensor, skip: Tensor | None) -> Tensor:
        """Map (B, I, H, W), latents (B, w_dim) and picture (B, 3, H/2, W/2) or None to a picture (B, 3, H, W)."""
        rgb = F.conv2d(x * per_channel(self.conv.modulation(w)), self.conv.filters()) + self.bias
        return rgb if skip is None else rgb + upsample(skip)


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
        return _synthesize(self.input.input, layers, [self.to_rgb1, *self.to_rgbs], _latent_rows(w, self.config))

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
        self.layers = nn.ModuleList(_FrozenLayer(layer, noise, dtype) for layer, noise in styled)
        self.to_rgb = nn.ModuleList(_FrozenToRGB(layer, dtype) for layer in [source.to_rgb1, *source.to_rgbs])
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
        return _synthesize(self.constant, list(self.layers), list(self.to_rgb), rows).to(w.dtype)

    def forward(self, w: Tensor) -> Tensor:
        """The same as `synthesize`."""
        return self.synthesize(w)


class _FrozenLayer(nn.Module):
    """`StyledLayer` with the activation's gain folded into demodulation, noise and bias (leaky ReLU is homogeneous)."""

    def __init__(self, layer: StyledLayer, noise: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        with torch.no_grad():
            filters = layer.conv.filters()
            kernel = fuse_up(filters) if layer.up else filters
            weight, bias = layer.conv.modulation.effective()
            shift = per_channel(layer.activate.bias) + layer.noise.weight * noise
            if not bool(layer.noise.weight.any()):
                shift = per_channel(layer.activate.bias)
            self.kernel: Tensor
            self.affine_weight: Tensor
            self.affine_bias: Tensor
            self.power: Tensor
            self.shift: Tensor
            self.register_buffer("kernel", kernel.to(dtype).contiguous(memory_format=torch.channels_last))
            self.register_buffer("affine_weight", weight.clone())
            self.register_buffer("affine_bias", bias.clone())
            # The frozen kernel's own rounding is left out of the demodulation on purpose: it averages out.
            self.register_buffer("power", filter_power(filters))
            self.register_buffer("shift", (ACTIVATION_GAIN * shift).to(dtype))
        self.up = layer.up

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map (B, I, H, W) and latents (B, w_dim) to (B, O, h, w), h = H or 2H."""
        style = F.linear(w, self.affine_weight, self.affine_bias)
        x = x * per_channel(style).to(x.dtype)
        y = conv_up(x, self.kernel) if self.up else F.conv2d(x, self.kernel, padding=1)
        scale = ACTIVATION_GAIN * demodulation(style, self.power)
        return F.leaky_relu(torch.addcmul(self.shift, y, per_channel(scale).to(y.dtype)), LEAK)


class _FrozenToRGB(nn.Module):
    """`ToRGB` whose sum of pictures stays in the latents' dtype."""

    def __init__(self, layer: ToRGB, dtype: torch.dtype) -> None:
        super().__init__()
        with torch.no_grad():
            weight, bias = layer.conv.modulation.effective()
            self.kernel: Tensor
            self.affine_weight: Tensor
            self.affine_bias: Tensor
            self.bias: Tensor
            self.register_buffer("kernel", layer.conv.filters().to(dtype).contiguous(memory_format=torch.channels_last))
            self.register_buffer("affine_weight", weight.clone())
            self.register_buffer("affine_bias", bias.clone())
            self.register_buffer("bias", layer.bias.detach().clone())

    def forward(self, x: Tensor, w: Tensor, skip: Tensor | None) -> Tensor:
        """Map (B, I, H, W), latents (B, w_dim) and picture (B, 3, H/2, W/2) or None to a picture (B, 3, H, W)."""
        style = per_channel(F.linear(w, self.affine_weight, self.affine_bias)).to(x.dtype)
        rgb = F.conv2d(x * style, self.kernel).to(w.dtype) + self.bias
        return rgb if skip is None else rgb + upsample(skip)


def _synthesize(constant: Tensor, layers: Sequence[_Layer], to_rgb: Sequence[_ToRGB], rows: Tensor) -> Tensor:
    """The synthesis network: constant (1, C, 4, 4), 2n-1 layers, n to-RGB layers, latents (B, 2n, w_dim)."""
    x = layers[0](constant.expand(rows.shape[0], -1, -1, -1), rows[:, 0])
    rgb = to_rgb[0](x, rows[:, 1], None)
    for block in range(1, len(to_rgb)):
        first = 2 * block - 1
        x = layers[first](x, rows[:, first])
        x = layers[first + 1](x, rows[:, first + 1])
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
