"""The rendered heads of tests/train/turnable.py as a generator whose turns, nods and lights are known exactly."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.generators import LoadedGenerator
from gan2shape.networks.one_pass import TurnedStart
from gan2shape.networks.trained import NetworkSizes
from gan2shape.networks.turned import TurnedNetworks
from gan2shape.networks.turning import TURN_DEG, Turning
from gan2shape.render import Lighting, Pose
from tests.train.turnable import (
    DOWN,
    HEIGHT,
    LATENTS,
    LIGHT,
    NOD,
    PITCH_DEG,
    SIDE,
    TURN,
    YAW_DEG,
    FittedEncoder,
    Heads,
    heads_gan,
)

__all__ = ["HEIGHT", "LIGHT", "NOD", "SIDE", "TURN"]

SIZE = 16
SIZES = NetworkSizes(SIZE, 8, 8, 16)


class Remembered(Heads):
    """Heads that keep the latents of the pictures that they made last, which say everything about them."""

    def __init__(self, size: int = SIZE) -> None:
        super().__init__(size)
        self.made = torch.zeros(0, LATENTS)

    def synthesize(self, w: Tensor) -> Tensor:
        """Pictures (B, 3, S, S)."""
        self.made = w.detach().clone()
        return super().synthesize(w)


class SeeingLight(TurnedNetworks):
    """Networks of random weights that see lights as an encoder of the heads does."""

    def __init__(self, encoder: FittedEncoder) -> None:
        torch.manual_seed(0)
        super().__init__(SIZES)
        self.encoder = encoder

    def lighting(self, image: Tensor) -> Lighting:
        """Lights in the camera's axes."""
        return camera_light(self.encoder(image))


def camera_light(latents: Tensor) -> Lighting:
    """The lights of the heads of these latents (N, 7), in the camera's axes."""
    side, down = SIDE * latents[:, LIGHT], DOWN * latents[:, HEIGHT]
    attached = F.normalize(torch.stack([side, down, torch.ones_like(side)], dim=1), dim=1)
    half = torch.full((len(side), 1), 0.5)
    pose = yawed(YAW_DEG * latents[:, TURN], PITCH_DEG * latents[:, NOD])
    return Lighting(half, half, (pose.rotation @ attached[:, :, None])[:, :, 0])


def yawed(yaw_deg: Tensor, pitch_deg: Tensor | float = 0.0) -> Pose:
    """Poses of these yaws (N,) and pitches."""
    none = torch.zeros_like(yaw_deg)
    return Pose.from_euler(torch.deg2rad(torch.stack([none + pitch_deg, yaw_deg, none], dim=1)))


def known_gan() -> LoadedGenerator:
    """`Remembered` heads with everything that a reconstruction asks of a GAN."""
    return replace(heads_gan(SIZE), generator=Remembered())


def known_start() -> TurnedStart:
    """The heads' own directions, and networks that see their lights."""
    encoder = FittedEncoder(Heads(SIZE))
    assert YAW_DEG == TURN_DEG, "one unit of the first latent is a unit of turns"
    axes = torch.eye(LATENTS)
    directions = (axes[TURN], axes[LIGHT], axes[HEIGHT], axes[NOD] / PITCH_DEG)
    turning = Turning(*directions, 1.0, 1.0, 1.0, encoder)  # type: ignore[arg-type]
    return TurnedStart(SeeingLight(encoder), turning)
