"""How well a picture agrees with its mirror image, if what it shows is an object that is alike on both sides.

The mirror image is a second view of such an object, which turns and rolls the other way there and is lit from the other
side. Where both show the same place of the surface, the colours, each divided by its shading, are the same. This needs
no generator, so nothing that one paints wrong is taken for shape. (Unsup3D's idea, Wu et al. 2020; here poses are
known roughly, and the light is solved for.)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.networks.agreement import as_vectors, edge_px, shading_of, within
from gan2shape.networks.pose_net import MIRRORED_POSE
from gan2shape.networks.turned import TurnedNetworks, in_object_frame
from gan2shape.render import normals_from_depth, reproject
from gan2shape.render.units import PoseRange, pose_from_units
from gan2shape.render.warp import forward_grid, sample_image, visible

WIDEST_DEG = 35.0
"""Objects that are turned farther show too little twice."""
_LEAST_SHARED = 0.07
"""Share of the picture that both must show, or nothing is compared: some 290 of 64 x 64 pixels, a fifth of a head."""
_BEHIND = 0.006
"""How far behind the surface that the camera meets a place may be and still count as seen, in scene units: some two
pixels (of 64), as steep surfaces are as deep as that within one."""
_YAW = 1
_MIRRORED_LIGHT = (1.0, -1.0, 1.0, 1.0)
"""Signs of a light's four numbers (`as_vectors`) in a mirror."""
_HOLD = (3.0, 0.03, 0.3, 0.3)
"""How strongly these numbers are held at what the network says, in relation to what the picture says of the sideways
one: that alone makes both sides differ, and the ambient light has to keep the scale."""
_LEAST_SHADING = 0.05
"""Of the ratio of two shadings; where either is darker it says nothing."""


def mirror_disagreement(network: TurnedNetworks, depth: Tensor, image: Tensor, mask: Tensor, units: Tensor) -> Tensor:
    """Mean difference of colours (B,), in units of the signed range, between pictures and what their mirror images say
    of the same places; 0 where an object is turned too far, or too little of it is seen twice.

    No gradient reaches the pitch: both images nod alike. Of the depth the part is taken that is alike on both sides.

    Args:
        network: sees the light.
        depth: canonical depth (B, 1, S, S), scene units.
        image: pictures (B, 3, S, S), signed.
        mask: the objects in them (B, 1, S, S), 1 = object.
        units: their poses (B, 6) in network units.
    """
    camera, depth = network.camera, (depth + depth.flip(-1)) / 2
    units = torch.cat([units[:, :1].detach(), units[:, 1:]], dim=1)
    pose, other = (pose_from_units(own, PoseRange()) for own in (units, units * units.new_tensor(MIRRORED_POSE)))
    inner, colours, normals = framed(within(mask)), image / 2 + 0.5, normals_from_depth(depth, camera)
    grid = forward_grid(depth, other, camera)
    known = sample_image(torch.cat([colours, inner], dim=1).flip(-1), grid)
    here = ((known[:, 3:] > 0.5) & visible(depth.detach(), other, camera, behind=_BEHIND)).to(depth)
    mirrored = reproject(torch.cat([known[:, :3], normals, here], dim=1), depth, pose, camera)
    colour, turned, both = mirrored.image.split([3, 3, 1], dim=1)
    kept = (mirrored.mask * (both > 0.9) * inner).detach()
    with torch.no_grad():
        near = as_vectors(in_object_frame(network.lighting(image), pose))
        light = solve_sideways(colours, colour, turned, kept, near)
    ratio = _lit(light, turned) / _lit(light * light.new_tensor(_MIRRORED_LIGHT), turned)
    apart = 2 * (colour * ratio - colours).abs().mean(dim=1, keepdim=True)
    share = kept.flatten(1).mean(dim=1)
    enough = (share > _LEAST_SHARED) & (units[:, _YAW].detach().abs() * PoseRange().rotation_deg < WIDEST_DEG)
    mean = (apart * kept).flatten(1).mean(dim=1) / share.clamp(min=_LEAST_SHARED)
    return torch.where(enough, mean, 0.0)


def framed(mask: Tensor) -> Tensor:
    """A mask (B, 1, S, S) that ends before the picture's border, as far as `within` brings it from outlines. What the
    mirror image shows right at its border would be mixed with nothing."""
    edge = edge_px(mask.shape[-1])
    return F.pad(F.pad(mask, (-edge,) * 4), (edge,) * 4)


def solve_sideways(image: Tensor, other: Tensor, normals: Tensor, mask: Tensor, near: Tensor) -> Tensor:
    """The lights (B, 4) under which ``image`` and ``other``, colours (B, 3, S, S) from 0 of the same places, are most
    nearly pictures of one albedo, ``other`` under the mirrored light, within a mask (B, 1, S, S).

    With shadings s and t of light and mirrored light, image · t - other · s is linear in the light; its sum over the
    channels is made small in least squares. That says how far sideways the light is in relation to the rest; the rest
    is mostly ``near`` (B, 4).
    """
    one, two = image.sum(dim=1, keepdim=True), other.sum(dim=1, keepdim=True)
    apart, both = one - two, one + two
    x, y, z = normals.split(1, dim=1)
    columns = (torch.cat([apart, -x * both, y * apart, z * apart], dim=1) * mask).flatten(2)
    strength = ((both / 2).square() * mask).flatten(1).sum(dim=1).clamp(min=1e-6)
    hold = torch.diag_embed(strength[:, None] * near.new_tensor(_HOLD))
    return torch.linalg.solve(columns @ columns.transpose(1, 2) + hold, hold @ near[:, :, None])[:, :, 0]


def _lit(light: Tensor, normals: Tensor) -> Tensor:
    return shading_of(light, normals).clamp(min=_LEAST_SHADING)
