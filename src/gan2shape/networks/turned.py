"""Shape, pose and light of a picture in one pass, learned from turned views (``gan2shape train turned``)."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan2shape.networks.autoencoder import Autoencoder
from gan2shape.networks.encoder import Encoder
from gan2shape.networks.trained import NetworkSizes, load_networks
from gan2shape.render import Camera, DepthRange, Lighting, Pose, Scene, normals_from_depth, unshade
from gan2shape.render.units import lighting_from_units, pose_from_units
from gan2shape.render.warp import forward_grid, sample_image

TURNED = "turned"
"""What its files say they are, and the method's name."""
BUNDLED_FILE = "turned_synface64.safetensors"
"""The networks that learned from the bundled generator."""
PIVOT_DEPTH = 1.02
"""Depth of the point that the object turns about, in scene units: turned views of the bundled generator agree best
about this one."""
DEPTHS = DepthRange()
"""What the depth network may predict."""
_FRONTAL = 0.2
_LEAST_LIGHT = 0.02


def camera_of(image_size: int) -> Camera:
    """The camera that the depth is seen with, turning about `PIVOT_DEPTH`."""
    return Camera(image_size, pivot_depth=PIVOT_DEPTH)


class TurnedNetworks(nn.Module):
    """A picture to the object that it shows, seen from the front, its pose and its light; the albedo is by division.

    Args:
        sizes: of the depth network (``map_width``, ``code_size``), of view and light network (``vector_width``).
    """

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.image_size = sizes.image_size
        self.camera = camera_of(sizes.image_size)
        self.depth_net = Autoencoder(1, sizes.image_size, sizes.map_width, sizes.code_size)
        self.view_net = Encoder(3, 6, sizes.image_size, sizes.vector_width)
        self.light_net = Encoder(3, 4, sizes.image_size, sizes.vector_width)

    def depth(self, image: Tensor) -> Tensor:
        """Signed pictures (B, 3, S, S) → canonical depth (B, 1, S, S) in scene units."""
        return DEPTHS.from_raw(self.depth_net(image).float())

    def lighting(self, image: Tensor) -> Lighting:
        """The light in signed pictures (B, 3, S, S), in the camera's axes, as the network says it."""
        return lighting_from_units(self.light_net(image))

    def forward(self, image: Tensor, *, depth: Tensor | None = None) -> Scene:
        """The scene in signed pictures (B, 3, S, S), its light of strength 1 (see `of_strength_one`); perhaps their
        canonical depths (B, 1, S, S) are known.

        The albedo is the picture, brought to the canonical frame, divided by its shading, so that the scene shows the
        picture (nearly) exactly where the canonical frame sees it.
        """
        return self.seen(image, pose_from_units(self.view_net(image)), depth=depth)

    def seen(self, image: Tensor, pose: Pose, *, depth: Tensor | None = None) -> Scene:
        """The scene in signed pictures (B, 3, S, S) whose poses (batch B) are known, and perhaps their canonical depth
        (B, 1, S, S), else as `forward` does."""
        depth = self.depth(image) if depth is None else depth
        lighting = in_object_frame(of_strength_one(self.lighting(image)), pose)
        return Scene(depth, canonical_albedo(image, depth, pose, lighting, self.camera), pose, lighting)


def canonical_albedo(image: Tensor, depth: Tensor, pose: Pose, lighting: Lighting, camera: Camera) -> Tensor:
    """The albedo (B, 3, S, S), signed, with which objects of canonical depth (B, 1, S, S) show signed pictures
    (B, 3, S, S) under these poses and lights (attached to the object)."""
    texture = sample_image(image, forward_grid(depth, pose, camera))
    return unshade(texture, normals_from_depth(depth, camera), lighting)


def of_strength_one(lighting: Lighting) -> Lighting:
    """Lights whose ambient and diffuse strengths add up to 1: a dark picture may show a dark object or a dim lamp, and
    nothing tells which."""
    total = lighting.ambient + lighting.diffuse + 2 * _LEAST_LIGHT
    ambient, diffuse = ((strength + _LEAST_LIGHT) / total for strength in (lighting.ambient, lighting.diffuse))
    return Lighting(ambient, diffuse, lighting.direction)


def in_object_frame(lighting: Lighting, pose: Pose) -> Lighting:
    """Lights in the camera's axes, attached to the object that the poses turned; they keep coming from the front."""
    direction = (pose.rotation.transpose(1, 2) @ lighting.direction[:, :, None])[:, :, 0]
    direction = torch.cat([direction[:, :2], direction[:, 2:].clamp(min=_FRONTAL)], dim=1)
    return Lighting(lighting.ambient, lighting.diffuse, F.normalize(direction, dim=1))


def load_turned(file: Path) -> TurnedNetworks:
    """The networks of a file that ``gan2shape train turned`` wrote, frozen, on the CPU in float32.

    Raises:
        CheckpointError: damaged, of another kind, or with weights that do not fit.
    """
    return load_networks(file, TURNED, TurnedNetworks)


def bundled_turned() -> Path:
    """The file that comes with this package."""
    return Path(str(resources.files("gan2shape") / "assets" / BUNDLED_FILE))
