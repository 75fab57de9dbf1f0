"""A generator of heads that turn, nod and are lit by some of its latents, rendered, so that everything about its
pictures is known; and trainings on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan2shape.errors import InputError
from gan2shape.generators import LoadedGenerator
from gan2shape.generators.offsets import DirectOffset
from gan2shape.networks.turned import PIVOT_DEPTH
from gan2shape.priors.ellipsoid import EllipsoidPrior
from gan2shape.render import Camera, Lighting, Pose, normals_from_depth, reproject, shade
from gan2shape.train.settings import TrainSettings
from gan2shape.train.turned import TurnedTask
from gan2shape.train.turned_views import TurnedViews

YAW_DEG = 25.0
"""Yaw for one unit of its latent: the unit of turns (`TURN_DEG`)."""
SIDE, DOWN = 0.3, 0.3
"""Slopes of the light, in the object's frame, to image-right and down for one unit of their latents."""
PITCH_DEG = 5.0
"""Pitch for one unit of its latent."""
LATENTS = 7
TURN, LIGHT, NOD, HEIGHT = 0, 1, 5, 6
"""Places of yaw, sideways light, pitch and the light's height among the latents; the rest are looks."""
_NEAR, _FAR = 0.92, 1.02
_CELLS, _WAVELENGTH = 8, 8.0
SMALL = TrainSettings(width_multiplier=1 / 32, batch_size=4, learning_rate=2e-3, weight_decay=0.0)


def head(camera: Camera) -> tuple[Tensor, Tensor]:
    """Depth and mask (1, 1, S, S) of half an ellipsoid before a plane."""
    y, x = places(camera.image_size)
    height = (1 - (x / 0.62).square() - (y / 0.75).square()).clamp(min=0)
    return (_FAR - (_FAR - _NEAR) * height.sqrt())[None, None], (height > 0).float()[None, None]


def places(size: int) -> tuple[Tensor, Tensor]:
    """Rows and columns (S, S) from -1 to 1."""
    line = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return y, x


def texture(looks: Tensor, size: int) -> Tensor:
    """Signed albedo (B, 3, S, S) with a nose and two eyes, alike on both sides, of numbers (B, 3) near 0."""
    y, x = places(size)

    def spot(column: float, row: float, width: float) -> Tensor:
        return torch.exp(-((x - column).square() + (y - row).square()) / (2 * width**2))

    plain = 0.1 - 0.5 * (spot(-0.25, -0.25, 0.1) + spot(0.25, -0.25, 0.1)) + 0.6 * spot(0, 0.15, 0.12)
    patterns = torch.stack([0.1 * torch.ones_like(x), 0.15 * torch.cos(6 * x), 0.15 * torch.sin(4 * y)])
    channels = torch.stack([looks, looks.roll(1, 1), looks.roll(2, 1)], 1)  # (B, 3 channels, 3 patterns)
    return plain + torch.einsum("bcp,pyx->bcyx", channels, patterns)


def picture(
    albedo: Tensor,
    yaw_deg: Tensor,
    side: Tensor,
    camera: Camera,
    pitch_deg: Tensor | None = None,
    down: Tensor | None = None,
) -> Tensor:
    """Heads (B, 3, S, S) under these yaws, light slopes and pitches (B,), lit in the object's frame, before black."""
    depth, mask = (values.expand(len(albedo), -1, -1, -1) for values in head(camera))
    slopes = [side, torch.zeros_like(side) if down is None else down, torch.ones_like(side)]
    direction = F.normalize(torch.stack(slopes, 1), dim=1)
    half = torch.full((len(albedo), 1), 0.5)
    lit = shade(albedo, normals_from_depth(depth, camera), Lighting(half, half, direction)).clamp(-1, 1)
    none = torch.zeros_like(yaw_deg)
    angles = torch.deg2rad(torch.stack([none if pitch_deg is None else pitch_deg, yaw_deg, none], 1))
    seen = reproject(torch.cat([lit, mask], 1), depth, Pose.from_euler(angles), camera)
    return torch.where(seen.image[:, 3:] * seen.mask > 0.5, seen.image[:, :3], -1.0)


class Heads:
    """Latents (B, 7): yaw, light, three of the texture, pitch, height of the light."""

    latent_dim = LATENTS

    def __init__(self, size: int = 16, pivot_depth: float = PIVOT_DEPTH) -> None:
        self.resolution, self.camera = size, Camera(size, pivot_depth=pivot_depth)

    def synthesize(self, w: Tensor) -> Tensor:
        """Pictures (B, 3, S, S)."""
        albedo = texture(w[:, 2:5], self.resolution)
        yaw, pitch = YAW_DEG * w[:, TURN], PITCH_DEG * w[:, NOD]
        return picture(albedo, yaw, SIDE * w[:, LIGHT], self.camera, pitch, DOWN * w[:, HEIGHT])


