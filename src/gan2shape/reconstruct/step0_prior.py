"""Step 0: the depth network learns the weak shape prior, an ellipsoid on the object's mask (GAN2Shape, section 3.2)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.networks import FactorNetworks
from gan2shape.priors import EllipsoidPrior
from gan2shape.reconstruct.optimize import Adam, minimize
from gan2shape.reconstruct.target import Target
from gan2shape.reconstruct.watch import OnIteration


def fit_shape_prior(
    nets: FactorNetworks,
    target: Target,
    prior: EllipsoidPrior,
    *,
    steps: int,
    together: int = 1,
    adam: Adam,
    on_iteration: OnIteration,
) -> None:
    """Fit the depth network's output for the target's pictures to their ellipsoids, by mean squared error, border
    included; ``together`` pictures in one iteration.

    Moves: the depth network only. Raises `DivergedError` as `minimize` does.
    """
    wanted = torch.cat([prior.depth(mask) for mask in target.mask.split(1)])
    free = replace(nets.depth_range, border_weight=0.0)

    def losses(iteration: int) -> dict[str, Tensor]:
        chosen = target.in_turn(iteration, together)
        return {"total": F.mse_loss(free.from_raw(nets.depth_net(target.image[chosen])), wanted[chosen])}

    minimize([nets.depth_net], losses, steps=steps, adam=adam, on_iteration=on_iteration)
