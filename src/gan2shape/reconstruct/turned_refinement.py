"""Refining what the networks of one pass see, on views of the picture's object that the generator turns and lights.

The counterpart of steps 2 and 3 where the generator's object is known to turn along its latents: views are painted
without an encoder of crude renderings, and their yaw is read off.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.generators import LoadedGenerator
from gan2shape.networks.agreement import FrontsAndViews, disagreement
from gan2shape.networks.turned import TurnedNetworks
from gan2shape.networks.turning import Turning
from gan2shape.priors.masks import auto_mask
from gan2shape.reconstruct.config import Turned
from gan2shape.reconstruct.optimize import Adam, minimize
from gan2shape.reconstruct.target import Framing
from gan2shape.reconstruct.watch import OnIteration

_FACING = 2
"""How often the object is turned by what is left of its turn, until it faces the camera."""
_CHUNK = 16


@torch.no_grad()
def paint_views(
    image: Tensor,
    loaded: LoadedGenerator,
    turning: Turning,
    framing: Framing,
    *,
    settings: Turned,
    rng: torch.Generator,
) -> FrontsAndViews:
    """The object of a picture (1, 3, S, S) from the front, and its views: the picture, and ``settings.views`` others.

    The object is the one that the encoder sees in the picture, made more typical: latents that reproduce the picture
    exactly do not turn well.
    """

    def painted(latents: Tensor) -> Tensor:
        paint = loaded.generator.synthesize
        return torch.cat([framing.to_working(paint(chunk)) for chunk in latents.split(_CHUNK)])

    seen = turning.encoder(image)
    facing = loaded.w_mean + settings.typical * (seen - loaded.w_mean)
    facing = turning.moved(facing, -turning.coordinate(image))
    for _ in range(_FACING - 1):
        facing = turning.moved(facing, -turning.coordinate(painted(facing)))
    front = painted(facing)
    count = settings.views
    by = torch.randn(count, generator=rng, device=rng.device)
    by[1::2] = 0.0
    lit = settings.lit * torch.randn(count, generator=rng, device=rng.device)
    view = torch.cat([image, painted(turning.moved(facing.expand(count, -1), by, lit))])
    owner = torch.zeros(len(view), dtype=torch.long, device=view.device)
    return FrontsAndViews(front, object_in(front), turning.coordinate(front), view, turning.coordinate(view), owner)


def object_in(front: Tensor) -> Tensor:
    """The object's mask (1, 1, S, S) in a picture that the generator made; everything where none is found."""
    try:
        return auto_mask(front).to(front)
    except InputError:
        return torch.ones_like(front[:, :1])


def refine_turned(
    nets: TurnedNetworks,
    image: Tensor,
    shown: FrontsAndViews,
    *,
    steps: int,
    settings: Turned,
    rng: torch.Generator,
    on_iteration: OnIteration,
) -> None:
    """Let the depth that the network sees in a picture (1, 3, S, S) explain its object's views.

    Moves: the depth network only. Raises `DivergedError` as `minimize` does.
    """

    def losses(iteration: int) -> dict[str, Tensor]:
        chosen = torch.randperm(len(shown.view), generator=rng, device=rng.device)[: settings.batch_size]
        some = FrontsAndViews(
            shown.front, shown.mask, shown.turn, shown.view[chosen], shown.view_turn[chosen], shown.owner[chosen]
        )
        return disagreement(
            nets, nets.depth(image), some, smooth=settings.smoothness, depth_smooth=settings.depth_smoothness
        )

    adam = Adam(settings.learning_rate, weight_decay=settings.weight_decay)
    minimize([nets.depth_net], losses, steps=steps, adam=adam, on_iteration=on_iteration)
