"""StyleGAN3's alias-free generator, configurations T and R (Karras et al., NeurIPS 2021), for frozen use.

The synthesis starts from sines instead of a learned map, so that moving them moves the picture: with `transform` the
object can be shifted and turned, which an aligned StyleGAN2 cannot do. Parameters of the synthesis carry the names of
NVIDIA's programs. Latent row 0 feeds the input and row i + 1 the layer i. Everything is computed in the dtype of the
weights, float32 as read.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan2shape.generators.mapping import MappingNetwork
from gan2shape.generators.ops import ACTIVATION_GAIN, EPSILON, LEAK, EqualLinear, per_channel
from gan2shape.generators.stylegan3_config import Band, LayerPlan, StyleGAN3Config, bands, layer_plans
from gan2shape.generators.stylegan3_filters import FilteredActivation, lowpass_filter, radial_lowpass_filter

FILTER_TAPS = 6
"""Taps of a filter per sample of the lower rate."""
ACTIVATION_UP = 2
"""Factor above the layer's own rates at which an activation acts."""


class FourierInput(nn.Module):
    """Sines of learned frequencies and phases over the picture, shifted and turned as the latent says, then mixed."""

    def __init__(self, channels: int, w_dim: int, band: Band) -> None:
        super().__init__()
        self.band = band
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.affine = EqualLinear(w_dim, 4)
        frequencies = torch.randn(channels, 2)
        radius = frequencies.norm(dim=1, keepdim=True)
        frequencies = frequencies / (radius * radius.square().exp().pow(0.25)) * band.cutoff
        self.freqs: Tensor
        self.phases: Tensor
        self.transform: Tensor
        self.register_buffer("freqs", frequencies)
        self.register_buffer("phases", torch.rand(channels) - 0.5)
        self.register_buffer("transform", torch.eye(3))
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))

    def forward(self, w: Tensor, transform: Tensor | None = None) -> Tensor:
        """Latents (B, w_dim), and (3, 3) or (B, 3, 3) in place of the stored transform, to (B, C, size, size)."""
        moved = self._pose(w) @ (self.transform if transform is None else transform.to(self.transform))  # (B, 3, 3)
        phases = self.phases + torch.einsum("cj,bj->bc", self.freqs, moved[:, :2, 2])
        frequencies = torch.einsum("cj,bji->bci", self.freqs, moved[:, :2, :2])
        excess = frequencies.norm(dim=2) - self.band.cutoff
        amplitudes = (1 - excess / (self.band.rate / 2 - self.band.cutoff)).clamp(0, 1)  # (B, C)
        size = self.band.size
        places = (torch.arange(size, device=w.device, dtype=w.dtype) - (size - 1) / 2) / self.band.rate
        # Columns lie along x, the first coordinate, and rows along y.
        turns = (
            per_channel(phases)
            + per_channel(frequencies[..., 0]) * places
            + per_channel(frequencies[..., 1]) * places[:, None]
        )
        waves = torch.sin(2 * math.pi * turns) * per_channel(amplitudes)
        return F.conv2d(waves, self.weight[:, :, None, None] / math.sqrt(len(self.weight)))

    def _pose(self, w: Tensor) -> Tensor:
        """The latent's own rotation after its translation, (B, 3, 3), of points (x, y, 1)."""
        t = self.affine(w)
        cos, sin, x, y = (t / t[:, :2].norm(dim=1, keepdim=True)).unbind(1)
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        rotation = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], 1).view(-1, 3, 3)
        translation = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], 1).view(-1, 3, 3)
        return rotation @ translation


