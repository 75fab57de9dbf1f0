"""How wide a network of a given picture size is."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkConfig:
    """Widths of the factor networks and of the latent encoder."""

    width_multiplier: float = 1.0
    """Factor on the base width of the depth, albedo, view and light networks; 1 is the paper's, max(4096/size, 16)."""
    map_base_width: int | None = None
    """Base width of the depth and albedo networks in channels; None takes the paper's times the multiplier."""
    vector_base_width: int | None = None
    """Base width of the view and light networks in channels; None takes the paper's times the multiplier."""
    code_size: int = 256
    """Channels of the 1×1 code between encoder and decoder of the depth and albedo networks."""
    albedo_code_size: int | None = None
    """The same of the albedo network alone; None takes `code_size`."""
    offset_base_width: int = 32
    """Base width of the encoder of latent offsets in channels."""

    def map_width(self, image_size: int) -> int:
        """Base width of the depth and albedo networks for pictures of `image_size` px."""
        return self.map_base_width or self._scaled(image_size)

    def vector_width(self, image_size: int) -> int:
        """Base width of the view and light networks for pictures of `image_size` px."""
        return self.vector_base_width or self._scaled(image_size)

    def _scaled(self, image_size: int) -> int:
        return max(1, round(full_base_width(image_size) * self.width_multiplier))


def full_base_width(image_size: int) -> int:
    """The paper's base width in channels: ``max(4096 // image_size, 16)``."""
    return max(4096 // image_size, 16)


def group_count(width: int, image_size: int) -> int:
    """Groups of a GroupNorm over `width` channels.

    At the paper's widths these are its numbers: 16 groups (8 from 128 px on) at the base width, doubling with the
    width. Narrower networks keep the channels in a group and have fewer groups: with the count kept, a quarter of the
    width would normalise every channel alone and lose its mean.
    """
    base_groups = 8 if image_size >= 128 else 16
    group_size = full_base_width(image_size) // base_groups
    return width // math.gcd(width, group_size)


def level_widths(image_size: int, base_width: int) -> list[int]:
    """Channels after each stride-2 convolution from `image_size` px down to 4×4: doubling from the base width.

    Raises:
        ValueError: if the size is no power of two from 8 on, or the width is not positive.
    """
    if image_size < 8 or image_size & (image_size - 1):
        raise ValueError(f"image_size must be a power of two, 8 or more; got {image_size}")
    if base_width < 1:
        raise ValueError(f"base_width must be positive; got {base_width}")
    levels = image_size.bit_length() - 3  # log2(size) - 2 halvings lead to 4×4
    return [base_width << level for level in range(levels)]
