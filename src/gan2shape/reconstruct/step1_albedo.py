"""Step 1: explain the picture with the current shape, by optimising the albedo alone (GAN2Shape, section 3.2)."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gan2shape.generators.protocol import FeatureExtractor
from gan2shape.networks import FactorNetworks
from gan2shape.reconstruct.config import Objective
from gan2shape.reconstruct.objective import Render, explain
from gan2shape.reconstruct.optimize import Adam, minimize
from gan2shape.reconstruct.target import Target
from gan2shape.reconstruct.watch import OnIteration
from gan2shape.render import Scene

_CHUNK = 16
"""Pictures that go through the networks at once: this bounds the memory."""


def fit_albedo(
    nets: FactorNetworks,
    target: Target,
    *,
    render: Render,
    features: FeatureExtractor,
    weights: Objective,
    steps: int,
    together: int = 1,
    adam: Adam,
    mirrored: bool,
    on_iteration: OnIteration,
) -> Scene:
    """Optimise the albedo so that the scenes of all four networks render to the target, ``together`` pictures at once.

    Depth, viewpoint and light are those of the networks as they are; smoothness terms would be constant here and are
    left out. Moves: the albedo network only.

    Returns:
        The scenes of all pictures, detached. Raises `DivergedError` as `minimize` does.
    """
    fixed = scenes_of(nets, target)

    def losses(iteration: int) -> dict[str, Tensor]:
        chosen = target.in_turn(iteration, together)
        images = target.image[chosen]
        scene = dataclasses.replace(fixed[chosen], albedo=nets.albedo(images))
        return {"total": explain(scene, images, render=render, features=features, weights=weights, mirrored=mirrored)}

    minimize([nets.albedo_net], losses, steps=steps, adam=adam, on_iteration=on_iteration)
    return scenes_of(nets, target)


@torch.no_grad()
def scenes_of(nets: FactorNetworks, target: Target) -> Scene:
    """The scenes that the networks see in all pictures, detached."""
    return Scene.cat([nets(images) for images in target.image.split(_CHUNK)])
