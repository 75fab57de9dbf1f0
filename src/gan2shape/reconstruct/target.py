"""The picture to explain, and the framing between the generator's pixels and the working pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class Target:
    """What a reconstruction explains.

    Attributes:
        image: the picture at working size, (1, 3, S, S), signed.
        latent: its latent in the generator, (1, latent_dim) or (1, num_ws, latent_dim).
        mask: the object, (1, 1, S, S) in [0, 1], 1 = object.
    """

    image: Tensor
    latent: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        """Refuse shapes that do not belong together.

        Raises:
            ValueError: a shape that is not as the class says.
        """
        if self.image.ndim != 4 or self.image.shape[:2] != (1, 3) or self.image.shape[2] != self.image.shape[3]:
            raise ValueError(f"image must be (1, 3, S, S); got {tuple(self.image.shape)}")
        if self.latent.ndim not in (2, 3) or self.latent.shape[0] != 1:
            raise ValueError(f"latent must be (1, D) or (1, L, D); got {tuple(self.latent.shape)}")
        if self.mask.shape != (1, 1, *self.image.shape[2:]):
            raise ValueError(f"mask must be (1, 1, S, S) like the image; got {tuple(self.mask.shape)}")

    def to(self, device: torch.device) -> Target:
        """The same target on another device."""
        return Target(self.image.to(device), self.latent.to(device), self.mask.to(device))


@dataclass(frozen=True)
class Framing:
    """How a picture of the generator becomes a picture at working size: clamp, centre crop, resize.

    Attributes:
        resolution: side of the generator's pictures, in pixels.
        working_size: side of the working pictures, in pixels.
        crop: side of the centre square that is kept, in the generator's pixels.
    """

    resolution: int
    working_size: int
    crop: int

    def to_working(self, images: Tensor) -> Tensor:
        """Pictures of the generator (B, 3, R, R), any range, as working pictures (B, 3, S, S) in [-1, 1]."""
        images = images.clamp(-1, 1)
        margin = (self.resolution - self.crop) // 2
        images = images[:, :, margin : margin + self.crop, margin : margin + self.crop]
        return resize(images, self.working_size)


def resize(images: Tensor, size: int) -> Tensor:
    """Square maps (B, C, H, H) at another size: area average when shrinking, bilinear when growing."""
    if images.shape[-1] == size:
        return images
    if images.shape[-1] > size:
        return F.adaptive_avg_pool2d(images, size)
    return F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
