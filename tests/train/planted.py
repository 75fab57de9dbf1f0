"""Pictures and exact latents of which everything is planted: turn, side and height of the light, looks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan2shape.networks.turned import camera_of

SIZE, WIDTH, LOOKS = 16, 6, 3
TURN, LIGHT, HEIGHT = range(3)
"""Places among the parts; the rest are looks."""
CAMERA = camera_of(SIZE)


class Planted(nn.Module):
    """Pictures and their exact latents, where turn, light and looks are known mixtures of the latents.

    Red is the light: brighter on the left where it travels to image-right, and at the top where it travels down. Green
    by red is the turn: a pattern that moves to the left (as what is near does under a positive yaw) or to the right.
    Blue by red are the looks, patterns that are alike on both sides.
    """

    image_size = SIZE

    def __init__(self, seed: int) -> None:
        super().__init__()
        mixture = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(seed))
        self.mixture = mixture + 2 * torch.eye(WIDTH)  # Rows: the parts; none is at right angles to others.
        x = torch.linspace(-1, 1, SIZE)
        y = x[:, None]
        self.left, self.top = -x + 0 * y, -y + 0 * x
        self.still, self.moving = torch.cos(2 * x) + 0 * y, -torch.sin(2 * x) + 0 * y
        self.looks = torch.stack([torch.cos((k + 1) * x) * torch.cos(k * y) for k in range(LOOKS)])

    def pictures(self, parts: Tensor) -> Tensor:
        """Pictures (N, 3, S, S) of turn, side and height of the light, and looks (N, 6)."""
        turn, side, height = parts[:, :-LOOKS, None, None].unbind(1)
        red = 0.4 * (1 + 0.05 * side * self.left + 0.05 * height * self.top)
        green = 0.5 + 0.1 * self.still + 0.05 * turn * self.moving
        blue = 0.5 + 0.02 * torch.einsum("nk,kyx->nyx", parts[:, -LOOKS:], self.looks)
        return torch.stack([red, red * green, red * blue], 1) * 2 - 1

    def shrunk(self, image: Tensor) -> Tensor:
        """As they are."""
        return image

    def forward(self, image: Tensor) -> Tensor:
        """Latents (N, 6): of pictures that `pictures` made, exactly parts times mixture."""
        red, green, blue = (image / 2 + 0.5).unbind(1)
        turn = (green / red * self.moving).mean((1, 2)) / (0.05 * self.moving.square().mean())
        lights = [(red / 0.4 * way).mean((1, 2)) / (0.05 * way.square().mean()) for way in (self.left, self.top)]
        looks = torch.linalg.lstsq(self.looks.flatten(1).T, (blue / red - 0.5).flatten(1).T / 0.02).solution.T
        return torch.cat([torch.stack([turn, *lights], 1), looks], 1) @ self.mixture
