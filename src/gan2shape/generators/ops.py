"""The arithmetic of StyleGAN2's layers (Karras et al., CVPR 2020), as functions and one linear layer.

A modulated convolution scales its input channels by the style, convolves with weights that all samples share, and
scales its output channels by the demodulation. That equals modulating the weights per sample, without a grouped
convolution, and a frozen network then never computes gradients of weights.

The blur of up and down convolutions is part of their kernels: a 3x3 filter convolved with the 4x4 FIR is one 6x6
filter, which is exact. Up-sampling by two runs its four 3x3 phases at the low resolution and interleaves the results.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FIR_TAPS = (1.0, 3.0, 3.0, 1.0)
LEAK = 0.2
ACTIVATION_GAIN = math.sqrt(2.0)
EPSILON = 1e-8  # of PixelNorm, demodulation and minibatch deviation, as the checkpoints were trained.


def fir_kernel(like: Tensor) -> Tensor:
    """The binomial low-pass filter (4, 4), outer product of `FIR_TAPS`, sum 1, with the dtype and device of `like`."""
    taps = like.new_tensor(FIR_TAPS)
    kernel = taps[:, None] * taps[None]
    return kernel / kernel.sum()


def pixel_norm(x: Tensor) -> Tensor:
    """Rows (B, C) to a mean square of one: ``x * rsqrt(mean(x²) + 1e-8)``."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + EPSILON)


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU with slope 0.2, times sqrt(2)."""
    return F.leaky_relu(x, LEAK) * ACTIVATION_GAIN


def per_channel(x: Tensor) -> Tensor:
    """Numbers (B, C) or (C,) as (B, C, 1, 1) or (1, C, 1, 1), ready to meet a feature map."""
    return x.reshape(-1, x.shape[-1], 1, 1)


def fuse_blur(weight: Tensor) -> Tensor:
    """Filters (O, I, k, k) convolved with the FIR filter: (O, I, k+3, k+3)."""
    out_channels, in_channels, height, width = weight.shape
    blurred = F.conv2d(weight.reshape(-1, 1, height, width), fir_kernel(weight)[None, None], padding=3)
    return blurred.reshape(out_channels, in_channels, height + 3, width + 3)


def fuse_up(weight: Tensor) -> Tensor:
    """Filters (O, I, 3, 3) of an up-sampling convolution as four phases for `conv_up`: (4 O, I, 3, 3).

    The layer they replace: transposed convolution of stride 2, not padded, then the FIR times 4 with padding (1, 1).
    """
    fused = 4 * fuse_blur(weight)  # (O, I, 6, 6)
    out_channels, in_channels = fused.shape[:2]
    phases = (
        fused.view(out_channels, in_channels, 3, 2, 3, 2).flip(2, 4).permute(0, 3, 5, 1, 2, 4)
    )  # (O, 2, 2, I, 3, 3)
    return phases.reshape(4 * out_channels, in_channels, 3, 3)


def conv_up(x: Tensor, phases: Tensor) -> Tensor:
    """Map (B, I, H, W) up-sampled by two with the filters of `fuse_up`: (B, O, 2H, 2W)."""
    return F.pixel_shuffle(F.conv2d(x, phases, padding=1), 2)


def conv_down(x: Tensor, fused: Tensor, bias: Tensor | None = None) -> Tensor:
    """Map (B, I, H, W) down-sampled by two with a kernel of `fuse_blur`: (B, O, H // 2, W // 2).

    The layer it replaces: FIR with padding 2 for 3x3 filters and 1 for 1x1 filters, then the filter with stride 2.
    """
    return F.conv2d(x, fused, bias, stride=2, padding=2 if fused.shape[-1] == 6 else 1)


def depthwise_blur(weight: Tensor) -> Tensor:
    """The FIR filter once per input channel of filters (O, I, k, k): (I, 1, 4, 4)."""
    return fir_kernel(weight).expand(weight.shape[1], 1, 4, 4).contiguous()


def conv_down_separate(x: Tensor, weight: Tensor, blur: Tensor, bias: Tensor | None = None) -> Tensor:
    """What `conv_down` computes, with plain filters (O, I, k, k) after a pass of `depthwise_blur`."""
    blurred = F.conv2d(x, blur, padding=2 if weight.shape[-1] == 3 else 1, groups=x.shape[1])
    return F.conv2d(blurred, weight, bias, stride=2)


def upsample(x: Tensor) -> Tensor:
    """Picture (B, C, H, W) to (B, C, 2H, 2W): zero insertion, then the FIR times 4 with padding (2, 1)."""
    batch, channels, height, width = x.shape
    kernel = 4 * fir_kernel(x)[None, None]
    return F.conv_transpose2d(x.reshape(-1, 1, height, width), kernel, stride=2, padding=1).view(
        batch, channels, 2 * height, 2 * width
    )


def downsample(x: Tensor) -> Tensor:
    """Picture (B, C, H, W) to (B, C, H // 2, W // 2): the FIR with padding 1, then every second sample."""
    y = F.conv2d(x.reshape(-1, 1, *x.shape[2:]), fir_kernel(x)[None, None], stride=2, padding=1)
    return y.view(*x.shape[:2], *y.shape[2:])


def filter_power(weight: Tensor) -> Tensor:
    """Sum of squares of every filter (O, I, k, k) over its window: (O, I), what demodulation needs of the weights."""
    return weight.square().sum((2, 3))


def demodulation(style: Tensor, power: Tensor) -> Tensor:
    """Output scales (B, O) that keep the variance at one, from styles (B, I) and `filter_power` (O, I)."""
    return torch.rsqrt(F.linear(style.square(), power) + EPSILON)


class EqualLinear(nn.Module):
    """Linear layer with run-time weight scale ``lr_mul / sqrt(in)`` and bias scale ``lr_mul``, perhaps activated."""

    def __init__(
        self, in_features: int, out_features: int, *, lr_mul: float = 1.0, bias: float = 0.0, activated: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_mul)
        self.bias = nn.Parameter(torch.full((out_features,), bias / lr_mul))
        self.lr_mul = lr_mul
        self.activated = activated

    def effective(self) -> tuple[Tensor, Tensor]:
        """Weight (out, in) and bias (out,) as they act, without the activation."""
        return self.weight * (self.lr_mul / math.sqrt(self.weight.shape[1])), self.bias * self.lr_mul

    def forward(self, x: Tensor) -> Tensor:
        """Rows (..., in) to (..., out)."""
        y = F.linear(x, *self.effective())
        return activate(y) if self.activated else y
