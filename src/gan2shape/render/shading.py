"""Light on a surface: one ambient and one directional light (Lambert), attached to the canonical object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gan2shape.render.pose import one_of

_DARKEST = 0.05


@dataclass(frozen=True, eq=False)
class Lighting:
    """A batch of lights. The direction is the way the light travels, in the frame of the +z normals.

    So x > 0 lights surfaces that face image-left, y > 0 those that face up, and (0, 0, 1) shines from the camera.
    """

    ambient: Tensor
    """(B, 1) strength of the light that comes from everywhere, usually in [0, 1]."""
    diffuse: Tensor
    """(B, 1) strength of the directional light, usually in [0, 1]."""
    direction: Tensor
    """(B, 3) unit vectors."""

    def __post_init__(self) -> None:
        shapes = tuple(tuple(value.shape) for value in (self.ambient, self.diffuse, self.direction))
        batch = shapes[0][0] if shapes[0] else 0
        if shapes != ((batch, 1), (batch, 1), (batch, 3)):
            raise ValueError(f"a light needs ambient (B, 1), diffuse (B, 1), direction (B, 3); got {shapes}")

    @property
    def batch(self) -> int:
        """How many lights this is."""
        return self.ambient.shape[0]

    def expand(self, batch: int) -> Lighting:
        """A light of batch one repeated `batch` times (without copying)."""
        return Lighting(self.ambient.expand(batch, 1), self.diffuse.expand(batch, 1), self.direction.expand(batch, 3))

    def detach(self) -> Lighting:
        """The same light without gradient history."""
        return Lighting(self.ambient.detach(), self.diffuse.detach(), self.direction.detach())

    def to(self, target: torch.device | torch.dtype | str) -> Lighting:
        """The same light on another device or in another dtype."""
        return Lighting(self.ambient.to(target), self.diffuse.to(target), self.direction.to(target))

    @staticmethod
    def cat(lights: Sequence[Lighting]) -> Lighting:
        """Lights one after the other, as one batch."""
        return Lighting(
            torch.cat([light.ambient for light in lights]),
            torch.cat([light.diffuse for light in lights]),
            torch.cat([light.direction for light in lights]),
        )

    def __len__(self) -> int:
        return self.batch

    def __getitem__(self, index: int | slice | Tensor) -> Lighting:
        """Some of the lights; an integer gives a batch of one."""
        if isinstance(index, int):
            index = one_of(index, self.batch)
        return Lighting(self.ambient[index], self.diffuse[index], self.direction[index])


def diffuse_shading(normals: Tensor, lighting: Lighting) -> Tensor:
    """Cosine between normal and light, cut at zero: (B, 1, H, W) in [0, 1], from unit normals (B, 3, H, W)."""
    _check_three_channels("normals", normals)
    return (normals * lighting.direction[:, :, None, None]).sum(dim=1, keepdim=True).clamp(min=0)


def shading(normals: Tensor, lighting: Lighting) -> Tensor:
    """Brightness ambient + diffuse · max(0, n·l), (B, 1, H, W), from unit normals (B, 3, H, W)."""
    return lighting.ambient[:, :, None, None] + lighting.diffuse[:, :, None, None] * diffuse_shading(normals, lighting)


def shade(albedo: Tensor, normals: Tensor, lighting: Lighting) -> Tensor:
    """The lit surface in the canonical frame, (B, 3, H, W) signed and not clamped (the paper's Λ).

    `albedo` (B, 3, H, W) signed in [-1, 1], `normals` (B, 3, H, W) unit; batches of one go with any batch.
    """
    _check_three_channels("albedo", albedo)
    return (albedo / 2 + 0.5) * shading(normals, lighting) * 2 - 1


def unshade(image: Tensor, normals: Tensor, lighting: Lighting) -> Tensor:
    """The albedo (B, 3, H, W), signed in [-1, 1], that `shade` turns into a signed picture (B, 3, H, W).

    Where the picture is brighter than white paper would be under this light, the albedo is white. Unlit surfaces
    (shading below 0.05) count as lit that much.
    """
    _check_three_channels("image", image)
    return ((image / 2 + 0.5) / shading(normals, lighting).clamp(min=_DARKEST)).clamp(0, 1) * 2 - 1


def _check_three_channels(name: str, values: Tensor) -> None:
    if values.dim() != 4 or values.shape[1] != 3:
        raise ValueError(f"{name} must be (B, 3, H, W); got {tuple(values.shape)}")
