"""The latent directions that turn a generator's object, nod it and light it from the side and from above.

A picture and its mirror image show (nearly) the same object, turned and lit from the other side. So half the difference
of their latents is made of turn and light; relit pictures tell the light's part, and what varies most of the rest is
the turn. It assumes that the *category* looks the same in a mirror, not each object. The light's height is what
pictures relit from above and from below differ in. A nod has no such sign: it is what renderings of the crude shape
that nod have in common. Nothing is known of any pose; how many degrees a turn and a nod are is told by the crude
shape's own parallax.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.losses import photometric
from gan2shape.networks.agreement import equally_bright
from gan2shape.networks.latents import LatentEncoder
from gan2shape.networks.turning import TURN_DEG, Turning, mirror_difference, without
from gan2shape.priors.distributions import GENERIC_LIGHTING
from gan2shape.render import Camera, Lighting, Pose, normals_from_depth, reproject, shade, unshade

_CHUNK = 64
_SIDE = 0.8
"""Sideways part of the lights (beside 1 along the view) whose effect on the latents is taken."""
_DOWN, _UP = 0.8, -0.4
"""Downward part of the lights whose difference in effect is that of the light's height."""
_AMBIENT = 0.35
_YAW_DEG, _PITCH_DEG = 15.0, 12.0
"""Turns of the crude renderings that say which way along the direction is a positive yaw, and what a nod is."""
_ASKED_DEG, _ANGLES_DEG = 10.0, tuple(range(2, 31))
"""A turn that is asked for, and the angles among which the painted one is looked for."""
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
        light = _response(encoder, *(_lit(probed, (side, 0.0), camera) for side in (_SIDE, -_SIDE)))
        height = _response(encoder, *(_lit(probed, (0.0, down), camera) for down in (_DOWN, _UP)))
        turn = _response(encoder, *(_turned(probed, yaw, 0.0, camera) for yaw in (_YAW_DEG, -_YAW_DEG)))
        nod = _response(encoder, *(_turned(probed, 0.0, pitch, camera) for pitch in (_PITCH_DEG, -_PITCH_DEG)))
        light, height = light / light.norm(), height / height.norm()
        odd = without(odd, light)
        direction = torch.linalg.svd(odd, full_matrices=False).Vh[0]
        direction = direction * torch.sign(direction @ turn)
        spread = float((odd @ direction).std())
        light_spread, height_spread = (float((latents @ along).std()) for along in (light, height))
        # Crude renderings answer to a turn with a part of what the generator would do; so they do to a nod.
        part = float(turn @ direction) / (2 * _YAW_DEG) * TURN_DEG / spread
        pitch = without(without(nod, light), direction) / (2 * _PITCH_DEG * part)
        return Turning(direction, light, height, pitch, spread, light_spread, height_spread, encoder)


@torch.no_grad()
def calibrated(
    turning: Turning,
    latents: Tensor,
    paint: Callable[[Tensor], Tensor],
    objects: Mapping[str, Tensor],
    camera: Camera,
) -> Turning:
    """The same directions, with turns and nods of as many degrees as they say.

    What the generator paints for a turn is compared with what the crude shape shows when it turns; the angle at which
    both agree best is how far the generator has turned.

    Args:
        turning: directions, as `find_turning` finds them.
        latents: of objects that face the camera, (N, latent_dim).
        paint: latents (N, latent_dim) to signed pictures.
        objects: what they show: ``front`` (N, 3, S, S) signed, ``mask`` and ``ellipsoid`` (N, 1, S, S).
        camera: of the crude shapes.
    """
    still = torch.zeros(len(latents)).to(latents)

    def angle(axis: int, **moves: float) -> float:
        """How far the generator turns about an axis (0 = pitch, 1 = yaw) for a move, in degrees."""
        sides = {
            side: paint(turning.moved(latents, **{"by": still} | {name: still + side * x for name, x in moves.items()}))
            for side in (1, -1)
        }
        errors = [
            sum(float(_mismatch(objects, view, axis, side * deg, camera)) for side, view in sides.items())
            for deg in _ANGLES_DEG
        ]
        return float(_ANGLES_DEG[errors.index(min(errors))])

    yaw, pitch = angle(1, by=_ASKED_DEG / TURN_DEG), angle(0, pitch_deg=_ASKED_DEG)
    return replace(turning, spread=turning.spread * _ASKED_DEG / yaw, pitch=turning.pitch * (_ASKED_DEG / pitch))


def _mismatch(objects: Mapping[str, Tensor], view: Tensor, axis: int, deg: float, camera: Camera) -> Tensor:
    """How much painted views (N, 3, S, S) differ from their fronts, turned on the crude shape."""
    angles = torch.zeros(1, 3).to(view)
    angles[0, axis] = math.radians(deg)
    texture = torch.cat([objects["front"], objects["mask"]], dim=1)
    seen = reproject(texture, objects["ellipsoid"], Pose.from_euler(angles).expand(len(view)), camera)
    kept = seen.mask * (seen.image[:, 3:] > 0.5)
    return photometric(equally_bright(seen.image[:, :3], view, kept), view, kept)


def _response(encoder: LatentEncoder, one: Tensor, other: Tensor) -> Tensor:
    """The mean effect (latent_dim,) of a change of the same pictures on their latents."""
    pairs = zip(one.split(_CHUNK), other.split(_CHUNK), strict=True)
    return torch.cat([encoder(a) - encoder(b) for a, b in pairs]).mean(0)


def _lit(pictures: Mapping[str, Tensor], slope: tuple[float, float], camera: Camera) -> Tensor:
    """The pictures under a light from a side, on the crude shape, as bright in the mean as they were: brightness is
    the object's colour as much as the light's height."""
    image, mask = pictures["image"], pictures["mask"]
    normals = normals_from_depth(pictures["ellipsoid"], camera)
    lit = relit(image, normals, slanted_light(image, slope, len(image)))
    return torch.where(mask > 0.5, equally_bright(lit, image, mask).clamp(-1, 1), image)


def slanted_light(like: Tensor, slope: tuple[float, float], count: int) -> Lighting:
    """A light that travels by ``slope`` to image-right and down for 1 along the view."""
    direction = like.new_tensor([[*slope, 1.0]]) / math.hypot(*slope, 1.0)
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
