"""The latent direction that turns a generator's object, found from mirror images.

A picture and its mirror image show (nearly) the same object, turned and lit from the other side. So half the difference
of their latents is made of turn and light; relit pictures tell the light's part, and what varies most of the rest is
the turn. Nothing is known of any pose. It assumes that the *category* looks the same in a mirror, not each object.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gan2shape.networks.latents import LatentEncoder
from gan2shape.render import Camera, Lighting, Pose, normals_from_depth, reproject, shade, unshade

_CHUNK = 64
_SIDE = 0.8
"""Sideways part of the lights (beside 1 along the view) whose effect on the latents is taken."""
_AMBIENT = 0.35
_PROBE_DEG = 15.0
"""Turn of the crude renderings that say which way along the direction is a positive yaw."""
_PROBED = 256
"""Pictures that are relit and turned."""


@dataclass(frozen=True, eq=False)
class Turning:
    """The turn of a generator's object as a coordinate of its latents.

    Attributes:
        direction: unit latent direction (latent_dim,) towards positive yaw.
        light: unit latent direction (latent_dim,) of sideways light, taken out of every difference first.
        spread: standard deviation of the coordinate over the generator's pictures, in latent units.
        encoder: pictures to latents.
    """

    direction: Tensor
    light: Tensor
    spread: float
    encoder: LatentEncoder

    @torch.no_grad()
    def coordinate(self, images: Tensor) -> Tensor:
        """The turn (N,) that signed pictures (N, 3, S, S) show, in standard deviations; 0 is frontal."""
        odd = [mirror_difference(self.encoder, chunk) for chunk in images.split(_CHUNK)]
        return without(torch.cat(odd), self.light) @ self.direction / self.spread

    def moved(self, latents: Tensor, by: Tensor) -> Tensor:
        """Latents (N, latent_dim) turned by ``by`` (N,) standard deviations."""
        return latents + (by * self.spread)[:, None] * self.direction


def find_turning(encoder: LatentEncoder, pictures: Mapping[str, Tensor], camera: Camera) -> Turning:
    """Find the direction from a generator's own pictures.

    Args:
        encoder: of this generator.
        pictures: ``image`` (N, 3, S, S) signed, ``mask`` (N, 1, S, S), ``ellipsoid`` (N, 1, S, S) a crude depth of the
            object in scene units.
        camera: of that depth.
    """
    image = pictures["image"]
    with torch.no_grad():
        odd = torch.cat([mirror_difference(encoder, chunk) for chunk in image.split(_CHUNK)])
        shown = {name: values[:_PROBED] for name, values in pictures.items()}
        light = _response(encoder, *(_lit(shown, side, camera) for side in (_SIDE, -_SIDE)))
        turn = _response(encoder, *(_turned(shown, yaw, camera) for yaw in (_PROBE_DEG, -_PROBE_DEG)))
        light = light / light.norm()
        odd = without(odd, light)
        direction = torch.linalg.svd(odd, full_matrices=False).Vh[0]
        direction = direction * torch.sign(direction @ turn)
        return Turning(direction, light, float((odd @ direction).std()), encoder)


def mirror_difference(encoder: LatentEncoder, image: Tensor) -> Tensor:
    """Half the difference (N, latent_dim) between the latents of signed pictures (N, 3, S, S) and of their mirror
    images: what is odd under mirroring."""
    return (encoder(image) - encoder(image.flip(-1))) / 2


def without(values: Tensor, direction: Tensor) -> Tensor:
    """Vectors (N, C) without their part along a unit direction (C,)."""
    return values - (values @ direction)[:, None] * direction


def _response(encoder: LatentEncoder, one: Tensor, other: Tensor) -> Tensor:
    """The mean effect (latent_dim,) of a change of the same pictures on their latents."""
    pairs = zip(one.split(_CHUNK), other.split(_CHUNK), strict=True)
    return torch.cat([encoder(a) - encoder(b) for a, b in pairs]).mean(0)


def _lit(pictures: Mapping[str, Tensor], side: float, camera: Camera) -> Tensor:
    """The pictures under a light from the side, on the crude shape."""
    image = pictures["image"]
    count = len(image)
    normals = normals_from_depth(pictures["ellipsoid"], camera)
    return torch.where(pictures["mask"] > 0.5, relit(image, normals, side_light(image, side, count)), image)


def side_light(like: Tensor, side: float, count: int) -> Lighting:
    """A light that travels to image-right for a positive ``side``."""
    direction = like.new_tensor([[side, 0.0, 1.0]]) / math.hypot(side, 1.0)
    ambient = like.new_full((count, 1), _AMBIENT)
    return Lighting(ambient, 1 - ambient, direction.expand(count, 3))


def even_light(like: Tensor, count: int) -> Lighting:
    """The light that pictures are taken to be under before anything is known: half from everywhere, half frontal."""
    half = like.new_full((count, 1), 0.5)
    return Lighting(half, half, like.new_tensor([[0.0, 0.0, 1.0]]).expand(count, 3))


def relit(image: Tensor, normals: Tensor, lighting: Lighting) -> Tensor:
    """Signed pictures (N, 3, S, S) taken to be under the even light, under another one; signed, clamped."""
    albedo = unshade(image, normals, even_light(image, len(image)))
    return shade(albedo, normals, lighting).clamp(-1, 1)


def _turned(pictures: Mapping[str, Tensor], yaw_deg: float, camera: Camera) -> Tensor:
    """The pictures on the crude shape, turned, before the background as it was."""
    image = pictures["image"]
    angles = image.new_tensor([[0.0, math.radians(yaw_deg), 0.0]])
    texture = torch.cat([image, pictures["mask"]], dim=1)
    seen = reproject(texture, pictures["ellipsoid"], Pose.from_euler(angles).expand(len(image)), camera)
    return torch.where(seen.image[:, 3:] * seen.mask > 0.5, seen.image[:, :3], image)
