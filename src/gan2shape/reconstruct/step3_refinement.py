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
from gan2shape.reconstruct.step1_albedo import scenes_of
from gan2shape.reconstruct.step2_projection import ProjectedSamples, share
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
    together: int = 1,
    adam: Adam,
    mirrored: bool,
    rng: torch.Generator,
    on_iteration: OnIteration,
) -> Scene:
    """Optimise all factors so that one depth and one albedo, those of a picture, explain all its projected samples.

    Depth and albedo networks see the picture, viewpoint and light networks each sample. The picture itself is explained
    in the same iteration, which takes ``together`` pictures with ``batch_size`` samples. Moves: all four factor
    networks.

    Returns:
        The scenes of all pictures, detached. Raises `DivergedError` as `minimize` does.
    """
    shown, owner = samples.owner.unique(return_inverse=True)
    pictured = target[shown]  # Few batches may not have reached every picture.
    owned = [(owner == picture).nonzero()[:, 0] for picture in range(pictured.count)]
    orders = [own[:0] for own in owned]
    count = min(share(batch_size, min(together, pictured.count)), *map(len, owned), samples.count)

    def draw(picture: int) -> Tensor:
        """The next of a picture's samples, in an order that is shuffled anew when it is used up."""
        if len(orders[picture]) < count:
            shuffled = torch.randperm(len(owned[picture]), generator=rng, device=rng.device)
            orders[picture] = owned[picture][shuffled]
        drawn, orders[picture] = orders[picture][:count], orders[picture][count:]
        return drawn

    def losses(iteration: int) -> dict[str, Tensor]:
        turn = pictured.in_turn(iteration, together)
        chosen = torch.cat([draw(picture) for picture in turn.tolist()])
        images, masks = samples.images[chosen], samples.masks[chosen]
        pictures = pictured.image[turn]
        scene = nets(pictures)
        pose, lighting = nets.pose(images), nets.lighting(images)
        views = dataclasses.replace(scene.each(count), pose=pose, lighting=lighting)
        shared = {"render": render, "features": features, "weights": weights, "mirrored": mirrored}
        own = explain(scene, pictures, **shared)  # type: ignore[arg-type]
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
    return scenes_of(nets, target)
