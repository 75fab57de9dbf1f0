"""A depth network trained with true depth: how well this architecture can do when it is told the answer.

It predicts the depth of the view itself, so that neither pose nor symmetry is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan2shape.losses import photometric
from gan2shape.losses.masked import masked_mean
from gan2shape.networks.trained import SEEN_DEPTHS, SUPERVISED, DepthNetwork, NetworkSizes
from gan2shape.render import Camera, DepthRange, normals_from_depth
from gan2shape.train.gallery import depth_picture, normal_picture, turned_picture
from gan2shape.train.pictures import Pictures
from gan2shape.train.settings import SHOWN, AdamTask, TrainSettings, Validate, low_precision, write_snapshot

DEPTH_SCALE = 100.0
"""Depth errors are minimised in hundredths of their logarithm, the unit in which they are scored."""


class SupervisedTask(AdamTask):
    """One training of the supervised depth network, a `Task`.

    Args:
        pictures: with ``depth`` and ``mask``.
        settings: of the training.
        device: where it computes.
        normal_weight: of the length of the difference of unit normals beside the depth error; 0 leaves depth alone.
        validate: scores the predicted depth of views at every snapshot.

    Raises:
        ValueError: if a size cannot be.
    """

    kind = SUPERVISED

    def __init__(
        self,
        pictures: Pictures,
        settings: TrainSettings,
        *,
        device: torch.device,
        normal_weight: float = 1.0,
        validate: Validate | None = None,
    ) -> None:
        self.normal_weight, self.validate = normal_weight, validate
        self.camera = Camera(pictures.size)
        sizes = NetworkSizes.scaled(pictures.size, settings.width_multiplier)
        super().__init__(pictures, settings, sizes, device=device, normal_weight=normal_weight)

    def new_networks(self) -> nn.ModuleDict:
        """The depth network."""
        return nn.ModuleDict({"depth": DepthNetwork(self.sizes)})

    @property
    def network(self) -> DepthNetwork:
        """The network that is kept."""
        return cast(DepthNetwork, self.networks["depth"])

    def step(self, index: int) -> dict[str, float]:
        """Iteration ``index``: one batch, half of it mirrored, one update."""
        batch = self.batch(index)
        image, depth, mask = (batch[name].to(self.device) for name in ("image", "depth", "mask"))
        flip = torch.rand(len(image), 1, 1, 1, generator=self.rng(index, "mirror"), device=self.device) < 0.5
        image, depth, mask = (torch.where(flip, value.flip(-1), value) for value in (image, depth, mask))
        terms = self.losses(image, depth, mask)
        return self.update(terms, index)

    def losses(self, image: Tensor, depth: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """The terms of signed pictures (B, 3, S, S) with depth and mask (B, 1, S, S), ``total`` among them."""
        with low_precision(self.device, self.settings.bfloat16):
            raw = self.network.depth_net(image)
        predicted = SEEN_DEPTHS.from_raw(raw)
        known = (mask > 0) & (depth > 0)
        true = torch.where(known, depth, torch.ones_like(depth))
        weight = known.to(depth.dtype)
        terms = {"depth": DEPTH_SCALE * photometric(predicted.log(), true.log(), weight)}
        total = terms["depth"]
        if self.normal_weight:
            difference = normals_from_depth(predicted, self.camera) - normals_from_depth(true, self.camera)
            terms["normals"] = masked_mean(torch.linalg.vector_norm(difference, dim=1, keepdim=True), inside(weight))
            total = total + self.normal_weight * terms["normals"]
        return {"total": total, **terms}

    @torch.no_grad()
    def predict(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Depth of the view and what was hit (everything), each (B, 1, S, S)."""
        depth = self.network(image.to(self.device))
        return depth, torch.ones_like(depth)

    @torch.no_grad()
    def snapshot(self, folder: Path, index: int) -> dict[str, float]:
        """Write a sheet (input, true depth and normals, predicted ones, two turns) and the weights; returns the scores.

        Raises:
            OutputError: the folder cannot be written.
        """
        batch = self.pictures(0, SHOWN)
        image, mask = batch["image"].to(self.device), batch["mask"].to(self.device)
        limits = DepthRange()
        far = image.new_tensor(limits.far)
        true = torch.where(mask > 0, batch["depth"].to(self.device), far)
        depth = torch.where(mask > 0, self.network(image), far)
        columns = [image]
        for shown in (true, depth):
            columns += [depth_picture(shown, limits), normal_picture(shown, self.camera) * inside(mask)]
        columns += [turned_picture(image, depth, self.camera, yaw_deg) for yaw_deg in (35.0, -35.0)]
        return write_snapshot(self, self.network, columns, folder, index)


def inside(mask: Tensor) -> Tensor:
    """Pixels (B, 1, S, S) whose eight neighbours are in the mask too: where normals are of the object alone."""
    return 1 - F.max_pool2d((mask <= 0).to(mask.dtype), 3, stride=1, padding=1)
