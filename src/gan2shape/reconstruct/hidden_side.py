"""The side of an object that its picture does not show, painted by the GAN, or like the other side.

A picture of a turned head leaves half of the canonical frame without colours, and its mask says nothing of the outline
there. The generator's picture of the same object from the front has both. Without a generator there is the other side,
where the category looks alike in a mirror.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.networks.turned import canonical_albedo
from gan2shape.render import Camera, Lighting, Pose, Scene
from gan2shape.render.warp import forward_grid, sample_image, visible

_NEARER = 0.004
"""Scene units by which a surface that hides another is nearer than it, at least."""
_SEAM_PX = 5
"""Width over which the picture's colours pass into the generator's."""


@torch.no_grad()
def completed(
    scene: Scene, mask: Tensor, front: Tensor, front_mask: Tensor, lighting: Lighting, camera: Camera
) -> tuple[Scene, Tensor]:
    """The scene with colours on the hidden side, and the object's mask in the canonical frame (1, 1, S, S).

    Args:
        scene: of the picture, batch 1.
        mask: the object in the picture, (1, 1, S, S).
        front: the generator's picture of the object from the front, (1, 3, S, S), signed.
        front_mask: the object in it, (1, 1, S, S).
        lighting: of that picture, attached to the object, batch 1.
        camera: of the scene.
    """
    seen = visible(scene.depth, scene.pose, camera, behind=_NEARER).to(scene.depth)
    here = sample_image(mask.to(scene.depth), forward_grid(scene.depth, scene.pose, camera))
    share = soft(seen * here)
    painted = canonical_albedo(front, scene.depth, Pose.identity(1, like=front), lighting, camera)
    both = ((share > 0.5) & (front_mask > 0.5)).to(scene.depth)
    if float(both.sum()) > 0:
        own, other = (((albedo / 2 + 0.5) * both).sum((2, 3), keepdim=True) for albedo in (scene.albedo, painted))
        painted = ((painted / 2 + 0.5) * own / other.clamp(min=1e-3)).clamp(0, 1) * 2 - 1
    albedo = share * scene.albedo + (1 - share) * painted
    known = (front_mask > 0.5).to(here)
    outline = reached(known, torch.maximum(seen * (here > 0.5), known))
    return replace(scene, albedo=albedo), smooth(outline)


@torch.no_grad()
def mirrored(scene: Scene, mask: Tensor, camera: Camera) -> tuple[Scene, Tensor]:
    """The scene with the other side's colours on the hidden side, and the object's mask in the canonical frame
    (1, 1, S, S), alike on both sides but for what the picture shows.

    Args:
        scene: of the picture, batch 1.
        mask: the object in the picture, (1, 1, S, S).
        camera: of the scene.
    """
    here = sample_image(mask.to(scene.depth), forward_grid(scene.depth, scene.pose, camera))
    known = (visible(scene.depth, scene.pose, camera, behind=_NEARER) & (here > 0.5)).to(scene.depth)
    share = soft(known)
    other = (1 - share) * soft(known.flip(-1))
    albedo = scene.albedo + other * (scene.albedo.flip(-1) - scene.albedo)
    return replace(scene, albedo=albedo), smooth(torch.maximum(known, known.flip(-1)))


def reached(start: Tensor, within: Tensor) -> Tensor:
    """What of a mask (1, 1, S, S) hangs together with a part of it: all but splinters elsewhere."""
    found = torch.minimum(start, within)
    for _ in range(start.shape[-2] + start.shape[-1]):
        found = torch.minimum(F.max_pool2d(found, 3, stride=1, padding=1), within)
    return found


def smooth(mask: Tensor) -> Tensor:
    """A mask (1, 1, S, S) of 0 and 1 without teeth: what most of a pixel's neighbourhood is."""
    pad = _SEAM_PX // 2
    return (F.avg_pool2d(F.pad(mask, (pad,) * 4, mode="replicate"), _SEAM_PX, stride=1) > 0.5).to(mask)


def soft(mask: Tensor) -> Tensor:
    """A mask (1, 1, S, S) that falls off inside its border, never outside."""
    pad = _SEAM_PX // 2
    shrunk = -F.max_pool2d(-F.pad(mask, (pad,) * 4, mode="replicate"), _SEAM_PX, stride=1)
    return F.avg_pool2d(F.pad(shrunk, (pad,) * 4, mode="replicate"), _SEAM_PX, stride=1) * mask