class FittedEncoder(nn.Module):
    """The least-squares inverse of `Heads` in waves of their pixels; has what a `LatentEncoder` has."""

    def __init__(self, heads: Heads, samples: int = 2000, waves: int = 600) -> None:
        super().__init__()
        self.image_size, self.mean = heads.resolution, torch.zeros(LATENTS)
        rng = torch.Generator().manual_seed(1)
        latents = torch.randn(samples, LATENTS, generator=rng)
        self.waves = torch.randn(3 * _CELLS**2, waves, generator=rng) / _WAVELENGTH
        self.phases = 2 * math.pi * torch.rand(waves, generator=rng)
        features = self._features(heads.synthesize(latents))
        ridge = 0.1 * torch.eye(features.shape[1])
        self.weight = torch.linalg.solve(features.T @ features + ridge, features.T @ latents)

    def _features(self, image: Tensor) -> Tensor:
        cells = F.avg_pool2d(image, self.image_size // _CELLS).flatten(1)
        return torch.cat([F.pad(cells, (0, 1), value=1.0), torch.cos(cells @ self.waves + self.phases)], dim=1)

    def forward(self, image: Tensor) -> Tensor:
        """Signed pictures (B, 3, S, S) → latents (B, 7)."""
        return self._features(self.shrunk(image)) @ self.weight

    def shrunk(self, image: Tensor) -> Tensor:
        """Pictures at the encoder's size."""
        return image


def heads_gan(size: int = 16) -> LoadedGenerator:
    """`Heads` with everything that a training asks of a GAN."""
    return LoadedGenerator(
        generator=Heads(size),
        offset=DirectOffset(LATENTS),
        features=None,
        w_mean=torch.zeros(LATENTS),
        name="heads",
        sha256="0" * 64,
        draw_latents=lambda count, rng: torch.randn(count, LATENTS, generator=rng),
    )


def masker(image: Tensor) -> Tensor:
    """What is not black."""
    mask = (image.mean(1, keepdim=True) > -0.95).float()
    if not bool(mask.any()):
        raise InputError("nothing there")
    return mask


def views_of(encoder: FittedEncoder, loaded: LoadedGenerator | None = None, **changed: object) -> TurnedViews:
    """Heads with their fronts and views; names are those of `TurnedViews`."""
    flags = {"masker": masker, "prior": EllipsoidPrior(), "camera": Heads().camera, "count": 12, "views": 3, "seed": 5}
    return TurnedViews(loaded or heads_gan(), encoder, **{**flags, **changed})


def task(pictures: TurnedViews, settings: TrainSettings = SMALL, **changed: object) -> TurnedTask:
    """A training of small networks on the CPU; names are those of `TurnedTask`."""
    return TurnedTask(pictures, settings, device=torch.device("cpu"), **{"settle": 2, **changed})


class Says(nn.Module):
    """A network that says the planted numbers, one row for all pictures or one for each."""

    def __init__(self, *rows: tuple[float, ...]) -> None:
        super().__init__()
        self.rows = torch.tensor(rows)

    def forward(self, image: Tensor) -> Tensor:
        """Rows (B, N)."""
        return self.rows.expand(len(image), -1)


EVEN = (0.0, 0.0, 0.0, 0.0)
"""Network numbers of a light from the camera, half of it from everywhere."""


def rendered(
    poses_deg: Sequence[tuple[float, float]],
    lights: Sequence[tuple[float, ...]],
    depth: Tensor,
    mask: Tensor,
    *,
    lopsided: float = 0.3,
) -> tuple[Tensor, Tensor]:
    """A head of this depth and mask (1, 1, S, S) under these pitches and yaws and lights (as network numbers, in the
    camera's axes), brighter to one side by ``lopsided``: pictures (N, 3, S, S) and where they show it."""
    size = depth.shape[-1]
    albedo = texture(torch.tensor([[0.5, -0.5, 0.2]]), size) - 0.2 + lopsided * torch.linspace(-1, 1, size)
    camera = Heads(size).camera
    seen = []
    for (pitch, yaw), units in zip(poses_deg, lights, strict=True):
        pose = Pose.from_euler(torch.deg2rad(torch.tensor([[pitch, yaw, 0.0]])))
        ambient, diffuse, x, y = units
        way = F.normalize(torch.tensor([[x, y, 1.0]]), dim=1)
        # A normal n of the object is R n in the camera's axes, and there (R n)·l = n·(Rᵀ l).
        light = Lighting(
            torch.tensor([[(ambient + 1) / 2]]), torch.tensor([[(diffuse + 1) / 2]]), way @ pose.rotation[0]
        )
        lit = shade(albedo, normals_from_depth(depth, camera), light).clamp(-1, 1)
        seen.append(reproject(torch.cat([lit, mask], 1), depth, pose, camera))
    pictures = torch.cat([one.image[:, :3] for one in seen])
    return pictures, torch.cat([(one.image[:, 3:] * one.mask > 0.5).float() for one in seen])
