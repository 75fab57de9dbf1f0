"""Refining what the networks of one pass see, on views of the picture's object that the generator turns and lights.

The counterpart of steps 2 and 3 where the generator's object is known to turn along its latents: views are painted
without an encoder of crude renderings, and their yaw is read off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan2shape.errors import InputError
from gan2shape.generators import LoadedGenerator
from gan2shape.networks.agreement import FrontsAndViews, disagreement, pose_error
from gan2shape.networks.mirror import mirror_disagreement
from gan2shape.networks.turned import DEPTHS, TurnedNetworks
from gan2shape.networks.turning import Turning, drawn_moves
from gan2shape.priors.masks import auto_mask
from gan2shape.reconstruct.config import Turned
from gan2shape.reconstruct.optimize import Adam, minimize
from gan2shape.reconstruct.target import Framing
from gan2shape.reconstruct.watch import OnIteration
from gan2shape.render import Pose, Scene
from gan2shape.render.units import PoseRange, pose_from_units, pose_to_units

_PITCH = 0
"""Its place among the numbers of a pose."""
_POSE_RATE = 30.0
"""How much faster the poses of views move than the weights of the depth network."""
_FRAME_RATE = 100.0
"""How much faster the object's frame moves than these weights: the turn that all of its poses have in common."""
_HELD = 0.01
"""Weight of what was read and asked for of these poses."""
_FALL = 0.009
"""How much farther from the camera the surface is with every pixel (of 64) beside the object, in scene units."""
_TOLD = 1 / 2
"""Share of what one pass tells in the depth of the result; its share in the pose is a half."""
_SMOOTHINGS = 6
_CHUNK = 16


def painter(loaded: LoadedGenerator, framing: Framing) -> Callable[[Tensor], Tensor]:
    """Latents (N, latent_dim) to the generator's pictures (N, 3, S, S), signed, not clamped, in working pixels."""

    @torch.no_grad()
    def painted(latents: Tensor) -> Tensor:
        paint = loaded.generator.synthesize
        return torch.cat([framing.to_working(paint(chunk)) for chunk in latents.split(_CHUNK)])

    return painted


@torch.no_grad()
def paint_views(
    image: Tensor,
    loaded: LoadedGenerator,
    turning: Turning,
    framing: Framing,
    *,
    settings: Turned,
    rng: torch.Generator,
    own_pose: Tensor | None = None,
) -> FrontsAndViews:
    """The object of a picture (1, 3, S, S) from the front, and its views: the picture, and ``settings.views`` others.

    The object is the one that the encoder sees in the picture, made more typical: latents that reproduce the picture
    exactly do not turn well. Of views the nods are known that were asked for; all else is read off their latents, but
    for the picture's ``own_pose`` (1, 6), in network units, where that is known.
    """
    painted = painter(loaded, framing)
    seen = turning.encoder(image)
    facing = turning.facing(loaded.w_mean + settings.typical * (seen - loaded.w_mean), painted)
    front = painted(facing)
    moves = drawn_moves((settings.views,), rng=rng, lit=settings.lit)
    view = torch.cat([image, painted(turning.moved(facing.expand(settings.views, -1), *moves))])
    owner = torch.zeros(len(view), dtype=torch.long, device=view.device)
    front_pose, view_pose = turning.known_units(front), turning.known_units(view)
    front_pose[:, _PITCH] = 0
    view_pose[1:, _PITCH] = moves[2] / PoseRange().rotation_deg
    if own_pose is not None:
        view_pose[:1] = own_pose
    return FrontsAndViews(front, object_in(front), front_pose, view, view_pose, owner)


def object_in(front: Tensor) -> Tensor:
    """The object's mask (1, 1, S, S) in a picture that the generator made; everything where none is found."""
    try:
        return auto_mask(front).to(front)
    except InputError:
        return torch.ones_like(front[:, :1])


class ViewPoses(nn.Module):
    """The poses of an object's front and views, which are known only roughly and are refined with its depth.

    A front may look aside by some degrees, and all that was read of its views with it: views tell turns, not where
    ahead is. That is told by the shape that the category has in common, if all poses may turn by the same rotation.

    Args:
        shown: the front and the views; the first view is the picture itself.
    """

    known: Tensor

    def __init__(self, shown: FrontsAndViews) -> None:
        super().__init__()
        self.register_buffer("known", shown.pose_units())
        self.correction = nn.Parameter(torch.zeros_like(self.known))
        self.frame = nn.Parameter(self.known.new_zeros(1, 3))

    def forward(self, chosen: Tensor) -> Tensor:
        """Poses (1 + N, 6) of the front and of some views (N,), in network units."""
        ranges = PoseRange()
        frame = pose_from_units(F.pad(_FRAME_RATE * self.frame, (0, 3)), ranges)
        return pose_to_units(pose_from_units(self._relative(chosen), ranges) @ frame, ranges)

    def error(self, chosen: Tensor) -> Tensor:
        """How far the front and these views (N,) are from what was read and asked for, wherever ahead is."""
        return pose_error(self._relative(chosen), self.known[_rows(chosen)])

    def _relative(self, chosen: Tensor) -> Tensor:
        """Poses (1 + N, 6) as if the object's frame were that which was read."""
        return (self.known + _POSE_RATE * self.correction)[_rows(chosen)]

    @torch.no_grad()
    def scene(self, nets: TurnedNetworks, image: Tensor, shown: FrontsAndViews, depth: Tensor) -> Scene:
        """The scene in the picture (1, 3, S, S) as the poses are now, with this canonical depth (1, 1, S, S)."""
        own = self(torch.zeros(1, dtype=torch.long, device=image.device))[1:]
        scene = nets.seen(image, pose_from_units(own, PoseRange()), depth=depth)
        return replace(scene, depth=falling_away(scene.depth, shown.mask))


