"""Find a depth map from pictures of it, by gradient descent through the renderer. Poses, light and albedo are known.

python examples/05_fit_depth.py results/05
"""

from __future__ import annotations

from pathlib import Path

import torch
import tyro

from gan2shape.io.images import write_depth16, write_image
from gan2shape.losses.photometric import photometric
from gan2shape.losses.smoothness import smoothness
from gan2shape.render import Camera, DepthRange, Lighting, Pose, Scene, render

CAMERA, RANGE = Camera(32), DepthRange()


def true_scene() -> Scene:
    """A hill with a patterned albedo, seen from three sides, lit from the upper left."""
    u, v = (CAMERA.pixel_grid(torch.zeros(())) / CAMERA.centre_px - 1).unbind(-1)
    depth = 1.04 - 0.08 * torch.exp(-2.5 * (u.square() + 1.6 * v.square()))
    albedo = torch.stack([0.4 * torch.sin(9 * u), 0.4 * torch.cos(8 * v), 0.4 * torch.sin(6 * (u + v))])
    turns = torch.deg2rad(torch.tensor([[0.0, 0.0, 0.0], [0.0, -25.0, 0.0], [0.0, 25.0, 0.0]]))
    light = Lighting(torch.tensor([[0.4]]), torch.tensor([[0.6]]), torch.tensor([[0.48, 0.36, 0.8]]))
    return Scene(depth[None, None], albedo[None], Pose.from_euler(turns), light)


def main(output: tyro.conf.Positional[Path], /, *, steps: int = 300) -> None:
    """Write the pictures and the depth, true and fitted.

    Args:
        output: folder for the pictures.
        steps: iterations of Adam.
    """
    true = true_scene()
    pictures = render(true, CAMERA).image
    raw = torch.zeros(1, 1, 32, 32, requires_grad=True)  # the range's middle: a plane
    optimizer = torch.optim.Adam([raw], lr=0.03)
    errors = []
    for _ in range(steps):
        guess = Scene(RANGE.from_raw(raw), true.albedo, true.pose, true.lighting)
        errors.append((guess.depth - true.depth).abs().mean().item())
        seen = render(guess, CAMERA)
        loss = photometric(seen.image, pictures, seen.mask) + 0.5 * smoothness(guess.depth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, scene in {"true": true, "fitted": guess.detach()}.items():
        write_image(output / f"{name}.png", torch.cat(list(render(scene, CAMERA).image), dim=2))
        write_depth16(output / f"{name}_depth.png", scene.depth, near=RANGE.near, far=RANGE.far)
    print(f"{output}: mean depth error {errors[0]:.4f} at first, {errors[-1]:.4f} at last")


if __name__ == "__main__":
    tyro.cli(main)
