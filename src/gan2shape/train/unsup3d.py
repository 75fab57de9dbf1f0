"""Unsup3D: depth, albedo, view and light of single pictures, trained on single pictures without any truth.

Two renderings must explain every picture: that of its factors, and that with depth and albedo mirrored. A confidence
network says where neither can. Source: Wu, Rupprecht, Vedaldi, "Unsupervised Learning of Probably Symmetric Deformable
3D Objects from Images in the Wild", CVPR 2020.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from gan2shape.losses import gaussian_distance, laplace_distance, smoothness
from gan2shape.networks.confidence import ConfidenceNetwork
from gan2shape.networks.factors import FactorNetworks
from gan2shape.networks.trained import UNSUP3D, NetworkSizes, unsup3d_networks
from gan2shape.render import Camera, Scene, mirror, render
from gan2shape.train.gallery import depth_picture, normal_picture, turned_scene
from gan2shape.train.pictures import Pictures
from gan2shape.train.settings import SHOWN, AdamTask, TrainSettings, Validate, low_precision, write_snapshot

FLIP_WEIGHT = 0.5
"""Of both terms of the mirrored rendering."""
ROUNDING = 2 / 255 / math.sqrt(12)
"""Deviation of a signed picture from its rounding to bytes: nothing can be expected to be closer, and the logarithm
of a deviation that went to zero on a saturated pixel would outweigh everything."""
FLAT_RELIEF = 0.003
"""Factor on the depth network's last layer for a flat start: slopes of two or three degrees in the mean. Without it
the random surface is one of 75°, which a short training does not get rid of."""

Features = Callable[[Tensor], Tensor]
"""Signed pictures (B, 3, S, S) to VGG-16's relu 3_3, (B, 256, S/4, S/4)."""


class Unsup3DTask(AdamTask):
    """One training of Unsup3D, a `Task`.

    Args:
        pictures: what is learned from; only ``image`` is looked at.
        settings: of the training.
        device: where it computes.
        features: for the perceptual term; None trains without that term.
        depth_smoothness: weight of the depth's second differences, in widths of a pixel. The paper has 0 and 75,000
            iterations; a short training needs some, since a rough surface is the quickest way to a darker picture.
        flat_start: whether training starts from a nearly flat surface instead of the paper's random one.
        validate: scores the predicted depth of views at every snapshot.

    Raises:
        ValueError: if a size cannot be.
    """

    kind = UNSUP3D

    def __init__(
        self,
        pictures: Pictures,
        settings: TrainSettings,
        *,
        device: torch.device,
        features: Features | None = None,
        depth_smoothness: float = 0.0,
        flat_start: bool = False,
        validate: Validate | None = None,
    ) -> None:
        self.features, self.validate = features, validate
        self.depth_smoothness, self.flat_start = depth_smoothness, flat_start
        self.camera = Camera(pictures.size)
        super().__init__(
            pictures,
            settings,
            NetworkSizes.scaled(pictures.size, settings.width_multiplier),
            device=device,
            perceptual_term=features is not None,
            depth_smoothness=depth_smoothness,
            flat_start=flat_start,
        )

    def new_networks(self) -> nn.ModuleDict:
        """Depth, albedo, view and light networks, and the confidence network."""
        confidence = ConfidenceNetwork(self.sizes.image_size, self.sizes.map_width, self.sizes.code_size // 2)
        factors = unsup3d_networks(self.sizes)
        if self.flat_start:
            with torch.no_grad():
                last = cast(nn.Conv2d, factors.depth_net.decoder[-1])
                last.weight.mul_(FLAT_RELIEF)
        return nn.ModuleDict({"factors": factors, "confidence": confidence})

    @property
    def factors(self) -> FactorNetworks:
        """The networks that are kept."""
        return cast(FactorNetworks, self.networks["factors"])

    def step(self, index: int) -> dict[str, float]:
        """Iteration ``index``: one batch, one update."""
        image = self.batch(index)["image"].to(self.device)
        terms = self.losses(image)
        return self.update(terms, index)

    def losses(self, image: Tensor) -> dict[str, Tensor]:
        """The terms of signed pictures (B, 3, S, S), ``total`` among them."""
        with low_precision(self.device, self.settings.bfloat16):
            raw, albedo = self.factors.depth_net(image), self.factors.albedo_net(image)
            fine, coarse = self.networks["confidence"](image)
        depth = self.factors.depth_range.from_raw(raw)
        scene = Scene(depth, albedo, self.factors.pose(image), self.factors.lighting(image))
        renderings = (render(scene, self.camera), render(mirror(scene), self.camera))
        mask = renderings[0].mask * renderings[1].mask
        fine = fine + ROUNDING
        terms = {
            name: laplace_distance(rendering.image, image, fine[:, i : i + 1], mask)
            for i, (name, rendering) in enumerate(zip(("picture", "flipped"), renderings, strict=True))
        }
        total = terms["picture"] + FLIP_WEIGHT * terms["flipped"]
        if self.features is not None:
            with torch.no_grad():
                seen = self.features(image)
            for i, (name, rendering) in enumerate(zip(("features", "flipped_features"), renderings, strict=True)):
                terms[name] = gaussian_distance(self.features(rendering.image), seen, coarse[:, i : i + 1], mask)
            total = total + terms["features"] + FLIP_WEIGHT * terms["flipped_features"]
        if self.depth_smoothness:
            # The columns tied to the border depth make a step that no training can smooth.
            tied = self.factors.depth_range.border_columns + 1
            terms["roughness"] = smoothness(depth[..., tied:-tied]) * self.camera.focal_px
            total = total + self.depth_smoothness * terms["roughness"]
        with torch.no_grad():
            difference = ((renderings[0].image - image).abs() * mask).sum() / (3 * mask.sum()).clamp(min=1)
        return {"total": total, **terms, "difference": difference}

    @torch.no_grad()
    def predict(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Depth of the view and what was hit, each (B, 1, S, S)."""
        seen = render(self.factors(image.to(self.device)), self.camera)
        return seen.depth, seen.mask

    @torch.no_grad()
    def snapshot(self, folder: Path, index: int) -> dict[str, float]:
        """Write a sheet (input, rendering, mirrored, depth, normals, both sides) and the weights; returns the scores.

        Raises:
            OutputError: the folder cannot be written.
        """
        image = self.pictures(0, SHOWN)["image"].to(self.device)
        scene = self.factors(image)
        seen, flipped = render(scene, self.camera), render(mirror(scene), self.camera)
        columns = [image, seen.image, flipped.image, scene.albedo, depth_picture(seen.depth, self.factors.depth_range)]
        columns += [normal_picture(scene.depth, self.camera)]
        columns += [turned_scene(scene, self.camera), turned_scene(scene, self.camera, yaw_deg=-35.0)]
        return write_snapshot(self, self.factors, columns, folder, index)
