"""Pictures and exact latents of which everything is planted: turn, light and looks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan2shape.networks.turned import camera_of

SIZE, WIDTH = 16, 6
CAMERA = camera_of(SIZE)


class Planted(nn.Module):
    """Pictures and their exact latents, where turn, light and looks are known mixtures of the latents.

    Red is the light, a slope. Green by red is the turn: a pattern that moves to the left (as what is near does under a
    positive yaw) or to the right. Blue by red are the looks, patterns that are alike on both sides.
    """

    image_size = SIZE

    def __init__(self, seed: int) -> None:
        super().__init__()
        mixture = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(seed))
        self.mixture = mixture + 2 * torch.eye(WIDTH)  # Rows: turn, light, looks; neither is at right angles.
        x = torch.linspace(-1, 1, SIZE)
        y = x[:, None]
        self.slope, self.still, self.moving = x + 0 * y, torch.cos(2 * x) + 0 * y, -torch.sin(2 * x) + 0 * y
        self.looks = torch.stack([torch.cos((k + 1) * x) * torch.cos(k * y) for k in range(WIDTH - 2)])

    def pictures(self, parts: Tensor) -> Tensor:
        """Pictures (N, 3, S, S) of turn, light and looks (N, 6)."""
        red = 0.4 * (1 + 0.05 * parts[:, 1, None, None] * self.slope)
        green = 0.5 + 0.1 * self.still + 0.05 * parts[:, 0, None, None] * self.moving
        blue = 0.5 + 0.02 * torch.einsum("nk,kyx->nyx", parts[:, 2:], self.looks)
        return torch.stack([red, red * green, red * blue], 1) * 2 - 1

    def shrunk(self, image: Tensor) -> Tensor:
        """As they are."""
        return image

    def forward(self, image: Tensor) -> Tensor:
        """Latents (N, 6): of pictures that `pictures` made, exactly parts times mixture."""
        red, green, blue = (image / 2 + 0.5).unbind(1)
        turn = (green / red * self.moving).mean((1, 2)) / (0.05 * self.moving.square().mean())
        light = (red / 0.4 * self.slope).mean((1, 2)) / (0.05 * self.slope.square().mean())
        looks = torch.linalg.lstsq(self.looks.flatten(1).T, (blue / red - 0.5).flatten(1).T / 0.02).solution.T
        return torch.cat([turn[:, None], light[:, None], looks], 1) @ self.mixture
