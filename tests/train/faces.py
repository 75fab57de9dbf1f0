"""A stream of small pictures with truth: spheres of random place, colour and light."""

from __future__ import annotations

import torch
from torch import Tensor

from gan2shape.render import Camera, Lighting, normals_from_depth, shade


class Spheres:
    """Pictures by number, each drawn from its own number; keys as asked for."""

    description = "spheres"

    def __init__(self, size: int = 16, keys: tuple[str, ...] = ("image", "depth", "mask")) -> None:
        self.size, self.keys = size, keys

    def __call__(self, start: int, count: int) -> dict[str, Tensor]:
        pictures = [self._one(number) for number in range(start, start + count)]
        return {key: torch.cat([picture[key] for picture in pictures]) for key in self.keys}

    def _one(self, number: int) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(number)
        camera, middle = Camera(self.size), (self.size - 1) / 2
        x, y, colour, light = torch.rand(4, generator=rng).tolist()
        steps = torch.arange(self.size, dtype=torch.float32)
        across = (steps[None] - middle * (0.8 + 0.4 * x)) / (0.35 * self.size)
        down = (steps[:, None] - middle * (0.8 + 0.4 * y)) / (0.35 * self.size)
        height = (1 - across.square() - down.square()).clamp(min=0).sqrt()[None, None]
        mask = (height > 0).float()
        depth = 1.05 - 0.1 * height
        direction = torch.tensor([[light - 0.5, 0.3, 1.0]])
        lighting = Lighting(
            torch.tensor([[0.4]]), torch.tensor([[0.6]]), direction / torch.linalg.vector_norm(direction)
        )
        albedo = torch.tensor([colour, 0.5, 1 - colour]).view(1, 3, 1, 1).expand(1, 3, self.size, self.size)
        image = shade(albedo, normals_from_depth(depth, camera), lighting).clamp(-1, 1) * mask
        return {"image": image, "depth": depth * mask, "mask": mask}
