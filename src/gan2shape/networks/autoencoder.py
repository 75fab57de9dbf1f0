"""Autoencoder: a picture to a map of the same size, through a code of one pixel. Predicts depth and albedo.

Source: GAN2Shape, appendix; at 64 px it is the network of Unsup3D (Wu et al., CVPR 2020).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from gan2shape.networks.encoder import check_size
from gan2shape.networks.widths import full_base_width, group_count, level_widths


class Autoencoder(nn.Module):
    """Convolutions down to a 1×1 code and up again, without skip connections, biases or custom initialisation.

    Args:
        out_channels: channels of the map.
        image_size: side of picture and map in px, a power of two.
        base_width: channels at half size; the paper's ``max(4096 // image_size, 16)`` if None. It doubles per level.
        code_size: channels of the code.
        activation: "tanh" bounds the map to (-1, 1); None leaves it free.
        in_channels: channels of the picture.

    Raises:
        ValueError: if the size, the width or the activation cannot be.
    """

    def __init__(
        self,
        out_channels: int,
        image_size: int,
        base_width: int | None = None,
        code_size: int = 256,
        activation: Literal["tanh"] | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if activation not in (None, "tanh"):
            raise ValueError(f"activation must be None or 'tanh'; got {activation!r}")
        widths = level_widths(image_size, base_width or full_base_width(image_size))
        self.image_size = image_size
        self.encoder = code_encoder(widths, in_channels, code_size, image_size)
        self.decoder = _decoder(widths, out_channels, code_size, image_size)
        self.activation = nn.Tanh() if activation == "tanh" else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, S, S) → (B, out_channels, S, S)."""
        check_size(image, self.image_size)
        return self.activation(full_precision(self.decoder[-1], self.decoder[:-1](self.encoder(image))))


def full_precision(layer: nn.Module, features: Tensor) -> Tensor:
    """The last convolution outside of any autocast: bfloat16's eight binary digits would make a depth map of steps."""
    with torch.autocast(features.device.type, enabled=False):
        return layer(features.to(next(layer.parameters()).dtype))


def code_encoder(widths: list[int], in_channels: int, code_size: int, image_size: int) -> nn.Sequential:
    """Stride-2 convolutions of these widths down to 4×4, and one to a code of one pixel."""
    layers: list[nn.Module] = []
    for before, after in zip([in_channels, *widths[:-1]], widths, strict=True):
        layers += [nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False)]
        if after != widths[-1]:
            layers += [nn.GroupNorm(group_count(after, image_size), after)]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
    layers += [nn.Conv2d(widths[-1], code_size, 4, bias=False), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _decoder(widths: list[int], out_channels: int, code_size: int, image_size: int) -> nn.Sequential:
    top, base = widths[-1], widths[0]
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(code_size, top, 4, bias=False),
        nn.ReLU(inplace=True),
        nn.Conv2d(top, top, 3, padding=1, bias=False),
        nn.ReLU(inplace=True),
    ]
    narrowing = widths[::-1]
    for before, after in pairwise(narrowing):
        layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)]
        layers += _norm_relu(after, image_size)
        layers += [nn.Conv2d(after, after, 3, padding=1, bias=False), *_norm_relu(after, image_size)]
    layers += [nn.Upsample(scale_factor=2, mode="nearest")]
    layers += [nn.Conv2d(base, base, 3, padding=1, bias=False), *_norm_relu(base, image_size)]
    layers += [nn.Conv2d(base, base, 5, padding=2, bias=False), *_norm_relu(base, image_size)]
    layers += [nn.Conv2d(base, out_channels, 5, padding=2, bias=False)]
    return nn.Sequential(*layers)


def _norm_relu(width: int, image_size: int) -> list[nn.Module]:
    return [nn.GroupNorm(group_count(width, image_size), width), nn.ReLU(inplace=True)]
