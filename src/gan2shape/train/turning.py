"""The latent directions that turn a generator's object, nod it and light it from the side.

A picture and its mirror image show (nearly) the same object, turned and lit from the other side. So half the difference
of their latents is made of turn and light; relit pictures tell the light's part, and what varies most of the rest is
the turn. It assumes that the *category* looks the same in a mirror, not each object. Nothing is known of any pose. A
nod has no such sign: it is what renderings of the crude shape that nod have in common; how much of it a degree is, is
told by how the same renderings answer to a turn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.networks.latents import LatentEncoder
from gan2shape.networks.turning import YAW_STD_DEG, Turning, mirror_difference, without
from gan2shape.priors.distributions import GENERIC_LIGHTING
from gan2shape.render import Camera, Lighting, Pose, normals_from_depth, reproject, shade, unshade

_CHUNK = 64
_SIDE = 0.8
"""Sideways part of the lights (beside 1 along the view) whose effect on the latents is taken."""
_AMBIENT = 0.35
_YAW_DEG, _PITCH_DEG = 15.0, 12.0
"""Turns of the crude renderings that say which way along the direction is a positive yaw, and what a nod is."""
PROBED = 256
"""Pictures that are relit and turned, where there are so many."""


def find_turning(encoder: LatentEncoder, image: Tensor, probed: Mapping[str, Tensor], camera: Camera) -> Turning:
    """Find the directions from a generator's own pictures.

    Args:
        encoder: of this generator.
        image: pictures (N, 3, S, S), signed.
        probed: some of them, to be relit and turned: ``image`` (K, 3, S, S) signed, ``mask`` (K, 1, S, S),
            ``ellipsoid`` (K, 1, S, S) a crude depth of the object in scene units.
        camera: of that depth.
    """
    with torch.no_grad():
        odd = torch.cat([mirror_difference(encoder, chunk) for chunk in image.split(_CHUNK)])
        latents = torch.cat([encoder(chunk) for chunk in image.split(_CHUNK)])
        light = _response(encoder, *(_lit(probed, side, camera) for side in (_SIDE, -_SIDE)))
        turn = _response(encoder, *(_turned(probed, yaw, 0.0, camera) for yaw in (_YAW_DEG, -_YAW_DEG)))
        nod = _response(encoder, *(_turned(probed, 0.0, pitch, camera) for pitch in (_PITCH_DEG, -_PITCH_DEG)))
        light = light / light.norm()
        odd = without(odd, light)
        direction = torch.linalg.svd(odd, full_matrices=False).Vh[0]
        direction = direction * torch.sign(direction @ turn)
        spread, light_spread = float((odd @ direction).std()), float((latents @ light).std())
        # Crude renderings answer to a turn with a part of what the generator would do; so they do to a nod.
        part = float(turn @ direction) / (2 * _YAW_DEG) * YAW_STD_DEG / spread
        pitch = without(without(nod, light), direction) / (2 * _PITCH_DEG * part)
        return Turning(direction, light, pitch, spread, light_spread, encoder)


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
    """The light that pictures are taken to be under before anything is known: the mean of the generic prior, of
    strength one. It comes from above, as light mostly does, and that tells a brow from a hollow."""
    prior = GENERIC_LIGHTING
    ambient = like.new_full((count, 1), prior.mean_ambient / (prior.mean_ambient + prior.mean_diffuse))
    direction = F.normalize(like.new_tensor([prior.mean_direction]), dim=1)
    return Lighting(ambient, 1 - ambient, direction.expand(count, 3))


def relit(image: Tensor, normals: Tensor, lighting: Lighting) -> Tensor:
    """Signed pictures (N, 3, S, S) taken to be under the even light, under another one; signed, clamped."""
    albedo = unshade(image, normals, even_light(image, len(image)))
    return shade(albedo, normals, lighting).clamp(-1, 1)


def _turned(pictures: Mapping[str, Tensor], yaw_deg: float, pitch_deg: float, camera: Camera) -> Tensor:
    """The pictures on the crude shape, turned, before the background as it was."""
    image = pictures["image"]
    angles = image.new_tensor([[math.radians(pitch_deg), math.radians(yaw_deg), 0.0]])
    texture = torch.cat([image, pictures["mask"]], dim=1)
    seen = reproject(texture, pictures["ellipsoid"], Pose.from_euler(angles).expand(len(image)), camera)
    return torch.where(seen.image[:, 3:] * seen.mask > 0.5, seen.image[:, :3], image)