def _rows(chosen: Tensor) -> Tensor:
    """Places of the front and of some views (N,) among all poses."""
    return torch.cat([torch.zeros_like(chosen[:1]), 1 + chosen])


@torch.no_grad()
def depth_from(nets: TurnedNetworks, image: Tensor, told: Tensor | None) -> Callable[[], Tensor]:
    """The canonical depth (1, 1, S, S) that the network sees in a picture (1, 3, S, S), at any later time; if another
    one is ``told``, that one and how the network has changed its mind since now."""
    apart = None if told is None else told - nets.depth(image)

    def depth() -> Tensor:
        return nets.depth(image) if apart is None else nets.depth(image) + apart

    return depth


def refine_turned(
    nets: TurnedNetworks,
    image: Tensor,
    shown: FrontsAndViews,
    *,
    poses: ViewPoses,
    steps: int,
    settings: Turned,
    rng: torch.Generator,
    on_iteration: OnIteration,
    told: Tensor | None = None,
    mask: Tensor | None = None,
) -> Scene:
    """Let the depth of a picture's object, first what is ``told`` (1, 1, S, S) or else what the network sees in the
    picture (1, 3, S, S), explain the object's views; where the object's ``mask`` in the picture (1, 1, S, S) is known,
    the picture must besides agree with its mirror image.

    Moves: the depth network and the poses; the poses alone in the first ``settings.hold`` iterations, which find the
    object's frame.
    Raises `DivergedError` as `minimize` does.

    Returns:
        The picture's scene, under the pose that explains the picture best.
    """

    shape = depth_from(nets, image, told)
    first = torch.zeros(1, dtype=torch.long, device=image.device)

    def losses(iteration: int) -> dict[str, Tensor]:
        chosen = torch.randperm(len(shown.view), generator=rng, device=rng.device)[: settings.batch_size]
        depth = shape()
        if iteration < settings.hold:
            depth = depth.detach()
        weights = {"smooth": settings.smoothness, "depth_smooth": settings.depth_smoothness, "pose_weight": 0.0}
        terms, held = disagreement(nets, depth, shown[chosen], poses(chosen), **weights), _HELD * poses.error(chosen)
        terms = {**terms, "pose": held, "total": terms["total"] + held}
        if mask is None or settings.mirror == 0:
            return terms
        own = settings.mirror * mirror_disagreement(nets, depth, image, mask, poses(first)[1:]).mean()
        return {**terms, "mirror": own, "total": terms["total"] + own}

    adam = Adam(settings.learning_rate, weight_decay=settings.weight_decay, final=settings.final_rate)
    minimize([nets.depth_net, poses], losses, steps=steps, adam=adam, on_iteration=on_iteration)
    with torch.no_grad():
        return poses.scene(nets, image, shown, shape())


@torch.no_grad()
def mean_scene(nets: TurnedNetworks, image: Tensor, scenes: Sequence[Scene], *, told: Scene | None = None) -> Scene:
    """The scene in a picture (1, 3, S, S) of which there are several refinements: the mean of their depths and poses,
    under the light that the networks see. Of one it is that one.

    Args:
        nets: see the light.
        image: the picture.
        scenes: its refinements.
        told: the scene of one pass, if that reads depth and pose off what it knows of the category: both count as much
            as all refinements together, its depth at their distance.
    """
    if len(scenes) == 1 and told is None:
        return scenes[0]
    depth = torch.cat([scene.depth for scene in scenes]).mean(dim=0, keepdim=True)
    if told is not None:
        depth = depth + _TOLD * (told.depth - depth + (depth - told.depth).median())
    pose = mean_pose(Pose.cat([scene.pose for scene in scenes]))
    if told is not None:
        pose = mean_pose(Pose.cat([pose, told.pose]))
    return nets.seen(image, pose, depth=depth)


def mean_pose(poses: Pose) -> Pose:
    """The one pose nearest to all: the rotation with the least squared distance of matrices, the mean translation."""
    left, _, right = torch.linalg.svd(poses.rotation.mean(dim=0))
    flip = torch.eye(3).to(left)
    flip[2, 2] = torch.linalg.det(left @ right)
    return Pose((left @ flip @ right)[None], poses.translation.mean(dim=0, keepdim=True))


def falling_away(depth: Tensor, mask: Tensor) -> Tensor:
    """Canonical depth (1, 1, S, S) that falls away steadily outside the object's mask (1, 1, S, S) in the front.

    Views say nothing of what lies beside the object. A background at one depth would be seen through every gap between
    the object's outline and the picture's, far behind the surface.
    """
    inside = -F.max_pool2d(-(mask > 0.5).to(depth), 3, stride=1, padding=1)
    known, values = inside, depth * inside
    for _ in range(max(depth.shape[-2:])):
        share = F.avg_pool2d(known, 3, stride=1, padding=1)
        fallen = F.avg_pool2d(values, 3, stride=1, padding=1) / share.clamp(min=1e-6) + _FALL * 64 / depth.shape[-1]
        new = (known == 0) & (share > 0)
        values, known = torch.where(new, fallen, values), torch.where(new, 1.0, known)
    beside = (inside < 0.5) & (known > 0.5)
    values = values.clamp(DEPTHS.near, DEPTHS.far)
    for _ in range(_SMOOTHINGS):  # Else rays go out from every corner of the outline.
        near = F.avg_pool2d(F.pad(values, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
        values = torch.where(beside, near, values)
    return torch.where(beside, values, depth)
