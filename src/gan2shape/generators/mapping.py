"""StyleGAN2's mapping network: normal numbers to latents (Karras et al., CVPR 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan2shape.generators.ops import EqualLinear, pixel_norm

LARGEST_LATENT = 16_384
"""Most numbers of a z or w that a file may claim, 32 times the usual: thousands of latents are drawn at once."""
MAPPING_LR_MUL = 0.01


class PixelNorm(nn.Module):
    """Entry 0 of the mapping network."""

    def forward(self, x: Tensor) -> Tensor:
        """Rows (B, C) scaled to a mean square of one."""
        return pixel_norm(x)


class MappingNetwork(nn.Sequential):
    """PixelNorm, then n activated linear layers; entry i of the sequence is ``style.i`` of a checkpoint."""

    def __init__(self, z_dim: int, w_dim: int, layers: int) -> None:
        linears = (
            EqualLinear(z_dim if index == 0 else w_dim, w_dim, lr_mul=MAPPING_LR_MUL, activated=True)
            for index in range(layers)
        )
        super().__init__(PixelNorm(), *linears)
        self.z_dim = z_dim
        self.w_dim = w_dim

    @property
    def layers(self) -> int:
        """Count n of linear layers."""
        return len(self) - 1

    @property
    def dtype(self) -> torch.dtype:
        """Arithmetic of the network."""
        return next(self.parameters()).dtype

    def entries(self, x: Tensor, first: int, last: int) -> Tensor:
        """Apply entries `first` to `last` inclusive (0 is PixelNorm, n the last layer) to rows (B, width)."""
        for index in range(first, last + 1):
            x = self[index](x)
        return x
