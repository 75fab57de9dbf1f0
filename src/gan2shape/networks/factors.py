"""FactorNetworks: one picture to the scene it shows. The paper's D, A, V and L together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gan2shape.networks.autoencoder import Autoencoder
from gan2shape.networks.encoder import Encoder
from gan2shape.networks.widths import NetworkConfig
from gan2shape.render.depth import DepthRange
from gan2shape.render.pose import Pose
from gan2shape.render.scene import Scene
from gan2shape.render.shading import Lighting
from gan2shape.render.units import PoseRange, lighting_from_units, pose_from_units


class FactorNetworks(nn.Module):
    """Depth, albedo, view and light networks, and the conversion of their raw outputs into a `Scene`.

    The four networks are the attributes `depth_net`, `albedo_net`, `view_net` and `light_net`.

    Args:
        image_size: side of the pictures in px, a power of two.
        depth_range: scene units of the depth network's output.
        config: widths and code size.
        ranges: what one unit of the view network means.
        pose_mean: six numbers in network units, added to the view network's output.
        lighting_mean: four numbers in network units, added to the light network's output.

    Raises:
        ValueError: if a size, width or mean cannot be.
    """

    pose_mean: Tensor
    lighting_mean: Tensor

    def __init__(
        self,
        image_size: int,
        depth_range: DepthRange | None = None,
        *,
        config: NetworkConfig | None = None,
        ranges: PoseRange | None = None,
        pose_mean: Sequence[float] | Tensor | None = None,
        lighting_mean: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__()
        config = config or NetworkConfig()
        self.image_size = image_size
        self.depth_range = depth_range or DepthRange()
        self.ranges = ranges or PoseRange()
        map_width, vector_width = config.map_width(image_size), config.vector_width(image_size)
        self.depth_net = Autoencoder(1, image_size, map_width, config.code_size)
        albedo_code = config.code_size if config.albedo_code_size is None else config.albedo_code_size
        self.albedo_net = Autoencoder(3, image_size, map_width, albedo_code, activation="tanh")
        self.view_net = Encoder(3, 6, image_size, vector_width)
        self.light_net = Encoder(3, 4, image_size, vector_width)
        # Buffers, so that a saved state dict says which means its networks were trained around.
        self.register_buffer("pose_mean", _mean(pose_mean, 6, "pose_mean"))
        self.register_buffer("lighting_mean", _mean(lighting_mean, 4, "lighting_mean"))

    def depth(self, image: Tensor) -> Tensor:
        """Canonical depth (B, 1, S, S) in scene units, of signed pictures (B, 3, S, S)."""
        return self.depth_range.from_raw(self.depth_net(image))

    def albedo(self, image: Tensor) -> Tensor:
        """Canonical albedo (B, 3, S, S), signed, of signed pictures (B, 3, S, S)."""
        return self.albedo_net(image)

    def pose(self, image: Tensor) -> Pose:
        """Pose of the object in each of the signed pictures (B, 3, S, S)."""
        return pose_from_units(self.view_net(image) + self.pose_mean, self.ranges)

    def lighting(self, image: Tensor) -> Lighting:
        """Light, attached to the canonical object, in each of the signed pictures (B, 3, S, S)."""
        return lighting_from_units(self.light_net(image) + self.lighting_mean)

    def forward(self, image: Tensor) -> Scene:
        """The scene that each of the signed pictures (B, 3, S, S) shows."""
        return Scene(
            depth=self.depth(image), albedo=self.albedo(image), pose=self.pose(image), lighting=self.lighting(image)
        )


def _mean(values: Sequence[float] | Tensor | None, count: int, name: str) -> Tensor:
    mean = torch.zeros(count) if values is None else torch.as_tensor(values, dtype=torch.float32).detach().clone()
    if mean.shape != (count,):
        raise ValueError(f"{name} must be {count} numbers; got shape {tuple(mean.shape)}")
    return mean
