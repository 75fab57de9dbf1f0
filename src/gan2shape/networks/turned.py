"""Depth and light of a picture in one pass, as networks learn them from turned views (``gan2shape train turned``)."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from torch import Tensor, nn

from gan2shape.networks.autoencoder import Autoencoder
from gan2shape.networks.encoder import Encoder
from gan2shape.networks.trained import NetworkSizes, load_networks
from gan2shape.render import Camera, DepthRange, Lighting, Pose, Scene, normals_from_depth, unshade
from gan2shape.render.units import lighting_from_units

TURNED = "turned"
"""What its files say they are, and the method's name."""
BUNDLED_FILE = "turned_synface64.safetensors"
"""The networks that learned from the bundled generator."""
PIVOT_DEPTH = 1.02
"""Depth of the point that the object turns about, in scene units: heads of the bundled generator agree best with their
turned views there (docs/quality.md)."""
DEPTHS = DepthRange()
"""What the depth network may predict."""


def camera_of(image_size: int) -> Camera:
    """The camera that the depth is seen with, turning about `PIVOT_DEPTH`."""
    return Camera(image_size, pivot_depth=PIVOT_DEPTH)


class TurnedNetworks(nn.Module):
    """A picture to the surface that it shows, its light, and its albedo by division; there is no pose.

    Args:
        sizes: of the depth network (``map_width``, ``code_size``) and of the light network (``vector_width``).
    """

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.image_size = sizes.image_size
        self.camera = camera_of(sizes.image_size)
        self.depth_net = Autoencoder(1, sizes.image_size, sizes.map_width, sizes.code_size)
        self.light_net = Encoder(3, 4, sizes.image_size, sizes.vector_width)

    def depth(self, image: Tensor) -> Tensor:
        """Signed pictures (B, 3, S, S) → depth of the view (B, 1, S, S) in scene units."""
        return DEPTHS.from_raw(self.depth_net(image).float())

    def lighting(self, image: Tensor) -> Lighting:
        """The light in signed pictures (B, 3, S, S), in the camera's axes."""
        return lighting_from_units(self.light_net(image))

    def forward(self, image: Tensor) -> Scene:
        """The scene in signed pictures (B, 3, S, S): the object as it stands there, so the pose is none.

        The albedo is the picture divided by its shading, so that the scene shows the picture (nearly) exactly.
        """
        depth, lighting = self.depth(image), self.lighting(image)
        albedo = unshade(image, normals_from_depth(depth, self.camera), lighting)
        return Scene(depth, albedo, Pose.identity(len(image), like=image), lighting)


def load_turned(file: Path) -> TurnedNetworks:
    """The networks of a file that ``gan2shape train turned`` wrote, frozen, on the CPU in float32.

    Raises:
        CheckpointError: damaged, of another kind, or with weights that do not fit.
    """
    return load_networks(file, TURNED, TurnedNetworks)


def bundled_turned() -> Path:
    """The file that comes with this package."""
    return Path(str(resources.files("gan2shape") / "assets" / BUNDLED_FILE))
