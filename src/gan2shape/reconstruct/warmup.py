"""Warm-up of viewpoint and light networks; ours, not the paper's (see docs/deviations.md).

Without joint pre-training these networks start from nothing, and step 3 has to find a pose for every projected sample
before it can learn any shape. But the poses and lights that the pseudo samples were drawn with are known.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.networks import FactorNetworks
from gan2shape.reconstruct.optimize import Adam, minimize
from gan2shape.reconstruct.step2_projection import ProjectedSamples
from gan2shape.reconstruct.target import Target
from gan2shape.reconstruct.watch import OnIteration
from gan2shape.render.units import lighting_to_units, pose_to_units


def fit_pose_and_light(
    nets: FactorNetworks,
    samples: ProjectedSamples,
    *,
    steps: int,
    batch_size: int,
    adam: Adam,
    rng: torch.Generator,
    on_iteration: OnIteration,
    target: Target | None = None,
) -> None:
    """Teach V and L the poses and lights that the projected samples were asked for, in network units, by L1.

    With ``target`` its own pose and light, to which those of the samples are relative, are held where they are, as
    part of the same means. What networks learn from samples alone may say anything of a picture that is none of them,
    and a pose that is off by 20° lets step 3 turn the target away instead of shaping it.

    Moves: the viewpoint and light networks only. Raises `DivergedError` as `minimize` does.
    """
    pose = pose_to_units(samples.pose, nets.ranges)
    lighting = lighting_to_units(samples.lighting)
    anchors = samples.images[:0] if target is None else target.image
    with torch.no_grad():
        own_pose, own_lighting = nets.view_net(anchors) + nets.pose_mean, nets.light_net(anchors) + nets.lighting_mean

    def losses(iteration: int) -> dict[str, Tensor]:
        chosen = torch.randint(samples.count, (batch_size,), generator=rng, device=rng.device)
        held = chosen[:0] if target is None else target.in_turn(iteration, batch_size)
        images = torch.cat([samples.images[chosen], anchors[held]])
        wanted_pose, wanted_light = (
            torch.cat([drawn[chosen], own[held]]) for drawn, own in ((pose, own_pose), (lighting, own_lighting))
        )
        views = F.l1_loss(nets.view_net(images) + nets.pose_mean, wanted_pose)
        lights = F.l1_loss(nets.light_net(images) + nets.lighting_mean, wanted_light)
        return {"total": views + lights, "pose": views, "lighting": lights}

    minimize([nets.view_net, nets.light_net], losses, steps=steps, adam=adam, on_iteration=on_iteration)
