"""New views and new lights of a saved result: load its scene, change pose or light, render.

python examples/03_views_and_lights.py results/02 results/03
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

from gan2shape import Lighting, Pose, ReconstructionResult, Scene
from gan2shape.io.images import write_image
from gan2shape.render import Camera, render

YAWS_DEG = (-30.0, -15.0, 0.0, 15.0, 30.0)
LIGHT_XS = (-1.5, -0.75, 0.0, 0.75, 1.5)


def turned(scene: Scene) -> Scene:
    """The scene turned from where it stands in the picture. Poses compose: the scene's own first, then the turn."""
    angles = torch.deg2rad(torch.tensor([[0.0, yaw, 0.0] for yaw in YAWS_DEG]))  # pitch, yaw, roll
    return scene.with_(pose=Pose.from_euler(angles) @ scene.pose)


def relit(scene: Scene) -> Scene:
    """The scene under a lamp that moves from its right to its left."""
    direction = F.normalize(torch.tensor([[x, 0.3, 1.0] for x in LIGHT_XS]), dim=1)
    strength = torch.ones(len(LIGHT_XS), 1)
    return scene.with_(lighting=Lighting(ambient=0.3 * strength, diffuse=0.7 * strength, direction=direction))


def strip(scene: Scene, camera: Camera) -> Tensor:
    """All pictures of a scene side by side, (3, S, B·S), white where nothing was hit."""
    seen = render(scene, camera)
    return torch.cat(list(torch.where(seen.mask > 0, seen.image, 1.0)), dim=2)


def main(result: tyro.conf.Positional[Path], output: tyro.conf.Positional[Path], /) -> None:
    """Write turned.png and relit.png.

    Args:
        result: a result folder, as example 02 or `gan2shape reconstruct` wrote it.
        output: folder for the pictures.
    """
    saved = ReconstructionResult.load(result)
    write_image(output / "turned.png", strip(turned(saved.scene), saved.camera))
    write_image(output / "relit.png", strip(relit(saved.scene), saved.camera))
    print(output / "turned.png")


if __name__ == "__main__":
    tyro.cli(main)
