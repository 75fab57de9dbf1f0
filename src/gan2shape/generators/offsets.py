"""From the code of the projection encoder to a change of the latent (GAN2Shape, section 3.3).

The last layers of the mapping network are applied to the code, which keeps the changed latent among those that the GAN
was trained on: a strong regulariser. Code zero always gives offset zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan2shape.generators.mapping import MappingNetwork


class MappingTailOffset(nn.Module):
    """``tail(code + h0) - tail(h0)`` with the last entries of a mapping network.

    The mapping has entries 0 (PixelNorm) to n. With F1 = `tail_layers`, cut to n: h0 is entries 0 to n-1-F1 applied to
    z = 0, and the tail is entries n-F1 to n. F1 = n makes the whole mapping, PixelNorm included, the tail, and h0 zero.

    Raises:
        ValueError: `tail_layers` is negative.
    """

    def __init__(self, mapping: MappingNetwork, tail_layers: int) -> None:
        super().__init__()
        if tail_layers < 0:
            raise ValueError(f"tail_layers must not be negative; got {tail_layers}")
        self.mapping = mapping
        self.tail_layers = min(tail_layers, mapping.layers)
        with torch.no_grad():
            zero = next(mapping.parameters()).new_zeros(1, mapping.z_dim)
            start = mapping.entries(zero, 0, mapping.layers - 1 - self.tail_layers)
            self.start: Tensor
            self.end: Tensor
            self.register_buffer("start", start)
            self.register_buffer("end", self._tail(start))

    @property
    def code_dim(self) -> int:
        """Count of numbers in a code: the width of the mapping where the tail begins."""
        return self.start.shape[1]

    def forward(self, code: Tensor) -> Tensor:
        """Codes (B, code_dim) to latent offsets (B, latent_dim). Raises ValueError for another shape."""
        if code.ndim != 2 or code.shape[1] != self.code_dim:
            raise ValueError(f"code must be (B, {self.code_dim}); got {tuple(code.shape)}")
        return self._tail(code + self.start) - self.end

    def _tail(self, h: Tensor) -> Tensor:
        return self.mapping.entries(h, self.mapping.layers - self.tail_layers, self.mapping.layers)


class DirectOffset(nn.Module):
    """The code is the offset: for GANs without a mapping network, and for the paper's ablation."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    @property
    def code_dim(self) -> int:
        """Count of numbers in a code: that of a latent."""
        return self.latent_dim

    def forward(self, code: Tensor) -> Tensor:
        """Codes (B, latent_dim) as they are. Raises ValueError for another shape."""
        if code.ndim != 2 or code.shape[1] != self.latent_dim:
            raise ValueError(f"code must be (B, {self.latent_dim}); got {tuple(code.shape)}")
        return code
