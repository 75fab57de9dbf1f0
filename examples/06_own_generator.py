"""Reconstruct with a generator of your own: any object with `resolution`, `latent_dim` and `synthesize(w)`.

python examples/06_own_generator.py results/06
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

from gan2shape import PRESETS, Camera, LoadedGenerator, Pose, Reconstructor, Scene, Stage, Target
from gan2shape.generators import DirectOffset
from gan2shape.reconstruct.config import Geometry
from gan2shape.render import render
from gan2shape.render.units import lighting_from_units, pose_from_units


class DomePainter:
    """Stands in for a network: latents (B, 10) are pose (6) and light (4) of a spotted dome, in network units."""

    resolution, latent_dim, camera = 32, 10, Camera(32)

    def __init__(self) -> None:
        u, v = (self.camera.pixel_grid(torch.zeros(())) / self.camera.centre_px - 1).unbind(-1)
        height = (1 - (u / 0.8).square() - (v / 0.9).square()).clamp(min=0).sqrt()
        depth = (1.04 - 0.1 * height - 0.03 * torch.exp(-20 * (u.square() + v.square())))[None, None]
        spots = torch.sin(9 * u) * torch.cos(8 * v)
        albedo = torch.stack([0.3 + 0.4 * spots, 0.1 + 0.4 * spots, -0.2 * spots])[None]
        self.scene = Scene(depth, albedo, Pose.identity(1, depth), lighting_from_units(torch.zeros(1, 4)))

    def synthesize(self, w: Tensor) -> Tensor:
        """Latents (B, 10) to pictures (B, 3, R, R), signed; the gradient reaches the latents."""
        moved = self.scene.with_(pose=pose_from_units(w[:, :6]), lighting=lighting_from_units(w[:, 6:]))
        return render(moved, self.camera).image


def pyramid(images: Tensor) -> list[Tensor]:
    """What compares pictures where there is no discriminator: the pictures themselves, at three sizes."""
    return [images, F.avg_pool2d(images, 2), F.avg_pool2d(images, 4)]


def main(output: tyro.conf.Positional[Path], /, *, stage: Stage = Stage(60, 150, 200, batches=12, warmup=150)) -> None:
    """Write the numbers of the result to a folder; examples 03 and 04 show them. A minute or two of work."""
    dome, latent = DomePainter(), torch.zeros(1, 10)
    mask = (dome.scene.depth < 1.03).float()
    loaded = LoadedGenerator(dome, DirectOffset(10), pyramid, w_mean=latent[0], name="dome", sha256="")
    config = replace(PRESETS["ellipsoid"], stages=(stage,), geometry=Geometry(32), prior_steps=100)
    result = Reconstructor(loaded, config)(Target(dome.synthesize(latent), latent, mask))
    result.save(output)
    error = (render(result.scene, result.camera).depth - dome.scene.depth)[mask > 0].std()
    print(f"{output}: depth off by {error:.4f} scene units (standard deviation on the dome)")


if __name__ == "__main__":
    tyro.cli(main)
