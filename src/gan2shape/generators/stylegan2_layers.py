"""The layers of StyleGAN2's synthesis network (Karras et al., CVPR 2020), trainable and frozen.

A frozen layer has its kernel fused once, no trainable parameter, and the activation's gain folded into its
demodulation, noise and bias (leaky ReLU is homogeneous).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


class Shortcut(nn.Module):
    """The way around a block of the residual architecture: 1x1 convolution without bias, then up-sampling by two."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, I, H, W) to (B, O, 2H, 2W)."""
        return upsample(F.conv2d(x, self.weight / math.sqrt(self.weight.shape[1])))


class FrozenShortcut(nn.Module):
    """`Shortcut` with its scale in the kernel."""

    def __init__(self, layer: Shortcut, dtype: torch.dtype) -> None:
        super().__init__()
        kernel = layer.weight.detach() / math.sqrt(layer.weight.shape[1])
        self.kernel: Tensor
        self.register_buffer("kernel", kernel.to(dtype).contiguous(memory_format=torch.channels_last))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, I, H, W) to (B, O, 2H, 2W)."""
        return upsample(F.conv2d(x, self.kernel))


class FrozenLayer(nn.Module):
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


class FrozenToRGB(nn.Module):
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
