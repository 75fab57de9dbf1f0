"""Render a depth map under several poses (columns) and lights (rows), with the renderer alone: no GAN, no networks.

python examples/01_render.py results/01
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

from gan2shape.io.images import write_image, write_normals
from gan2shape.render import Camera, Lighting, Pose, Scene, render


def bumpy_ball(camera: Camera) -> Tensor:
    """Depth (1, 1, S, S) in scene units: the near half of a ball with bumps, before a flat background."""
    u, v = (camera.pixel_grid(torch.zeros(())) / camera.centre_px - 1).unbind(-1)  # -1 to 1 across the picture
    ball = (1 - (u.square() + v.square()) / 0.7**2).clamp(min=0).sqrt()
    bumps = torch.sin(14 * u) * torch.sin(14 * v)
    return (1.04 - 0.06 * ball - 0.004 * bumps * ball)[None, None]


def lamps(directions: list[list[float]]) -> Lighting:
    """One lamp for each direction (x, y, z) that its light travels along; x > 0 lights what faces image-left."""
    travels = F.normalize(torch.tensor(directions), dim=1)
    strength = torch.ones(len(directions), 1)
    return Lighting(ambient=0.2 * strength, diffuse=0.75 * strength, direction=travels)


def main(output: tyro.conf.Positional[Path], /, *, size: int = 192) -> None:
    """Write views.png and normals.png.

    Args:
        output: folder for the pictures.
        size: side of one picture, in pixels.
    """
    camera = Camera(size, pivot_depth=1.02)
    depth = bumpy_ball(camera)
    albedo = torch.tensor([0.9, 0.5, 0.1]).view(1, 3, 1, 1).expand(1, 3, size, size)  # signed: -1 black, 1 white
    turns = torch.deg2rad(torch.tensor([[0.0, yaw, 0.0] for yaw in (-50.0, -25.0, 0.0, 25.0, 50.0)]))
    lights = lamps([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    scene = Scene(depth, albedo, Pose.from_euler(turns), lights[0])

    rows = []
    for index in range(len(lights)):
        seen = render(scene.with_(lighting=lights[index]), camera, supersample=2)  # one light, five poses
        views = torch.where(seen.mask > 0, seen.image, 1.0)  # white where nothing was hit
        rows.append(torch.cat(list(views), dim=2))
    write_image(output / "views.png", torch.cat(rows, dim=1))
    write_normals(output / "normals.png", scene.normals(camera))
    print(output / "views.png")


if __name__ == "__main__":
    tyro.cli(main)
