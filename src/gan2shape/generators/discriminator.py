"""StyleGAN2's discriminator (Karras et al., CVPR 2020) and the block features that pictures are compared in.

Parameters carry the names of the common PyTorch checkpoint layout. The convolutional part works on any picture size;
only the score needs the resolution that the discriminator was trained at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan2shape.generators.ops import (
    ACTIVATION_GAIN,
    EPSILON,
    LEAK,
    EqualLinear,
    activate,
    conv_down,
    conv_down_separate,
    depthwise_blur,
    downsample,
    fuse_blur,
    per_channel,
)
from gan2shape.generators.stylegan2_layers import ChannelBias

FEATURE_BLOCKS = 4
"""Blocks whose outputs form the feature pyramid (Pan et al., 2020)."""
STDDEV_GROUP = 4
_RESIDUAL_SCALE = 1 / math.sqrt(2.0)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes of a discriminator; all of them can be read from its tensors."""

    resolution: int
    """Side of the pictures that it scores, in pixels: a power of two from 8 to 1024."""
    channels: Mapping[int, int]
    """Count of channels at every resolution 4, 8, ... up to `resolution`."""
    sees_every_size: bool = False
    """Whether the shrunk picture is added after every block: the "skip" architecture of NVIDIA's programs."""

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, ... up to `resolution`."""
        return tuple(2**level for level in range(2, int(math.log2(self.resolution)) + 1))

    @property
    def weight_count(self) -> int:
        """How many weights the 3x3 convolutions and the first linear layer have, which are nearly all."""
        widths = [self.channels[side] for side in self.resolutions]
        pairs = zip(widths[1:], widths[:-1], strict=True)
        return 25 * widths[0] ** 2 + sum(9 * (width + after) * width for width, after in pairs)


class EqualConv(nn.Module):
    """Filters (O, I, k, k) with the run-time scale ``1 / sqrt(I k k)``."""

    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, size, size))

    def filters(self) -> Tensor:
        """The filters as they act."""
        return self.weight / math.sqrt(self.weight[0].numel())


class _Nothing(nn.Module):
    """Holds the place of a blur in the numbering of a checkpoint; the blur itself is part of the kernels."""


class ConvLayer(nn.Sequential):
    """Convolution of odd size, perhaps with blur and stride 2, perhaps with bias and activation."""

    def __init__(
        self, in_channels: int, out_channels: int, size: int, *, down: bool = False, activated: bool = True
    ) -> None:
        conv = EqualConv(in_channels, out_channels, size)
        super().__init__(*([_Nothing()] if down else []), conv, *([ChannelBias(out_channels)] if activated else []))
        self.down = down
        self.activated = activated

    def filters(self) -> Tensor:
        """Filters (O, I, k, k) as they act, without the blur."""
        conv = self[1 if self.down else 0]
        assert isinstance(conv, EqualConv)
        return conv.filters()

    def bias(self) -> Tensor | None:
        """Bias (O,) before the activation, None without one."""
        last = self[-1]
        return last.bias if isinstance(last, ChannelBias) else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, I, H, W) to (B, O, h, w), h = H or H // 2."""
        filters = self.filters()
        y = conv_down(x, fuse_blur(filters)) if self.down else F.conv2d(x, filters, padding=filters.shape[-1] // 2)
        bias = self.bias()
        return y if bias is None else activate(y + per_channel(bias))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, the second down by two, plus a 1x1 shortcut; the sum times ``1 / sqrt(2)``."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = ConvLayer(in_channels, in_channels, 3)
        self.conv2 = ConvLayer(in_channels, out_channels, 3, down=True)
        self.skip = ConvLayer(in_channels, out_channels, 1, down=True, activated=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, I, H, W) to (B, O, H // 2, W // 2)."""
        return (self.conv2(self.conv1(x)) + self.skip(x)) * _RESIDUAL_SCALE


class StyleGAN2Discriminator(nn.Module):
    """The trainable discriminator. Weights are initialised from torch's global random state."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        blocks = [
            ResidualBlock(channels[side], channels[side // 2]) for side in reversed(config.resolutions) if side > 4
        ]
        self.convs = nn.Sequential(ConvLayer(3, channels[config.resolution], 1), *blocks)
        smaller = [side for side in reversed(config.resolutions[:-1]) if config.sees_every_size]
        self.from_rgbs = nn.ModuleList(ConvLayer(3, channels[side], 1) for side in smaller)
        self.final_conv = ConvLayer(channels[4] + 1, channels[4], 3)
        self.final_linear = nn.Sequential(
            EqualLinear(channels[4] * 16, channels[4], activated=True), EqualLinear(channels[4], 1)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Signed pictures (B, 3, R, R) to scores (B, 1), higher = more real; B divides into groups of min(B, 4).

        Raises ValueError for another shape, or a batch that does not divide.
        """
        side = self.config.resolution
        if images.ndim != 4 or images.shape[1:] != (3, side, side):
            raise ValueError(f"images must be (B, 3, {side}, {side}); got {tuple(images.shape)}")
        _, x = _walk(self.convs, self.from_rgbs, images, len(self.convs) - 1)
        return self.final_linear(self.final_conv(append_deviation(x)).flatten(1))

    def block_features(self, images: Tensor, count: int = FEATURE_BLOCKS) -> list[Tensor]:
        """Signed pictures (B, 3, H, W) of any size to the outputs (B, C, h, w) of the first `count` residual blocks."""
        return _walk(self.convs, self.from_rgbs, images, count)[0]

    def frozen_features(self, dtype: torch.dtype = torch.float32, count: int = FEATURE_BLOCKS) -> FrozenFeatures:
        """`block_features` with fused kernels and without trainable parameters, computing in `dtype`."""
        return FrozenFeatures(self, dtype, count)


def append_deviation(x: Tensor) -> Tensor:
    """Map (B, C, H, W) with one more channel: the deviation within a group of samples, averaged over everything else.

    A group has G = min(B, 4) samples, B / G apart; the variance is biased, with 1e-8 inside the root.
    Raises ValueError for a batch that does not divide into such groups.
    """
    batch, channels, height, width = x.shape
    group = min(batch, STDDEV_GROUP)
    if batch % group:
        raise ValueError(f"the batch must be at most {STDDEV_GROUP} or a multiple of it; got {batch}")
    grouped = x.view(group, batch // group, channels, height, width)
    deviation = (grouped.var(0, unbiased=False) + EPSILON).sqrt().mean((1, 2, 3))  # (B / G,)
    return torch.cat([x, deviation.repeat(group)[:, None, None, None].expand(-1, 1, height, width)], 1)


class FrozenFeatures(nn.Module):
    """The first residual blocks with kernels fused once; a FeatureExtractor whose features are float32."""

    def __init__(self, source: StyleGAN2Discriminator, dtype: torch.dtype, count: int) -> None:
        super().__init__()
        first, *blocks = source.convs
        assert isinstance(first, ConvLayer)
        frozen = [_FrozenBlock(block, dtype) for block in blocks[:count] if isinstance(block, ResidualBlock)]
        self.convs = nn.Sequential(_FrozenConv(first, dtype, ACTIVATION_GAIN), *frozen)
        from_rgbs = [layer for layer in source.from_rgbs[: len(frozen)] if isinstance(layer, ConvLayer)]
        self.from_rgbs = nn.ModuleList(_FrozenConv(layer, dtype, ACTIVATION_GAIN) for layer in from_rgbs)
        self.dtype = dtype
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Signed pictures (B, 3, H, W) of any size to float32 (float64 for float64) maps (B, C, h, w), finest first."""
        x = images.to(self.dtype).contiguous(memory_format=torch.channels_last)
        half = self.dtype in (torch.bfloat16, torch.float16)
        features, _ = _walk(self.convs, self.from_rgbs, x, len(self.convs) - 1)
        return [feature.float() if half else feature for feature in features]


class _FrozenConv(nn.Module):
    """`ConvLayer` with its activation gain folded into kernel and bias (leaky ReLU is homogeneous).

    On a CPU the blur stays a convolution of its own: with channels last, that takes half the time of the fused kernel.
    """

    def __init__(self, layer: ConvLayer, dtype: torch.dtype, gain: float) -> None:
        super().__init__()
        filters, bias = layer.filters().detach(), layer.bias()
        separate = layer.down and filters.device.type == "cpu"
        kernel = gain * (fuse_blur(filters) if layer.down and not separate else filters)
        self.kernel: Tensor
        self.bias: Tensor | None
        self.blur: Tensor | None
        self.register_buffer("kernel", kernel.to(dtype).contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", None if bias is None else (gain * bias.detach()).to(dtype))
        self.register_buffer("blur", depthwise_blur(filters).to(dtype) if separate else None)
        self.down = layer.down

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, I, H, W) to (B, O, h, w), h = H or H // 2."""
        if self.blur is not None:
            y = conv_down_separate(x, self.kernel, self.blur, self.bias)
        elif self.down:
            y = conv_down(x, self.kernel, self.bias)
        else:
            y = F.conv2d(x, self.kernel, self.bias, padding=self.kernel.shape[-1] // 2)
        return y if self.bias is None else F.leaky_relu(y, LEAK)


class _FrozenBlock(nn.Module):
    """`ResidualBlock` whose final scale is part of its kernels."""

    def __init__(self, block: ResidualBlock, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv1 = _FrozenConv(block.conv1, dtype, ACTIVATION_GAIN)
        self.conv2 = _FrozenConv(block.conv2, dtype, ACTIVATION_GAIN * _RESIDUAL_SCALE)
        self.skip = _FrozenConv(block.skip, dtype, _RESIDUAL_SCALE)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, I, H, W) to (B, O, H // 2, W // 2)."""
        return self.conv2(self.conv1(x)) + self.skip(x)


def _walk(convs: nn.Sequential, from_rgbs: nn.ModuleList, images: Tensor, count: int) -> tuple[list[Tensor], Tensor]:
    """Outputs of the blocks 1 to `count` of a sequence whose entry 0 is the from-RGB convolution, and what goes on.

    With from-RGB convolutions for the smaller sizes, the shrunk picture is added to what goes on after every block.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be (B, 3, H, W); got {tuple(images.shape)}")
    x = convs[0](images)
    features = []
    for index, block in enumerate(list(convs)[1 : count + 1]):
        x = block(x)
        features.append(x)
        if len(from_rgbs):
            images = downsample(images)
            x = x + from_rgbs[index](images)
    return features, x
