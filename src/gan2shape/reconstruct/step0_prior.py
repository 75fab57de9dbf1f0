"""Step 0: the depth network learns the weak shape prior, an ellipsoid on the object's mask (GAN2Shape, section 3.2)."""

from __future__ import annotations

from dataclasses import replace

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
    adam: Adam,
    on_iteration: OnIteration,
) -> None:
    """Fit the depth network's output for the target picture to the ellipsoid, by mean squared error, border included.

    Moves: the depth network only. Raises `DivergedError` as `minimize` does.
    """
    wanted = prior.depth(target.mask)
    free = replace(nets.depth_range, border_weight=0.0)

    def losses(iteration: int) -> dict[str, Tensor]:
        return {"total": F.mse_loss(free.from_raw(nets.depth_net(target.image)), wanted)}

    minimize([nets.depth_net], losses, steps=steps, adam=adam, on_iteration=on_iteration)