class AliasFreeLayer(nn.Module):
    """Modulated convolution at the rate it gets, then the filtered activation, or to RGB without one."""

    def __init__(self, plan: LayerPlan, config: StyleGAN3Config) -> None:
        super().__init__()
        self.to_rgb = plan.to_rgb
        size = 1 if plan.to_rgb else config.kernel_size
        self.weight = nn.Parameter(torch.randn(plan.out_channels, plan.in_channels, size, size))
        self.bias = nn.Parameter(torch.zeros(plan.out_channels))
        self.affine = EqualLinear(config.w_dim, plan.in_channels, bias=1.0)
        high = max(plan.source.rate, plan.target.rate) * (1 if plan.to_rgb else ACTIVATION_UP)
        up, down = high // plan.source.rate, high // plan.target.rate
        up_filter = None if plan.to_rgb or up == 1 else _design(plan.source, up, high, radial=False)
        radial = config.radial and not plan.critical
        down_filter = None if plan.to_rgb or down == 1 else _design(plan.target, down, high, radial=radial)
        self.up_filter: Tensor | None
        self.down_filter: Tensor | None
        self.magnitude_ema: Tensor
        self.register_buffer("up_filter", up_filter)
        self.register_buffer("down_filter", down_filter)
        self.register_buffer("magnitude_ema", torch.ones(()))
        taps = sum(1 if taps is None else len(taps) for taps in (up_filter, down_filter))
        total = (plan.target.size - 1) * down + 1 - (plan.source.size + size - 1) * up + taps - 2
        before = (total + up) // 2
        self.activation = FilteredActivation(
            up=up,
            down=down,
            padding=(before, total - before),
            slope=1.0 if plan.to_rgb else LEAK,
            gain=1.0 if plan.to_rgb else ACTIVATION_GAIN,
            clamp=config.clamp,
        )

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map (B, I, h, h) and latents (B, w_dim) to (B, O, H, H) of the layer's target band."""
        weight: Tensor = self.weight
        style = self.affine(w)
        if self.to_rgb:
            x = x * per_channel(style / math.sqrt(weight.shape[1]))
        else:
            weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
            style = style * style.square().mean(1, keepdim=True).rsqrt()
            x = x * per_channel(style)
        y = F.conv2d(x, weight * self.magnitude_ema.rsqrt(), padding=weight.shape[-1] - 1)
        if not self.to_rgb:
            power = F.linear(style.square(), weight.square().sum((2, 3)))
            y = y * per_channel(torch.rsqrt(power + EPSILON))
        return self.activation(y + per_channel(self.bias), self.up_filter, self.down_filter)


class AliasFreeSynthesis(nn.Module):
    """Input and layers under NVIDIA's names."""

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__()
        self.config = config
        self.input = FourierInput(config.channels[0], config.w_dim, bands(config)[0])
        self.names = tuple(plan.name(index) for index, plan in enumerate(layer_plans(config)))
        for name, plan in zip(self.names, layer_plans(config), strict=True):
            self.add_module(name, AliasFreeLayer(plan, config))

    def forward(self, rows: Tensor, transform: Tensor | None) -> Tensor:
        """Latents (B, num_ws, w_dim) to pictures (B, 3, R, R)."""
        x = self.input(rows[:, 0], transform)
        for index, name in enumerate(self.names, start=1):
            x = self.get_submodule(name)(x, rows[:, index])
        return x * self.config.output_scale


class StyleGAN3Generator(nn.Module):
    """Mapping and synthesis; the trained weights come from `read_stylegan3` in `stylegan3_reader`."""

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__()
        self.config = config
        self.style = MappingNetwork(config.z_dim, config.w_dim, config.mapping_layers)
        self.synthesis = AliasFreeSynthesis(config)

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

    def synthesize(self, w: Tensor, *, transform: Tensor | None = None) -> Tensor:
        """Latents (B, w_dim) or (B, num_ws, w_dim) to pictures (B, 3, R, R), signed, not clamped, w's dtype.

        `transform`, (3, 3) or (B, 3, 3), takes points (x right, y down, 1) of the picture, whose side is 1 and whose
        centre is 0, to where their content is taken from; None means the checkpoint's own, the identity as a rule.
        Raises ValueError for latents of another shape.
        """
        count, width = self.config.num_ws, self.config.w_dim
        if w.ndim == 2 and w.shape[1] == width:
            rows = w[:, None].expand(-1, count, -1)
        elif w.ndim == 3 and w.shape[1:] == (count, width):
            rows = w
        else:
            raise ValueError(f"w must be (B, {width}) or (B, {count}, {width}); got {tuple(w.shape)}")
        return self.synthesis(rows.to(self.style.dtype), transform).to(w.dtype)

    def forward(self, w: Tensor) -> Tensor:
        """The same as `synthesize`."""
        return self.synthesize(w)


def _design(band: Band, factor: int, rate: int, *, radial: bool) -> Tensor:
    """The filter of a band at `factor` times its rate, in float32 like the stored ones."""
    design = radial_lowpass_filter if radial else lowpass_filter
    return design(FILTER_TAPS * factor, band.cutoff, 2 * band.half_width, rate).float()
