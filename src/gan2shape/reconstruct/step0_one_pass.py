"""Step 0 where one pass already knows the category: the four networks learn what it tells (ours, not the paper's).

One pass reads depths and poses off what the generator's inverse sees, and its albedo is the picture itself
(`networks.one_pass`). The steps need networks that can move, one for each factor; these learn from it as their teacher.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan2shape.generators.load import fast_dtype
from gan2shape.networks import FactorNetworks
from gan2shape.networks.one_pass import TurnedStart
from gan2shape.networks.pose_net import MIRRORED_POSE
from gan2shape.reconstruct.optimize import Adam, minimize
from gan2shape.reconstruct.watch import OnIteration
from gan2shape.render import Scene
from gan2shape.render.units import lighting_to_units, pose_to_units
from gan2shape.render.warp import visible

_DEPTH, _SLOPES, _POSE, _HIDDEN = 20.0, 50.0, 2.0, 0.5
"""Weights of errors of depth (scene units) and of its first differences, of pose (network units), and of colours that
only the mirror image shows, beside those of colours that are seen and of the light."""
_VECTORS = 4
"""How many times as many pictures pose and light networks see in an iteration: they are small."""
_BEHIND = 0.006
"""How far behind the surface that the camera meets a place may be and still count as seen, in scene units."""
_MIRRORED_LIGHT = (1.0, 1.0, -1.0, 1.0)
_CHUNK = 40


@dataclass(frozen=True, eq=False)
class Told:
    """What one pass tells of N pictures.

    Attributes:
        image: the pictures (N, 3, S, S), signed.
        depth: canonical depths (N, 1, S, S), in scene units.
        albedo: canonical albedos (N, 3, S, S), signed.
        seen: which places of the canonical frame the pictures show (N, 1, S, S), 1 = seen.
        pose: (N, 6), network units.
        lighting: (N, 4), attached to the object, network units.
    """

    image: Tensor
    depth: Tensor
    albedo: Tensor
    seen: Tensor
    pose: Tensor
    lighting: Tensor

    def __getitem__(self, index: Tensor) -> Told:
        """Some of the pictures."""
        return Told(**{name: values[index] for name, values in vars(self).items()})

    def mirrored(self, flip: Tensor) -> Told:
        """The same, but as a mirror shows them where ``flip`` (N,) says so."""
        signs = {"pose": MIRRORED_POSE, "lighting": _MIRRORED_LIGHT}
        where = {name: flip.view(-1, *[1] * (values.ndim - 1)) for name, values in vars(self).items()}
        other = {
            name: values * values.new_tensor(signs[name]) if name in signs else values.flip(-1)
            for name, values in vars(self).items()
        }
        return Told(**{name: torch.where(where[name], other[name], values) for name, values in vars(self).items()})


@torch.no_grad()
def told_by(start: TurnedStart, image: Tensor, nets: FactorNetworks) -> Told:
    """What one pass tells of signed pictures (N, 3, S, S), in the units of ``nets``."""
    scenes, seen = [], []
    for chunk in image.split(_CHUNK):
        scene = start(chunk)
        scenes.append(scene)
        seen.append(visible(scene.depth, scene.pose, start.camera, behind=_BEHIND).to(chunk))
    scene = Scene.cat(scenes)
    pose, lighting = pose_to_units(scene.pose, nets.ranges), lighting_to_units(scene.lighting)
    return Told(image, scene.depth, scene.albedo.clamp(-1, 1), torch.cat(seen), pose, lighting)


def fit_one_pass(
    nets: FactorNetworks,
    start: TurnedStart,
    draw: Callable[[], Tensor],
    *,
    steps: int,
    batch_size: int,
    adam: Adam,
    rng: torch.Generator,
    on_iteration: OnIteration,
) -> None:
    """Fit all four networks to what one pass tells of pictures, by L1; each is mirrored with probability one half.

    Depth and viewpoint network begin as those that one pass had before it read depths and poses itself, where they are
    of the same size. Colours that a picture does not show are, with less weight, those of the other side.

    Args:
        nets: move.
        start: one pass, for pictures of the same size.
        draw: makes signed pictures (N, 3, S, S) of the category.
        steps: number of iterations.
        batch_size: pictures in one iteration; pose and light networks see `_VECTORS` times as many.
        adam: learning rate.
        rng: chooses them.
        on_iteration: told the terms.

    Raises:
        DivergedError: as `minimize` does.
    """
    for own, other in ((nets.depth_net, start.networks.depth_net), (nets.view_net, start.networks.view_net)):
        _begin_as(own, other)
    told = told_by(start, draw(), nets)
    kind = told.image.device.type
    low = fast_dtype(told.image.device) == torch.bfloat16

    def batch(count: int) -> Told:
        device = rng.device
        chosen = torch.randint(len(told.image), (count,), generator=rng, device=device)
        return told[chosen].mirrored(torch.rand(count, generator=rng, device=device) < 0.5)

    def losses(iteration: int) -> dict[str, Tensor]:
        maps, vectors = batch(batch_size), batch(_VECTORS * batch_size)
        with torch.autocast(kind, torch.bfloat16, enabled=low):
            raw, albedo = nets.depth_net(maps.image), nets.albedo_net(maps.image).float()
            pose, lighting = nets.view_net(vectors.image).float(), nets.light_net(vectors.image).float()
        error = nets.depth_range.from_raw(raw.float()) - maps.depth
        terms = {
            "depth": _DEPTH * error.abs().mean(),
            "slopes": _SLOPES * (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()),
            "albedo": _colour_error(albedo, maps),
            "pose": _POSE * F.l1_loss(pose + nets.pose_mean, vectors.pose),
            "lighting": F.l1_loss(lighting + nets.lighting_mean, vectors.lighting),
        }
        return {"total": torch.stack(list(terms.values())).sum(), **terms}

    moving = [nets.depth_net, nets.albedo_net, nets.view_net, nets.light_net]
    minimize(moving, losses, steps=steps, adam=adam, on_iteration=on_iteration)


def _begin_as(network: nn.Module, other: nn.Module) -> None:
    """Put another network's weights into one of the same sizes; leave one of other sizes as it is."""
    own, weights = network.state_dict(), other.state_dict()
    if own.keys() == weights.keys() and all(own[name].shape == weights[name].shape for name in own):
        network.load_state_dict(weights)


def _colour_error(albedo: Tensor, told: Told) -> Tensor:
    """Mean error of albedos (B, 3, S, S) where the pictures, or else their mirror images, show the object."""
    hidden = told.seen.flip(-1) * (1 - told.seen)
    own, other = (albedo - told.albedo).abs() * told.seen, (albedo - told.albedo.flip(-1)).abs() * hidden
    return (own + _HIDDEN * other).mean()
