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


def fit_albedo(
    nets: FactorNetworks,
    target: Target,
    *,
    render: Render,
    features: FeatureExtractor,
    weights: Objective,
    steps: int,
    adam: Adam,
    mirrored: bool,
    on_iteration: OnIteration,
) -> Scene:
    """Optimise the albedo so that the scene of all four networks renders to the target.

    Depth, viewpoint and light are those of the networks as they are; smoothness terms would be constant here and are
    left out. Moves: the albedo network only.

    Returns:
        The scene, detached. Raises `DivergedError` as `minimize` does.
    """
    with torch.no_grad():
        fixed = nets(target.image)

    def losses(iteration: int) -> dict[str, Tensor]:
        scene = dataclasses.replace(fixed, albedo=nets.albedo(target.image))
        return {
            "total": explain(scene, target.image, render=render, features=features, weights=weights, mirrored=mirrored)
        }

    minimize([nets.albedo_net], losses, steps=steps, adam=adam, on_iteration=on_iteration)
    with torch.no_grad():
        return dataclasses.replace(fixed, albedo=nets.albedo(target.image))
