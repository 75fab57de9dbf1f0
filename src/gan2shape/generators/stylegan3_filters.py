"""Alias-free filtering (Karras et al., NeurIPS 2021, sections 2 and 3): low-pass filters and the filtered leaky ReLU.

A filter is (taps,) where it acts along rows and columns alike, (taps, taps) where it is radially symmetric; all of them
are symmetric, so that convolution and correlation agree. Frequencies are in cycles per unit of the sampling rate's.

Filters are depthwise convolutions on maps whose channels lie together in memory: on one CPU core that takes a tenth of
the time of one convolution per channel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CHANNELS_AT_A_TIME = 16
"""As many as a depthwise convolution works on together with 512-bit vectors."""


def lowpass_filter(taps: int, cutoff: float, width: float, rate: float) -> Tensor:
    """A sinc under a Kaiser window, (taps,), float64, sum 1; `width` is that of the transition band."""
    position = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    response = torch.sinc(2 * cutoff / rate * position) * _kaiser(taps, width, rate)
    return response / response.sum()


def radial_lowpass_filter(taps: int, cutoff: float, width: float, rate: float) -> Tensor:
    """A jinc under a separable Kaiser window, (taps, taps), float64, sum 1; `taps` is even, so that no tap is at 0.

    Raises:
        ValueError: `taps` is odd.
    """
    if taps % 2:
        raise ValueError(f"a radial filter needs an even count of taps; got {taps}")
    position = (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) / rate
    radius = math.pi * torch.hypot(position[:, None], position[None])
    window = _kaiser(taps, width, rate)
    response = torch.special.bessel_j1(2 * cutoff * radius) / radius * window[:, None] * window[None]
    return response / response.sum()


@dataclass(frozen=True)
class FilteredActivation:
    """What surrounds and shapes the activation of one layer."""

    up: int
    """Factor of the sampling rate before the activation."""
    down: int
    """Factor that it is divided by after the activation."""
    padding: tuple[int, int]
    """Samples added before and after each axis at the high rate; negative ones are cut off."""
    slope: float
    """Of negative values; 1 means no activation."""
    gain: float
    """Factor of the activation's result."""
    clamp: float | None
    """Largest magnitude of the result; None means any."""

    def __call__(self, x: Tensor, up_filter: Tensor | None, down_filter: Tensor | None) -> Tensor:
        """Map (B, C, H, W) up-sampled, activated and down-sampled; a filter that is None passes everything.

        On a CPU a few channels at a time, so that the large map between the filters stays in its caches.
        """
        count = CHANNELS_AT_A_TIME if x.device.type == "cpu" else x.shape[1]
        return torch.cat([self._activated(part, up_filter, down_filter) for part in x.split(count, 1)], 1)

    def _activated(self, x: Tensor, up_filter: Tensor | None, down_filter: Tensor | None) -> Tensor:
        # Leaky ReLU is homogeneous, so that its gain can be had with the filter before it.
        x = resample_up(x, up_filter, self.up, self.padding, self.gain)
        if self.slope != 1:
            x = F.leaky_relu(x, self.slope)
        if self.clamp is not None:
            # What autograd has kept, or the caller still has, may not be written over.
            own = self.slope != 1 and not x.requires_grad
            x = x.clamp_(-self.clamp, self.clamp) if own else x.clamp(-self.clamp, self.clamp)
        return resample_down(x, down_filter, self.down)


def resample_up(x: Tensor, taps: Tensor | None, factor: int, padding: tuple[int, int], gain: float = 1.0) -> Tensor:
    """`factor` - 1 zeros after every sample, padding, then the filter (taps,) times `factor` along each axis.

    The result is `gain` times that, a positive number.
    """
    if taps is None and factor == 1:
        return _framed(gain * x, *padding)
    taps = x.new_ones(1) if taps is None else taps.to(x)
    # The transposed convolution starts where the filter first meets a sample; the definition starts at the padding.
    before = padding[0] - (len(taps) - 1)
    after = padding[1] - (len(taps) - factor)
    cut = max(0, min(-before, -after))
    rows, columns = _each(gain * factor * taps[:, None], x.shape[1]), _each(factor * taps[None], x.shape[1])
    y = x.contiguous(memory_format=torch.channels_last)
    y = F.conv_transpose2d(y, rows, stride=(factor, 1), padding=(cut, 0), groups=x.shape[1])
    y = F.conv_transpose2d(y, columns, stride=(1, factor), padding=(0, cut), groups=x.shape[1])
    return _framed(y, before + cut, after + cut)


def resample_down(x: Tensor, taps: Tensor | None, factor: int) -> Tensor:
    """The filter (taps,) along each axis or (taps, taps) at once, without padding, then every `factor`-th sample."""
    if taps is None:
        return x[:, :, ::factor, ::factor]
    kernel, channels = taps.to(x), x.shape[1]
    y = x.contiguous(memory_format=torch.channels_last)
    if kernel.ndim == 2:
        return F.conv2d(y, _each(kernel, channels), stride=factor, groups=channels)
    y = F.conv2d(y, _each(kernel[:, None], channels), stride=(factor, 1), groups=channels)
    return F.conv2d(y, _each(kernel[None], channels), stride=(1, factor), groups=channels)


def _framed(x: Tensor, before: int, after: int) -> Tensor:
    """Map (B, C, H, W) with samples added before and after each axis, zeros, or cut off where the count is negative."""
    first, last = max(0, -before), max(0, -after)
    x = x[:, :, first : x.shape[2] - last, first : x.shape[3] - last]
    return F.pad(x, (max(0, before), max(0, after)) * 2) if max(before, after) > 0 else x


def _each(kernel: Tensor, channels: int) -> Tensor:
    """One kernel (h, w) for each channel: (C, 1, h, w)."""
    return kernel.expand(channels, 1, *kernel.shape).contiguous()


def _kaiser(taps: int, width: float, rate: float) -> Tensor:
    """Kaiser's window whose attenuation follows from the length and the transition band (Kaiser, 1974)."""
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    elif attenuation > 21:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    else:
        beta = 0.0
    return torch.kaiser_window(taps, periodic=False, beta=beta, dtype=torch.float64)
