"""ConfidenceNetwork: how far off a reconstruction of each pixel is expected to be. Used in training only.

Source: Unsup3D (Wu et al., CVPR 2020), section 3.3 and appendix.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from gan2shape.networks.autoencoder import code_encoder, full_precision
from gan2shape.networks.encoder import check_size
from gan2shape.networks.widths import full_base_width, group_count, level_widths

MAPS = 2
"""Of each size: one for the picture, one for its mirrored reconstruction."""


class ConfidenceNetwork(nn.Module):
    """A picture to positive deviations: two maps of its size, for colours, and two of a quarter, for features.

    The encoder is that of `Autoencoder`; transposed 4×4 convolutions lead up again, 3×3 and 5×5 ones to the maps.

    Args:
        image_size: side of the picture in px, a power of two, 16 or more.
        base_width: channels at half size; the paper's ``max(4096 // image_size, 16)`` if None.
        code_size: channels of the 1×1 code.

    Raises:
        ValueError: if the size or the width cannot be.
    """

    def __init__(self, image_size: int, base_width: int | None = None, code_size: int = 128) -> None:
        super().__init__()
        if image_size < 16:
            raise ValueError(f"image_size must be 16 or more; got {image_size}")
        widths = level_widths(image_size, base_width or full_base_width(image_size))
        base, double = widths[:2]
        self.image_size = image_size
        self.encoder = code_encoder(widths, 3, code_size, image_size)
        to_quarter: list[nn.Module] = [nn.ConvTranspose2d(code_size, widths[-1], 4, bias=False), nn.ReLU(inplace=True)]
        for before, after in pairwise(widths[:0:-1]):
            to_quarter += _up(before, after, image_size)
        self.to_quarter = nn.Sequential(*to_quarter)
        self.to_full = nn.Sequential(*_up(double, base, image_size), *_up(base, base, image_size))
        self.quarter_map = nn.Conv2d(double, MAPS, 3, padding=1, bias=False)
        self.full_map = nn.Conv2d(base, MAPS, 5, padding=2, bias=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) → deviations (B, 2, S, S) and (B, 2, S/4, S/4), for the picture and for the mirrored one."""
        check_size(image, self.image_size)
        quarter = self.to_quarter(self.encoder(image))
        full = self.to_full(quarter)
        return F.softplus(full_precision(self.full_map, full)), F.softplus(full_precision(self.quarter_map, quarter))


def _up(before: int, after: int, image_size: int) -> list[nn.Module]:
    return [
        nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),
        nn.GroupNorm(group_count(after, image_size), after),
        nn.ReLU(inplace=True),
    ]
