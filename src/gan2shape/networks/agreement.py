"""How well objects explain their views: what ``gan2shape train turned`` learns from, and what refines a single picture.

An object is known as seen from the front and in views under other turns, nods and lights, painted by a generator. The
colours of the front, divided by their shading, are its albedo; turned as in a view and lit as suits it best, that must
be the view. The lights of views are no network's: for a given shape they are a problem of least squares, which is
solved. (A network's error about lights would be taken for shape.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.losses import photometric, smoothness
from gan2shape.networks.turned import TurnedNetworks, in_object_frame
from gan2shape.render import Lighting, normals_from_depth, reproject, shading
from gan2shape.render.units import PoseRange, pose_from_units
from gan2shape.render.warp import forward_grid, sample_image

WIDEST_DEG = 45.0
"""Views that are turned farther are left out: too little of the front is left in them."""
SMOOTH, DEPTH_SMOOTH = 0.01, 1.0
"""Weights of the second differences of depth and shading, and the further weight of the depth's."""
POSE_WEIGHT = 0.5
"""Of poses that differ from what was read and asked for. The views themselves know better, but not whether a flat
object turns far or a deep one a little."""
_PITCH, _YAW = 0, 1
"""Places of pitch and yaw among the view network's numbers."""
_REST_WEIGHT = 0.1
"""Of all other numbers of the pose beside the yaw: pitches were asked for, and the rest is about zero."""
_RIDGE = 0.01
"""How strongly the lights of views are held at the front's, as a part of what the picture says of them."""
_LEAST_SHADING = 0.1
_EDGE = 2
"""Pixels (of 64) along the front's outline whose colours are left out. They are half background; where a view turns
them towards the camera, the surface would be pushed back until they are hidden."""


@dataclass(frozen=True, eq=False)
class FrontsAndViews:
    """K objects from the front, and N views of them.

    Attributes:
        front: pictures (K, 3, S, S), signed.
        mask: the objects in them (K, 1, S, S), 1 = object.
        front_pose: what is known of their poses (K, 6), in network units: what is left of their turns.
        view: pictures (N, 3, S, S), signed.
        view_pose: what is known of their poses (N, 6), in network units.
        owner: which object each view shows (N,).
    """

    front: Tensor
    mask: Tensor
    front_pose: Tensor
    view: Tensor
    view_pose: Tensor
    owner: Tensor

    def __getitem__(self, chosen: Tensor) -> FrontsAndViews:
        """The same objects with fewer views."""
        view = (self.view[chosen], self.view_pose[chosen], self.owner[chosen])
        return FrontsAndViews(self.front, self.mask, self.front_pose, *view)

    def pose_units(self) -> Tensor:
        """What is known of the poses of all fronts and views (K + N, 6), in network units."""
        return torch.cat([self.front_pose, self.view_pose])


def disagreement(
    network: TurnedNetworks,
    depth: Tensor,
    shown: FrontsAndViews,
    units: Tensor,
    *,
    smooth: float = SMOOTH,
    depth_smooth: float = DEPTH_SMOOTH,
    pose_weight: float = POSE_WEIGHT,
) -> dict[str, Tensor]:
    """How badly objects explain their views: its terms, ``total`` among them.

    Args:
        network: sees the light of fronts; its view of the lights of views is compared with those that were solved for.
        depth: canonical depth (K, 1, S, S) of the objects.
        shown: the objects' fronts and views.
        units: poses (K + N, 6) of fronts and views, in network units.
        smooth: weight of the second differences of depth and shading.
        depth_smooth: further weight of those of the depth.
        pose_weight: weight of what was read and asked for.
    """
    count, owner, camera = len(shown.front), shown.owner, network.camera

    def each(maps: Tensor) -> Tensor:
        """Of every view's object. The gradient of plain indexing adds up in no fixed order where threads share it."""
        return maps.index_select(0, owner)

    poses = pose_from_units(units, PoseRange())
    facing = pose_from_units(units.detach(), PoseRange())
    lighting = in_object_frame(network.lighting(torch.cat([shown.front, shown.view])), facing)
    lights = as_vectors(lighting)
    normals = normals_from_depth(depth, camera)
    grid = forward_grid(depth, poses[:count], camera)
    texture = sample_image(shown.front / 2 + 0.5, grid)
    lit = shading(normals, lighting[:count])
    known = torch.cat([texture / lit.clamp(min=_LEAST_SHADING), normals, sample_image(within(shown.mask), grid)], dim=1)
    seen = reproject(each(known), each(depth), poses[count:], camera)
    albedo, turned, here = seen.image.split([3, 3, 1], dim=1)
    apart = (shown.view_pose - shown.front_pose[owner])[:, _YAW].abs() * PoseRange().rotation_deg
    near = apart < WIDEST_DEG
    kept = (seen.mask * (here > 0.5) * near[:, None, None, None]).detach()
    solved = solve_lights(albedo, turned, shown.view, kept, each(lights[:count]))
    image = albedo * shading_of(solved, turned) * 2 - 1
    terms = {
        "views": photometric(equally_bright(image, shown.view, kept), shown.view, kept),
        "pose": pose_weight * pose_error(units, shown.pose_units()),
        "light": ((lights[count:] - solved).abs().mean(dim=1) * near).sum() / near.sum().clamp(min=1),
        "roughness": (smooth + depth_smooth) * smoothness(depth) + smooth * smoothness(lit),
    }
    return {"total": sum(terms.values(), torch.zeros_like(terms["pose"])), **terms}


