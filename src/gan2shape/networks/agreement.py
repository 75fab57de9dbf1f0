"""How well objects explain their views: what ``gan2shape train turned`` learns from, and what refines a single picture.

An object is known as seen from the front and in views under other turns and lights, painted by a generator. The colours
of the front, divided by their shading, are its albedo; turned and lit as in a view, that must be the view.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan2shape.losses import photometric, smoothness
from gan2shape.networks.turned import TurnedNetworks, canonical_albedo, in_object_frame
from gan2shape.networks.turning import YAW_STD_DEG
from gan2shape.render import diffuse_shading, normals_from_depth, reproject, shade
from gan2shape.render.units import PoseRange, pose_from_units
from gan2shape.render.warp import forward_grid, sample_image

WIDEST_DEG = 40.0
"""Views that are turned farther are left out: too little of the front is left in them."""
SMOOTH, DEPTH_SMOOTH = 0.02, 2.0
"""Weights of the second differences of depth and shading, and the further weight of the depth's."""
_YAW = 1
"""Place of the yaw among the view network's numbers."""
_REST_WEIGHT = 0.1
"""Of all other numbers of the pose, which a category is taken to have about zero."""


@dataclass(frozen=True, eq=False)
class FrontsAndViews:
    """K objects from the front, and N views of them.

    Attributes:
        front: pictures (K, 3, S, S), signed.
        mask: the objects in them (K, 1, S, S), 1 = object.
        turn: what is left of their turns (K,), in standard deviations (see `Turning`).
        view: pictures (N, 3, S, S), signed.
        view_turn: their turns (N,), in standard deviations.
        owner: which object each view shows (N,).
    """

    front: Tensor
    mask: Tensor
    turn: Tensor
    view: Tensor
    view_turn: Tensor
    owner: Tensor


def disagreement(
    network: TurnedNetworks,
    depth: Tensor,
    shown: FrontsAndViews,
    *,
    smooth: float = SMOOTH,
    depth_smooth: float = DEPTH_SMOOTH,
) -> dict[str, Tensor]:
    """How badly objects of canonical depth (K, 1, S, S) explain their views, under the yaws that were read and the
    lights that the network sees: its terms, ``total`` among them."""
    count, owner, camera = len(shown.front), shown.owner, network.camera

    def each(maps: Tensor) -> Tensor:
        """Of every view's object. The gradient of plain indexing adds up in no fixed order where threads share it."""
        return maps.index_select(0, owner)

    both, turns = torch.cat([shown.front, shown.view]), torch.cat([shown.turn, shown.view_turn])
    guess = network.view_net(both)
    poses = pose_from_units(with_yaw(guess, turns), PoseRange())
    lights = in_object_frame(network.lighting(both), poses)
    normals = normals_from_depth(depth, camera)
    albedo = canonical_albedo(shown.front, depth, poses[:count], lights[:count], camera)
    here = sample_image(shown.mask, forward_grid(depth, poses[:count], camera))
    lit = shade(each(albedo), each(normals), lights[count:]).clamp(-1, 1)
    seen = reproject(torch.cat([lit, each(here)], dim=1), each(depth), poses[count:], camera)
    near = ((shown.view_turn - shown.turn[owner]).abs() * YAW_STD_DEG < WIDEST_DEG).to(depth)[:, None, None, None]
    kept = (seen.mask * (seen.image[:, 3:] > 0.5) * near).detach()
    terms = {
        "views": photometric(equally_bright(seen.image[:, :3], shown.view, kept), shown.view, kept),
        "pose": pose_error(guess, turns),
        "roughness": (smooth + depth_smooth) * smoothness(depth)
        + smooth * smoothness(diffuse_shading(normals, lights[:count])),
    }
    return {"total": sum(terms.values(), torch.zeros_like(terms["pose"])), **terms}


def with_yaw(units: Tensor, turns: Tensor) -> Tensor:
    """Poses (N, 6) in network units with the yaws of turns (N,), in standard deviations, instead of their own."""
    yaw = turns * (YAW_STD_DEG / PoseRange().rotation_deg)
    return torch.cat([units[:, :_YAW], yaw[:, None], units[:, _YAW + 1 :]], dim=1)


def pose_error(units: Tensor, turns: Tensor) -> Tensor:
    """How far predicted poses (N, 6) are from the yaws that were read, and the rest of them from none."""
    difference = (units - with_yaw(torch.zeros_like(units), turns)).abs().mean(0)
    return difference[_YAW] + _REST_WEIGHT * (difference.sum() - difference[_YAW])


def equally_bright(image: Tensor, like: Tensor, mask: Tensor) -> Tensor:
    """Signed pictures (N, 3, S, S), each times the factor that makes its mean colour within the mask that of ``like``;
    no gradient goes through the factor."""
    with torch.no_grad():
        wanted, got = (((values / 2 + 0.5) * mask).sum((2, 3), keepdim=True) for values in (like, image))
        factor = wanted / got.clamp(min=1.0)
    return (image / 2 + 0.5) * factor * 2 - 1
