"""Step 3: refine shape, albedo, viewpoint and light on the projected samples (GAN2Shape, section 3.2, eq. 3)."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gan2shape.generators.protocol import FeatureExtractor
from gan2shape.networks import FactorNetworks
from gan2shape.reconstruct.config import Objective
from gan2shape.reconstruct.objective import Render, explain, roughness
from gan2shape.reconstruct.optimize import Adam, minimize
from gan2shape.reconstruct.step2_projection import ProjectedSamples
from gan2shape.reconstruct.target import Target
from gan2shape.reconstruct.watch import OnIteration
from gan2shape.render import Camera, Scene


def refine(
    nets: FactorNetworks,
    target: Target,
    samples: ProjectedSamples,
    *,
    render: Render,
    camera: Camera,
    features: FeatureExtractor,
    weights: Objective,
    steps: int,
    batch_size: int,
    adam: Adam,
    mirrored: bool,
    rng: torch.Generator,
    on_iteration: OnIteration,
) -> Scene:
    """Optimise all factors so that one depth and one albedo, those of the target, explain every projected sample.

    Depth and albedo networks see the target, viewpoint and light networks each sample. The target itself is explained
    in the same iteration. Moves: all four factor networks.

    Returns:
        The scene of the target, detached. Raises `DivergedError` as `minimize` does.
    """
    order = torch.empty(0, dtype=torch.long)
    batch_size = min(batch_size, samples.count)

    def losses(iteration: int) -> dict[str, Tensor]:
        nonlocal order
        if len(order) < batch_size:
            order = torch.randperm(samples.count, generator=rng, device=rng.device)
        chosen, order = order[:batch_size], order[batch_size:]
        images, masks = samples.images[chosen], samples.masks[chosen]
        scene = nets(target.image)
        views = dataclasses.replace(scene, pose=nets.pose(images), lighting=nets.lighting(images))
        shared = {"render": render, "features": features, "weights": weights, "mirrored": mirrored}
        own = explain(scene, target.image, **shared)  # type: ignore[arg-type]
        others = explain(views, images, masks=masks, **shared)  # type: ignore[arg-type]
        smooth = roughness(scene, camera, weights)
        return {
            "total": own + others + smooth,
            "target": own,
            "samples": others,
            "roughness": smooth,
        }

    modules = [nets.depth_net, nets.albedo_net, nets.view_net, nets.light_net]
    minimize(modules, losses, steps=steps, adam=adam, on_iteration=on_iteration)
    with torch.no_grad():
        return nets(target.image)
