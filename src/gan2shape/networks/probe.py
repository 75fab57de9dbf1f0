"""The probe: a small network that reads pose, light and looks of an object from its picture.

Trained with truth, it measures what a generator covers: its numbers tell how pose and light of generated pictures are
distributed, its features how far the pictures are from true ones as a whole. It plays the part that an Inception
network plays elsewhere, without a download and for one kind of object.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from gan2shape.networks.encoder import check_size
from gan2shape.networks.trained import NetworkSizes, load_networks
from gan2shape.networks.widths import level_widths

PROBE = "probe"
NUMBERS = ("pitch", "yaw", "roll", "light x", "light y", "light z", "ambient", "diffuse")
"""What is read: degrees, the direction in which light travels (camera axes), and the two strengths of light."""
SHAPE_SIDE, COLOUR_SIDE = 8, 4
LOOKS = 2 * SHAPE_SIDE**2 + 3 * COLOUR_SIDE**2
"""Numbers that stand for who is seen: small maps of outline, depth and colours of the object."""
_WIDEST = 4
"""Channels grow up to this many times the base width."""
_LEAK = 0.2


class Probe(nn.Module):
    """3×3 stride-2 convolutions with batch norm and leaky ReLU down to 4×4, then features, then what is read.

    Args:
        sizes: side of the pictures, a power of two from 8 on; ``vector_width`` is the channels after the first
            convolution, ``code_size`` the features; there are no maps.

    Raises:
        ValueError: if a size cannot be.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.image_size = sizes.image_size
        most = _WIDEST * sizes.vector_width
        widths = [3, *(min(width, most) for width in level_widths(sizes.image_size, sizes.vector_width))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            convolution = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.LeakyReLU(_LEAK)]
        self.convs = nn.Sequential(*layers)
        self.code = nn.Linear(16 * widths[-1], sizes.code_size)
        self.head = nn.Sequential(nn.LeakyReLU(_LEAK), nn.Linear(sizes.code_size, len(NUMBERS) + LOOKS))
        self.register_buffer("mean", torch.zeros(len(NUMBERS) + LOOKS))
        self.register_buffer("spread", torch.ones(len(NUMBERS) + LOOKS))

    def features(self, image: Tensor) -> Tensor:
        """Signed pictures (B, 3, S, S) → features (B, code_size)."""
        check_size(image, self.image_size)
        channels_last = image.contiguous(memory_format=torch.channels_last)  # A third faster on CPUs.
        return self.code(self.convs(channels_last).flatten(1))

    def forward(self, image: Tensor) -> Tensor:
        """Signed pictures (B, 3, S, S) → numbers and looks (B, 8 + 176) as deviations from ``mean`` in ``spread``."""
        return self.head(self.features(image))

    def read(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Signed pictures (B, 3, S, S) → features (B, code_size) and `NUMBERS` (B, 8) in their units."""
        features = self.features(image)
        count = len(NUMBERS)
        return features, self.head(features)[:, :count] * self.spread[:count] + self.mean[:count]


def load_probe(file: Path) -> Probe:
    """The probe of a file that ``gan2shape train probe`` wrote, frozen, on the CPU in float32.

    Raises:
        CheckpointError: damaged, of another kind, or with weights that do not fit.
    """
    return load_networks(file, PROBE, Probe)
