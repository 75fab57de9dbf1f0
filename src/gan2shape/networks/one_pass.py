"""One pass: a picture to its scene, by the networks and what is told beside the latent directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan2shape.networks.turned import TurnedNetworks
from gan2shape.networks.turning import Turning
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
        and those that the networks see where nothing is."""
        depth = self.turning.depth(image)
        if not self.turning.tells_poses:
            return self.networks(image, depth=depth)
        return self.networks.seen(image, pose_from_units(self.turning.pose_units(image), PoseRange()), depth=depth)

    @torch.no_grad()
    def units(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Pose (B, 6) and light (B, 4), attached to the object, in signed pictures (B, 3, S, S), in network units."""
        scene = self(image)
        return pose_to_units(scene.pose, PoseRange()), lighting_to_units(scene.lighting)
