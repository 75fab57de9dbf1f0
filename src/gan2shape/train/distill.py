"""Distillation: what refinements found of many objects of a generator becomes knowledge of their category.

Every object comes with its views, their refined poses, and one canonical depth. What all depths have wrong in common is
mended (`shared_shape`), what of them latents tell is read (`shape_reading`), and a network that begins as the
generator's inverse learns the poses of all views, or of pictures that were laid upon each other (`template`). These are
rolled and shifted, and changed in brightness and light as for the latent encoder, so that it does not hold on to how a
generator paints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from gan2shape.networks.one_pass import TurnedStart
from gan2shape.networks.pose_net import MIRRORED_POSE, PoseNetwork
from gan2shape.networks.trained import NetworkSizes
from gan2shape.networks.turned import TURNED
from gan2shape.render import Camera, render
from gan2shape.render.units import PoseRange
from gan2shape.train.gallery import normal_picture, turned_scene
from gan2shape.train.latents import sample_changed
from gan2shape.train.pose_reading import ROLL_DEG, rolled
from gan2shape.train.run import iteration_rng
from gan2shape.train.settings import SHOWN, AdamTask, TrainSettings, Validate, low_precision, write_snapshot

AS_DRAWN = 0.25
"""How often an object is seen in the picture as it was drawn; else it is any of its views."""
POSE_SHARE = (1.0, 1.0, 0.5, 0.5, 0.5, 0.0)
"""Of errors of pitch, yaw, roll and the shifts; along the optical axis nothing is known."""
SHIFT = 1 / 64
"""Standard deviation of shifts of pictures, both ways, as a part of their side. A head that is shifted looks like one
that nods or turns; only a network that has seen shifts can tell."""
_LAST_SHARE = 5.0
"""How much faster the last layer learns, which begins at zero."""


class RefinedViews:
    """Views of refined objects by number. A `Pictures`, all of them in ever new orders.

    Keys: ``image`` (B, 3, S, S) signed, ``pose`` (B, 6) in network units.

    Args:
        objects: each has ``view`` (1 + V, 3, S, S) bytes, the picture as drawn first; ``pose`` (1 + V, 6).
        description: where they come from, in one line.
        seed: of the orders.
    """

    def __init__(self, objects: Sequence[Mapping[str, Tensor]], description: str, *, seed: int) -> None:
        self.view, self.pose = (torch.stack([one[name] for one in objects]) for name in ("view", "pose"))
        self.size, self.description, self.seed = self.view.shape[-1], description, seed

    def __call__(self, start: int, count: int) -> Mapping[str, Tensor]:
        """Views number ``start`` … ``start + count - 1``."""
        objects = len(self.view)
        first, last = start // objects, (start + count - 1) // objects
        order, view = torch.cat([self._round(number) for number in range(first, last + 1)], dim=1)
        shown = slice(start - first * objects, start - first * objects + count)
        which, view = order[shown], view[shown]
        return {"image": self.view[which, view].float() / 127.5 - 1, "pose": self.pose[which, view].float()}

    def _round(self, number: int) -> Tensor:
        """All objects in the order of a round, and which of its views each shows (2, K)."""
        rng = iteration_rng(self.seed, number, torch.device("cpu"), "order")
        order = torch.randperm(len(self.view), generator=rng)
        view = torch.randint(self.view.shape[1], (len(self.view),), generator=rng)
        drawn = torch.rand(len(self.view), generator=rng) < AS_DRAWN
        return torch.stack([order, torch.where(drawn, 0, view)])


class DistillTask(AdamTask):
    """One distillation, a `Task`: the pose network learns. Its weights are those of the networks that it started from,
    with the directions and the network beside them.

    Args:
        pictures: views of refined objects.
        settings: of the training.
        start: networks, and directions with the reading of shapes; a pose network that it has goes on learning, else
            a new one begins as the generator's inverse.
        sizes: of its networks.
        about: of the objects and the start, plain JSON values; ``generator`` is the one that they belong to.
        along: tensors that its file holds besides: an encoder that is not to be had elsewhere.
        device: where it computes.
        validate: scores the predicted depth of views at every snapshot.
    """

    kind = TURNED

    def __init__(
        self,
        pictures: RefinedViews,
        settings: TrainSettings,
        *,
        start: TurnedStart,
        sizes: NetworkSizes,
        about: Mapping[str, Any],
        along: Mapping[str, Tensor] | None = None,
        device: torch.device,
        validate: Validate | None = None,
    ) -> None:
        self.start, self.validate, self.along = start, validate, along or {}
        super().__init__(pictures, settings, sizes, device=device, **about)

    def new_networks(self) -> nn.ModuleDict:
        """The pose network as it begins."""
        known = self.start.turning.pose_net
        begun = PoseNetwork.from_encoder(self.start.turning.encoder) if known is None else deepcopy(known)
        return nn.ModuleDict({"pose": begun.requires_grad_(True)})

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The last layer learns faster than the rest."""
        last = list(self.network.last.parameters())
        rest = [own for own in self.network.parameters() if all(own is not other for other in last)]
        return [{"params": rest}, {"params": last, "share": _LAST_SHARE}]

    def beside(self) -> Mapping[str, Tensor]:
        """The latent directions, the reading of shapes, the pose network as it is now, and what goes along."""
        return {**self.learned.turning.tensors(), **self.along}

    @property
    def network(self) -> PoseNetwork:
        """The network that learns."""
        return cast(PoseNetwork, self.networks["pose"])

    @property
    def learned(self) -> TurnedStart:
        """What reconstructs, with the network as it is now."""
        return replace(self.start, turning=replace(self.start.turning, pose=None, pose_net=self.network))

    def step(self, index: int) -> dict[str, float]:
        """Iteration ``index``: one batch of rolled, shifted and changed views, half of them mirrored, one update."""
        batch = {name: values.to(self.device) for name, values in self.batch(index).items()}
        flip = torch.rand(len(batch["image"]), generator=self.rng(index, "mirror"), device=self.device) < 0.5
        image, pose = mirrored(batch["image"], batch["pose"], flip)
        roll_deg = ROLL_DEG * torch.randn(len(image), generator=self.rng(index, "roll"), device=self.device)
        shift = SHIFT * torch.randn(len(image), 2, generator=self.rng(index, "shift"), device=self.device)
        pose = rolled_pose(pose, roll_deg, shift_units(shift, self.start.camera))
        image = rolled(image, roll_deg, shift * image.shape[-1])
        image = sample_changed(image, rng=self.rng(index, "change"))
        with low_precision(self.device, self.settings.bfloat16):
            told = self.network(image)
        share = pose.new_tensor(POSE_SHARE)
        return self.update({"total": ((told.float() - pose).abs() * share).sum(dim=1).mean()}, index)

    @torch.no_grad()
    def predict(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Depth of the view and what was hit, each (B, 1, S, S)."""
        seen = render(self.learned(image.to(self.device)), self.start.camera)
        return seen.depth, seen.mask

    @torch.no_grad()
    def snapshot(self, folder: Path, index: int) -> dict[str, float]:
        """Write a sheet (pictures, renderings, normals, albedo, both sides) and the weights; returns the scores.

        Raises:
            OutputError: the folder cannot be written.
        """
        image = self.pictures(0, SHOWN)["image"].to(self.device)
        scene, camera = self.learned(image), self.start.camera
        columns = [image, render(scene, camera).image, normal_picture(scene.depth, camera), scene.albedo]
        columns += [turned_scene(scene, camera, yaw_deg) for yaw_deg in (35.0, -35.0)]
        return write_snapshot(self, self.start.networks, columns, folder, index)


def shift_units(shift: Tensor, camera: Camera) -> Tensor:
    """Shifts (N, 2) of pictures, as a part of their side, in network units of poses (N, 2)."""
    return shift * camera.image_size / camera.focal_px * camera.pivot_depth / PoseRange().xy_translation


def rolled_pose(pose: Tensor, roll_deg: Tensor, shift: Tensor) -> Tensor:
    """Poses (N, 6), in network units, of what pictures show that are then rolled clockwise by angles (N,) in degrees,
    and after that shifted by (N, 2) units to the right and down."""
    angle = torch.deg2rad(roll_deg)
    cos, sin, (x, y) = angle.cos(), angle.sin(), pose[:, 3:5].unbind(1)
    moved = torch.stack([cos * x - sin * y, sin * x + cos * y], dim=1) + shift
    rolls = roll_deg[:, None] / PoseRange().rotation_deg
    return torch.cat([pose[:, :2], pose[:, 2:3] + rolls, moved, pose[:, 5:]], dim=1)


def mirrored(image: Tensor, pose: Tensor, flip: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, S, S) and their poses (B, 6) as a mirror shows them, where ``flip`` (B,) says so."""
    other = pose * pose.new_tensor(MIRRORED_POSE)
    return torch.where(flip[:, None, None, None], image.flip(-1), image), torch.where(flip[:, None], other, pose)
