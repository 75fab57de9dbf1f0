"""What many objects' refined depths have wrong in common, found on all of their views together.

One object's views say little of its shape, and every refinement keeps much of what it started from. Under the refined
poses all views of all objects tell one depth map that is added to every object's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan2shape.networks.agreement import FrontsAndViews, disagreement
from gan2shape.networks.turned import TurnedNetworks
from gan2shape.train.run import iteration_rng

STEPS, OBJECTS, VIEWS = 250, 8, 4
"""Iterations, and objects and views of each in one."""
_RATE, _FINAL_RATE = 1e-3, 0.1
"""Of Adam, in scene units, for maps of every scale; and the last one's part of the first."""
_COARSEST = 4


def shared_correction(
    networks: TurnedNetworks,
    objects: Sequence[Mapping[str, Tensor]],
    *,
    smoothness: float,
    depth_smoothness: float,
    seed: int,
) -> Tensor:
    """The map (1, S, S), in scene units and alike on both sides, with which added to their canonical depths all objects
    explain their views best and are smooth, as weighted in a refinement.

    Args:
        networks: see the light of fronts.
        objects: as `reconstruct.teacher.refined_object` makes them.
        smoothness: weight of the second differences of depth and shading.
        depth_smoothness: further weight of those of the depth.
        seed: which objects and views an iteration looks at.
    """
    device = next(networks.parameters()).device
    depth = torch.stack([one["depth"] for one in objects]).to(device)
    shared = _Pyramid(depth.shape[-1]).to(device)
    adam = torch.optim.Adam(shared.parameters(), lr=_RATE)
    for index in range(STEPS):
        for group in adam.param_groups:
            group["lr"] = _RATE * _FINAL_RATE ** (index / STEPS)
        chosen, shown = _drawn(objects, iteration_rng(seed, index, torch.device("cpu"), "shared shape"), device)
        weights = {"smooth": smoothness, "depth_smooth": depth_smoothness, "pose_weight": 0.0}
        terms = disagreement(networks, depth[chosen] + shared(), shown, shown.pose_units(), **weights)
        adam.zero_grad(set_to_none=True)
        terms["total"].backward()
        adam.step()
    return shared()[0].detach().cpu()


def corrected(objects: Sequence[Mapping[str, Tensor]], by: Tensor) -> list[dict[str, Tensor]]:
    """The same objects with a map (1, S, S) added to their depths."""
    return [{**one, "depth": one["depth"] + by} for one in objects]


class _Pyramid(nn.Module):
    """A map alike on both sides, the sum of maps of all sizes, so that Adam moves it at all scales at the same rate."""

    def __init__(self, size: int) -> None:
        super().__init__()
        sizes = [size]
        while sizes[-1] % 2 == 0 and sizes[-1] // 2 >= _COARSEST:
            sizes.append(sizes[-1] // 2)
        self.size, self.maps = size, nn.ParameterList(torch.zeros(1, 1, own, own) for own in sizes)

    def forward(self) -> Tensor:
        """The map (1, 1, S, S)."""
        grown = (F.interpolate(m, size=(self.size,) * 2, mode="bicubic", align_corners=False) for m in self.maps)
        whole = torch.cat(list(grown)).sum(dim=0, keepdim=True)
        return (whole + whole.flip(-1)) / 2


def _drawn(
    objects: Sequence[Mapping[str, Tensor]], rng: torch.Generator, device: torch.device
) -> tuple[Tensor, FrontsAndViews]:
    """Some objects (K,) at random, with some of their views."""
    chosen = torch.randperm(len(objects), generator=rng)[:OBJECTS]
    some = [objects[int(which)] for which in chosen]
    views = [torch.randperm(len(one["view"]), generator=rng)[:VIEWS] for one in some]
    owner = torch.cat([torch.full_like(own, place) for place, own in enumerate(views)])
    view, pose = (
        torch.cat([one[name][own] for one, own in zip(some, views, strict=True)]).to(device).float()
        for name in ("view", "pose")
    )
    front, front_pose, mask = (
        torch.stack([one[name] for one in some]).to(device).float() for name in ("front", "front_pose", "mask")
    )
    shown = FrontsAndViews(front / 127.5 - 1, mask, front_pose, view / 127.5 - 1, pose, owner.to(device))
    return chosen.to(device), shown
