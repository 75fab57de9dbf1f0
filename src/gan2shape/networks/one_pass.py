"""One pass: a picture to its scene, by the networks and what is told beside the latent directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan2shape.networks.agreement import as_vectors
from gan2shape.networks.template import Posed
from gan2shape.networks.turned import TurnedNetworks, in_object_frame, of_strength_one
from gan2shape.networks.turning import Turning, even_features
from gan2shape.render import Camera, Scene
from gan2shape.render.units import PoseRange, lighting_to_units, pose_from_units, pose_to_units


@dataclass(frozen=True, eq=False)
class TurnedStart:
    """What a reconstruction starts from.

    Attributes:
        networks: shape, pose and light in one pass.
        turning: the latent directions of the same generator.
    """

    networks: TurnedNetworks
    turning: Turning

    @property
    def camera(self) -> Camera:
        """What the scenes are seen with."""
        return self.networks.camera

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Scene:
        """The scene in signed pictures (B, 3, S, S): with the depth and the pose that are told beside the directions,
        and those that the networks see where nothing is. Where there is a template, the pose is laid upon it."""
        features = even_features(self.turning.encoder, image)
        depth = self.turning.depth(image, features)
        if not self.turning.tells_poses:
            return self.networks(image, depth=depth)
        units, template = self.turning.pose_units(image), self.turning.template
        if template is not None and depth is not None:
            posed, looks = self.posed(image, depth, units), template.looks(features[:, :-1])
            units = units + template.corrections(posed, looks, self.camera)
        return self.networks.seen(image, pose_from_units(units, PoseRange()), depth=depth)

    @property
    def lays_upon_template(self) -> bool:
        """Whether poses are laid upon a template, which makes them better than those of any other picture."""
        turning = self.turning
        return turning.template is not None and turning.tells_poses and turning.shape is not None

    @torch.no_grad()
    def posed(self, image: Tensor, depth: Tensor, units: Tensor) -> Posed:
        """Signed pictures (B, 3, S, S) with depths (B, 1, S, S) and poses (B, 6), in network units, that are known, and
        the lights that the networks see."""
        lighting = of_strength_one(self.networks.lighting(image))
        lighting = in_object_frame(lighting, pose_from_units(units, PoseRange()))
        return Posed(image, depth, units, as_vectors(lighting))

    @torch.no_grad()
    def units(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Pose (B, 6) and light (B, 4), attached to the object, in signed pictures (B, 3, S, S), in network units."""
        scene = self(image)
        return pose_to_units(scene.pose, PoseRange()), lighting_to_units(scene.lighting)
