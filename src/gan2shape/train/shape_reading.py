"""What refined shapes have in common: the part of their depth that is linear in the latents of their pictures.

A single refinement is as much noise as likeness. The mean over many objects has no noise, and what varies with latents
has little; a network that learns this in place of single shapes learns the likeness that there is. The category is
taken to look the same in a mirror, so the shape is symmetric, and told by what a mirror leaves of the latents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gan2shape.networks.latents import LatentEncoder
from gan2shape.networks.turning import even_features

RELIEF = 0.9
"""What of the relief of refined depths, before the nearest point of their mean, is believed. Refinements push the sides
of an object back, with true views too; by how much was found on rendered heads (docs/quality.md)."""
_RIDGE = 100.0
"""Of the regression, in squared units of the latents, for an object."""


@torch.no_grad()
def read_shapes(encoder: LatentEncoder, objects: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Ridge regression of refined depths, flattened by `RELIEF`, on the latents of all views, those of mirror images
    averaged in: a reading (latent_dim + 1, S * S) as `Turning.shape` has it, in scene units.

    Args:
        encoder: the generator's inverse.
        objects: each has ``view`` (1 + V, 3, S, S) bytes and ``depth`` (1, S, S), canonical, scene units.
    """
    device = encoder.mean.device
    depths = torch.stack([one["depth"].flatten() for one in objects]).double()
    flipped = torch.stack([one["depth"].flip(-1).flatten() for one in objects]).double()
    depths = (depths + flipped) / 2
    nearest = depths.mean(dim=0).min()
    depths = nearest + RELIEF * (depths - nearest)
    views = (one["view"].to(device).float() / 127.5 - 1 for one in objects)
    known = torch.stack([even_features(encoder, view).cpu() for view in views]).double()
    square = torch.einsum("kvc,kvd->cd", known, known) / known.shape[1]
    product = known.mean(1).T @ depths
    ridge = torch.full((len(square),), _RIDGE, dtype=torch.float64)
    ridge[-1] = 0  # The mean shape is not held at zero.
    return torch.linalg.solve(square + ridge.diag(), product).float()
