"""The pictures to explain, and the framing between the generator's pixels and the working pixels.

One picture is a list of one: every step takes N pictures, and works on some of them in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class Target:
    """What a reconstruction explains: one picture, or N that share their networks (joint pre-training).

    Attributes:
        image: the pictures at working size, (N, 3, S, S), signed.
        latent: their latents in the generator, (N, latent_dim) or (N, num_ws, latent_dim).
        mask: the objects, (N, 1, S, S) in [0, 1], 1 = object.
    """

    image: Tensor
    latent: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        """Refuse shapes that do not belong together.

        Raises:
            ValueError: a shape that is not as the class says.
        """
        shape = tuple(self.image.shape)
        if self.image.ndim != 4 or shape[0] == 0 or shape[1] != 3 or shape[2] != shape[3]:
            raise ValueError(f"image must be (N, 3, S, S); got {shape}")
        if self.latent.ndim not in (2, 3) or self.latent.shape[0] != shape[0]:
            raise ValueError(f"latent must be ({shape[0]}, D) or ({shape[0]}, L, D); got {tuple(self.latent.shape)}")
        if self.mask.shape != (shape[0], 1, *shape[2:]):
            raise ValueError(f"mask must be ({shape[0]}, 1, S, S) like the image; got {tuple(self.mask.shape)}")

    @property
    def count(self) -> int:
        """Number of pictures."""
        return self.image.shape[0]

    def __getitem__(self, index: slice | Tensor) -> Target:
        """Some of the pictures."""
        return Target(self.image[index], self.latent[index], self.mask[index])

    def in_turn(self, iteration: int, together: int) -> Tensor:
        """Which pictures, at most ``together``, an iteration works on: all of them by turns, as indices (K,)."""
        count = min(together, self.count)
        return (iteration * count + torch.arange(count, device=self.image.device)) % self.count

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
