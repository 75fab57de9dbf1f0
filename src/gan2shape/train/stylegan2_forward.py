"""Training passes of StyleGAN2's networks in an arithmetic of choice; parameters and their gradients stay float32.

The networks' own ``forward`` computes in float32 with the blur inside the kernels. For gradients of weights another
split is faster: up-sampling as a transposed convolution and down-sampling as a strided one, each beside a depthwise
blur, because a fused 6x6 kernel costs four times the products. On one core with bfloat16 instructions and channels
last, forward and backward of such a layer take a third of the time (``benchmarks/train_stylegan2.py``).

The activation's gain and the residual blocks' scale are folded into kernels, biases and demodulation, as leaky ReLU is
homogeneous. What is computed is the same function up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan2shape.generators.discriminator import ConvLayer, ResidualBlock, StyleGAN2Discriminator, append_deviation
from gan2shape.generators.ops import (
    ACTIVATION_GAIN,
    LEAK,
    conv_down_separate,
    demodulation,
    depthwise_blur,
    filter_power,
    fir_kernel,
    per_channel,
    upsample,
)
from gan2shape.generators.stylegan2 import StyleGAN2Generator
from gan2shape.generators.stylegan2_layers import StyledLayer, ToRGB

_RESIDUAL_SCALE = 0.5**0.5


def synthesize(
    generator: StyleGAN2Generator, rows: Tensor, *, dtype: torch.dtype, noise: Sequence[Tensor] | None = None
) -> Tensor:
    """Pictures of latents, with gradients to latents and weights.

    Args:
        generator: the network.
        rows: latents (B, num_ws, w_dim), float32.
        dtype: arithmetic of the convolutions.
        noise: one map (1 or B, 1, side, side) per layer; None adds none.

    Returns:
        (B, 3, R, R) float32, signed, not clamped.
    """
    maps: list[Tensor | None] = [None] * len(generator.config.noise_sides) if noise is None else list(noise)
    constant = generator.input.input.to(dtype).expand(rows.shape[0], -1, -1, -1)
    x = _styled(generator.conv1, constant.contiguous(memory_format=torch.channels_last), rows[:, 0], maps[0])
    rgb = _to_rgb(generator.to_rgb1, x, rows[:, 1], None)
    for block, layer in enumerate(generator.to_rgbs):
        first = 2 * block + 1
        for index in (first, first + 1):
            styled = generator.convs[index - 1]
            assert isinstance(styled, StyledLayer)
            x = _styled(styled, x, rows[:, index], maps[index])
        assert isinstance(layer, ToRGB)
        rgb = _to_rgb(layer, x, rows[:, first + 2], rgb)
    return rgb


def features(convs: nn.Sequential, images: Tensor, *, dtype: torch.dtype) -> Tensor:
    """A discriminator's ``convs``: signed pictures (B, 3, R, R) to maps (B, C, 4, 4), float32; samples do not mix."""
    x = images.to(dtype).contiguous(memory_format=torch.channels_last)
    for layer in convs:
        x = _block(layer, x) if isinstance(layer, ResidualBlock) else _conv(_as_conv(layer), x, ACTIVATION_GAIN)
    return x.float()


def head(discriminator: StyleGAN2Discriminator, maps: Tensor) -> Tensor:
    """Scores (B, 1) of the maps of `features`; the deviation within groups of samples is appended here."""
    return discriminator.final_linear(discriminator.final_conv(append_deviation(maps)).flatten(1))


def score(discriminator: StyleGAN2Discriminator, images: Tensor, *, dtype: torch.dtype) -> Tensor:
    """Scores (B, 1) of signed pictures (B, 3, R, R), float32, higher = more real."""
    return head(discriminator, features(discriminator.convs, images, dtype=dtype))


def _styled(layer: StyledLayer, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
    """One styled layer: map (B, I, H, W) to (B, O, h, w), h = H or 2H."""
    filters = layer.conv.filters()
    style = layer.conv.modulation(w)
    scale = per_channel(ACTIVATION_GAIN * demodulation(style, filter_power(filters))).to(x.dtype)
    shift = ACTIVATION_GAIN * per_channel(layer.activate.bias)
    if noise is not None:
        shift = shift + (ACTIVATION_GAIN * layer.noise.weight) * noise
    x = x * per_channel(style).to(x.dtype)
    y = _conv_up(x, filters) if layer.up else F.conv2d(x, filters.to(x.dtype), padding=1)
    return F.leaky_relu(torch.addcmul(shift.to(x.dtype), y, scale), LEAK)


def _conv_up(x: Tensor, filters: Tensor) -> Tensor:
    """Map (B, I, H, W) to (B, O, 2H, 2W): transposed convolution of stride 2, then the blur times four."""
    y = F.conv_transpose2d(x, filters.to(x.dtype).transpose(0, 1), stride=2)
    blur = (4 * fir_kernel(filters)).to(x.dtype).expand(filters.shape[0], 1, 4, 4)
    return F.conv2d(y, blur, padding=1, groups=filters.shape[0])


def _to_rgb(layer: ToRGB, x: Tensor, w: Tensor, skip: Tensor | None) -> Tensor:
    """Map (B, I, H, W) and picture so far (B, 3, H/2, W/2) to a picture (B, 3, H, W), float32."""
    style = per_channel(layer.conv.modulation(w)).to(x.dtype)
    rgb = F.conv2d(x * style, layer.conv.filters().to(x.dtype)).float() + layer.bias
    return rgb if skip is None else rgb + upsample(skip)


def _block(block: ResidualBlock, x: Tensor) -> Tensor:
    main = _conv(block.conv2, _conv(block.conv1, x, ACTIVATION_GAIN), ACTIVATION_GAIN * _RESIDUAL_SCALE)
    return main + _conv(block.skip, x, _RESIDUAL_SCALE)


def _conv(layer: ConvLayer, x: Tensor, gain: float) -> Tensor:
    """A convolutional layer with ``gain`` folded in: map (B, I, H, W) to (B, O, h, w), h = H or H // 2."""
    filters, bias = layer.filters(), layer.bias()
    kernel = (gain * filters).to(x.dtype)
    shift = None if bias is None else (gain * bias).to(x.dtype)
    if layer.down:
        y = conv_down_separate(x, kernel, depthwise_blur(filters.detach()).to(x.dtype), shift)
    else:
        y = F.conv2d(x, kernel, shift, padding=kernel.shape[-1] // 2)
    return y if bias is None else F.leaky_relu(y, LEAK)


def _as_conv(layer: object) -> ConvLayer:
    assert isinstance(layer, ConvLayer)
    return layer