def within(mask: Tensor) -> Tensor:
    """A mask (K, 1, S, S) without the pixels along its outline, in which colours are mixed with the background's. The
    picture's border is no outline."""
    edge = edge_px(mask.shape[-1])
    return -F.max_pool2d(-mask, 2 * edge + 1, stride=1, padding=edge)


def edge_px(image_size: int) -> int:
    """How many pixels along an outline are left out of pictures of this side."""
    return round(_EDGE * image_size / 64)


def as_vectors(lighting: Lighting) -> Tensor:
    """Lights as the four numbers (N, 4) that shading is linear in: ambient, and diffuse · direction."""
    return torch.cat([lighting.ambient, lighting.diffuse * lighting.direction], dim=1)


def shading_of(lights: Tensor, normals: Tensor) -> Tensor:
    """Shading (N, 1, S, S), at least 0, of normals (N, 3, S, S) under lights (N, 4)."""
    across = (lights[:, 1:, None, None] * normals).sum(dim=1, keepdim=True)
    return (lights[:, :1, None, None] + across).clamp(min=0)


@torch.no_grad()
def solve_lights(albedo: Tensor, normals: Tensor, image: Tensor, mask: Tensor, near: Tensor) -> Tensor:
    """The lights (N, 4) under which surfaces show signed pictures (N, 3, S, S) best, within a mask (N, 1, S, S), in the
    least squares of brightness; held a little at ``near`` (N, 4). No gradient: at the best one there is none."""
    bright = albedo.sum(dim=1, keepdim=True)
    basis = (torch.cat([bright, bright * normals], dim=1) * mask).flatten(2)
    wanted = ((image / 2 + 0.5).sum(dim=1, keepdim=True) * mask).flatten(1)
    square = basis @ basis.transpose(1, 2)
    hold = _RIDGE * square[:, :1, 0].clamp(min=1e-6)
    held = square + hold[:, :, None] * torch.eye(4).to(square)
    return torch.linalg.solve(held, (basis @ wanted[:, :, None])[:, :, 0] + hold * near)


def pose_error(units: Tensor, known: Tensor) -> Tensor:
    """How far poses (N, 6) in network units are from what is known of them; mostly the yaw, which was read."""
    difference = (units - known).abs().mean(0)
    return difference[_YAW] + _REST_WEIGHT * (difference.sum() - difference[_YAW])


def equally_bright(image: Tensor, like: Tensor, mask: Tensor) -> Tensor:
    """Signed pictures (N, 3, S, S), each times the factor that makes its mean colour within the mask that of ``like``;
    no gradient goes through the factor."""
    with torch.no_grad():
        wanted, got = (((values / 2 + 0.5) * mask).sum((2, 3), keepdim=True) for values in (like, image))
        factor = wanted / got.clamp(min=1.0)
    return (image / 2 + 0.5) * factor * 2 - 1
