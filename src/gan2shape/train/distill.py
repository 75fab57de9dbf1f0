"""Distillation: networks of one pass learn what refinements found, for many objects of a generator.

Every object comes with its views, their refined poses, and one canonical depth. The depth network sees any view and
says the part of that depth that latents tell (`shape_reading`) where it is the object's, and beside it what it said
before (a refinement's fall beside the object would draw the rim away with it); the view network says that pose; and
poses are nearly linear in the latents that the generator's inverse sees, which is fitted too (`pose_reading`). Views
are changed in brightness and light as for the latent encoder, so that neither holds on to how a generator paints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan2shape.networks.trained import NetworkSizes
from gan2shape.networks.turned import TURNED, TurnedNetworks
from gan2shape.networks.turning import MIRRORED_POSE, Turning, pose_of_moves, with_pose_reading
from gan2shape.render import render
from gan2shape.train.gallery import normal_picture, turned_scene
from gan2shape.train.latents import sample_changed
from gan2shape.train.pose_reading import ROLL_DEG, rolled
from gan2shape.train.run import iteration_rng
from gan2shape.train.settings import SHOWN, AdamTask, TrainSettings, Validate, low_precision, write_snapshot
from gan2shape.train.shape_reading import ShapeReading

AS_DRAWN = 0.25
"""How often an object is seen in the picture as it was drawn; else it is any of its views."""
DEPTH_WEIGHT, SLOPE_WEIGHT, POSE_WEIGHT = 100.0, 200.0, 10.0
"""Of errors of depth (scene units), of its first differences (scene units a pixel) and of poses (network units)."""
POSE_SHARE = (1.0, 1.0, 0.5, 0.5, 0.5, 0.0)
"""Of pitch, yaw, roll and the shifts; along the optical axis nothing is known."""


class RefinedViews:
    """Views of refined objects by number. A `Pictures`, all of them in ever new orders.

    Keys: ``image`` (B, 3, S, S) signed, ``pose`` (B, 6) in network units, ``depth`` (B, 1, S, S) canonical, as it is
    read if there is a reading, ``mask`` (B, 1, S, S), 1 = object, of that depth.

    Args:
        objects: each has ``view`` (1 + V, 3, S, S) bytes, the picture as drawn first; ``pose`` (1 + V, 6); ``depth``
            and ``mask`` (1, S, S).
        description: where they come from, in one line.
        seed: of the orders.
        shapes: what takes the place of their own depths.
    """

    def __init__(
        self,
        objects: Sequence[Mapping[str, Tensor]],
        description: str,
        *,
        seed: int,
        shapes: ShapeReading | None = None,
    ) -> None:
        self.view, self.pose, self.depth, self.mask = (
            torch.stack([one[name] for one in objects]) for name in ("view", "pose", "depth", "mask")
        )
        self.size, self.description, self.seed, self.shapes = self.view.shape[-1], description, seed, shapes

    def __call__(self, start: int, count: int) -> Mapping[str, Tensor]:
        """Views number ``start`` … ``start + count - 1``."""
        objects = len(self.view)
        first, last = start // objects, (start + count - 1) // objects
        order, view = torch.cat([self._round(number) for number in range(first, last + 1)], dim=1)
        shown = slice(start - first * objects, start - first * objects + count)
        which, view = order[shown], view[shown]
        image = self.view[which, view].float() / 127.5 - 1
        depth = self.depth[which].float() if self.shapes is None else self.shapes(which, view)
        maps = {"depth": depth, "mask": self.mask[which].float()}
        return {"image": image, "pose": self.pose[which, view].float(), **maps}

    def _round(self, number: int) -> Tensor:
        """All objects in the order of a round, and which of its views each shows (2, K)."""
        rng = iteration_rng(self.seed, number, torch.device("cpu"), "order")
        order = torch.randperm(len(self.view), generator=rng)
        view = torch.randint(self.view.shape[1], (len(self.view),), generator=rng)
        drawn = torch.rand(len(self.view), generator=rng) < AS_DRAWN
        return torch.stack([order, torch.where(drawn, 0, view)])


def pose_reading(turning: Turning, pictures: RefinedViews) -> Turning:
    """The directions with a linear reading of poses off latents, fitted to all views, rolled at random, and their
    refined poses."""
    device = turning.direction.device
    rng = iteration_rng(pictures.seed, 0, device, "rolls")

    def known() -> Iterator[tuple[Tensor, Tensor]]:
        for view, pose in zip(pictures.view, pictures.pose, strict=True):
            roll_deg = ROLL_DEG * torch.randn(len(view), generator=rng, device=device)
            units = pose.to(device).float()
            units = units + pose_of_moves(torch.zeros_like(roll_deg), roll_deg=roll_deg)
            yield rolled(view.to(device).float() / 127.5 - 1, roll_deg), units

    return with_pose_reading(turning, known())


class DistillTask(AdamTask):
    """One distillation, a `Task`; its weights are those of `TurnedNetworks`.

    Args:
        pictures: views of refined objects.
        settings: of the training; the widths are those of ``start``.
        start: the networks that it starts from.
        sizes: theirs.
        beside: what is written beside the weights: the generator's directions.
        about: of the objects and the start, plain JSON values; ``generator`` is the one that they belong to.
        device: where it computes.
        validate: scores the predicted depth of views at every snapshot.
    """

    kind = TURNED

    def __init__(
        self,
        pictures: RefinedViews,
        settings: TrainSettings,
        *,
        start: TurnedNetworks,
        sizes: NetworkSizes,
        beside: Mapping[str, Tensor],
        about: Mapping[str, Any],
        device: torch.device,
        validate: Validate | None = None,
    ) -> None:
        self.start, self.kept, self.validate = deepcopy(start).to(device).requires_grad_(False), beside, validate
        super().__init__(pictures, settings, sizes, device=device, **about)

    def new_networks(self) -> nn.ModuleDict:
        """A copy of what it starts from."""
        return nn.ModuleDict({"turned": deepcopy(self.start).requires_grad_(True)})

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Depth and view network; the light network stays."""
        return [{"params": [*self.network.depth_net.parameters(), *self.network.view_net.parameters()]}]

    def beside(self) -> Mapping[str, Tensor]:
        """The latent directions that turn and light the object."""
        return self.kept

    @property
    def network(self) -> TurnedNetworks:
        """The networks that are kept."""
        return cast(TurnedNetworks, self.networks["turned"])

    def step(self, index: int) -> dict[str, float]:
        """Iteration ``index``: one batch of changed views, half of them mirrored, one update."""
        batch = {name: values.to(self.device) for name, values in self.batch(index).items()}
        flip = torch.rand(len(batch["image"]), generator=self.rng(index, "mirror"), device=self.device) < 0.5
        batch = mirrored(batch, flip)
        image = sample_changed(batch["image"], rng=self.rng(index, "change"))
        return self.update(self.losses(image, batch["pose"], batch["depth"], batch["mask"]), index)

    def losses(self, image: Tensor, pose: Tensor, depth: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """The terms for signed views (B, 3, S, S) with their poses (B, 6), canonical depths and masks (B, 1, S, S)."""
        with low_precision(self.device, self.settings.bfloat16):
            seen, units = self.network.depth(image), self.network.view_net(image)
            with torch.no_grad():
                before = self.start.depth(image)
        inside = -F.max_pool2d(-mask, 3, stride=1, padding=1)  # A fall begins at the mask's outermost pixels.
        error = (seen.float() - depth) * inside
        share = error.new_tensor(POSE_SHARE)
        terms = {
            "depth": DEPTH_WEIGHT * error.abs().mean(),
            "slope": SLOPE_WEIGHT * sum(_inner(error, inside, axis).abs().mean() for axis in (2, 3)),
            "beside": DEPTH_WEIGHT * ((seen - before).float() * (1 - inside)).abs().mean(),
            "pose": POSE_WEIGHT * ((units.float() - pose).abs() * share).sum(dim=1).mean(),
        }
        return {"total": sum(terms.values(), torch.zeros_like(terms["pose"])), **terms}

    @torch.no_grad()
    def predict(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Depth of the view and what was hit, each (B, 1, S, S), under the pose that the view network sees."""
        seen = render(self.network(image.to(self.device)), self.network.camera)
        return seen.depth, seen.mask

    @torch.no_grad()
    def snapshot(self, folder: Path, index: int) -> dict[str, float]:
        """Write a sheet (pictures, renderings, normals, albedo, both sides) and the weights; returns the scores.

        Raises:
            OutputError: the folder cannot be written.
        """
        image = self.pictures(0, SHOWN)["image"].to(self.device)
        scene, camera = self.network(image), self.network.camera
        columns = [image, render(scene, camera).image, normal_picture(scene.depth, camera), scene.albedo]
        columns += [turned_scene(scene, camera, yaw_deg) for yaw_deg in (35.0, -35.0)]
        return write_snapshot(self, self.network, columns, folder, index)


def _inner(values: Tensor, mask: Tensor, axis: int) -> Tensor:
    """First differences along an axis between pixels of the mask, 0 elsewhere."""
    size = values.shape[axis] - 1
    return values.diff(dim=axis) * mask.narrow(axis, 0, size) * mask.narrow(axis, 1, size)


def mirrored(batch: Mapping[str, Tensor], flip: Tensor) -> dict[str, Tensor]:
    """Poses (B, 6) in ``pose``, and pictures and maps (B, C, S, S), as a mirror shows them, where ``flip`` (B,) says
    so."""
    found = {}
    for name, values in batch.items():
        other = values * values.new_tensor(MIRRORED_POSE) if name == "pose" else values.flip(-1)
        found[name] = torch.where(flip.view(-1, *[1] * (values.ndim - 1)), other, values)
    return found
