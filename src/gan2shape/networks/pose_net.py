"""Poses of a category's pictures, by a network that begins as the generator's inverse (``gan2shape train distill``).

What the inverse sees of a picture tells its pose already, nearly linearly; trained on, it tells it better than any
linear reading of its latents.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan2shape.networks.encoder import ResidualEncoder
from gan2shape.networks.latents import LatentEncoder, shrunk

POSE_NUMBERS = 6
"""Pitch, yaw, roll and three shifts, in network units."""
MIRRORED_POSE = (1.0, -1.0, -1.0, -1.0, 1.0, 1.0)
"""Their signs in a mirror image."""
_LAST = "head.3.weight"
"""Where a `ResidualEncoder` keeps the weights of its last layer."""


class PoseNetwork(nn.Module):
    """A picture to the pose of what it shows: a `ResidualEncoder`.

    Args:
        image_size: side of the pictures that it looks at, in px.
        base_width: channels after the first convolution.
    """

    def __init__(self, image_size: int, base_width: int) -> None:
        super().__init__()
        self.image_size = image_size
        self.network = ResidualEncoder(POSE_NUMBERS, image_size, base_width)

    @classmethod
    def like(cls, encoder: LatentEncoder) -> PoseNetwork:
        """One of the size of a generator's inverse, on the CPU."""
        return cls(encoder.image_size, encoder.network.stem.out_channels)

    @classmethod
    def from_encoder(cls, encoder: LatentEncoder) -> PoseNetwork:
        """A generator's inverse, but for the last layer, which says zero."""
        found = cls.like(encoder).to(encoder.mean.device)
        silent = {_LAST: torch.zeros_like(found.last.weight)}
        found.network.load_state_dict(encoder.network.state_dict() | silent)
        return found.requires_grad_(True)

    @property
    def last(self) -> nn.Conv2d:
        """The layer that says the numbers."""
        layer = self.network.head[-1]
        assert isinstance(layer, nn.Conv2d)
        return layer

    def forward(self, image: Tensor) -> Tensor:
        """Signed pictures (B, 3, R, R), R a power of two, → poses (B, 6) in network units, unbounded."""
        return self.network(shrunk(image, self.image_size))

    @torch.no_grad()
    def both_ways(self, image: Tensor) -> Tensor:
        """Poses (B, 6) of signed pictures (B, 3, R, R): the mean of what they and their mirror images show."""
        own, mirrored = self(image), self(image.flip(-1))
        return (own + mirrored * own.new_tensor(MIRRORED_POSE)) / 2
