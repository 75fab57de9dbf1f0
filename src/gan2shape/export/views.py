"""New views and new light: which poses and lights, and their plain renderings.

Two kinds of picture: `render_surface` (the object alone, for people) and `reproject` (the whole canonical picture, read
through the view's depth: the method's pseudo image, which a GAN turns into a photograph-like one).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gan2shape.render import Camera, DepthRange, Lighting, Pose, Scene, render, reproject

Painter = Callable[[Tensor, Pose, Lighting], Tensor]
"""Crude renderings (N, 3, S, S), signed, with the poses and the lights that they show, to the GAN's pictures of them,
(N, 3, S, S), signed.

Poses and lights are of batch N or 1, and are those of a `Scene`: the motion from the canonical object to the view, and
the light in canonical axes, which moves with the object. A painter may read the renderings, the numbers, or both; what
it is given may be on another device than its own.
"""

YAW_COUNT, PITCH_COUNT = 9, 5
YAW_LIMIT_DEG, PITCH_LIMIT_DEG = 70.0, 20.0

STRENGTHS = (0.3, 0.6)
LIGHT_Y = (0.0, 0.6)
LIGHT_X = (-1.5, -0.7, 0.0, 0.7, 1.5)
AMBIENT_SHARE = -0.6
"""A light stronger by r takes 0.6 r from the ambient term, so that pictures keep their brightness."""


@dataclass(frozen=True)
class Turn:
    """A turn of the canonical object, in degrees; yaw > 0 moves near points left, pitch > 0 moves them down."""

    yaw_deg: float
    pitch_deg: float


@dataclass(frozen=True)
class Relight:
    """A light of the relighting series: strength r, and the x and y of its direction (x, y, 1) before normalising."""

    strength: float
    x: float
    y: float


def turns(yaw_limit_deg: float = YAW_LIMIT_DEG, pitch_limit_deg: float = PITCH_LIMIT_DEG) -> tuple[Turn, ...]:
    """The 14 views of the method: 9 yaws within ±yaw_limit_deg, then 5 pitches within ±pitch_limit_deg."""
    yaws = torch.linspace(-yaw_limit_deg, yaw_limit_deg, YAW_COUNT, dtype=torch.float64).tolist()
    pitches = torch.linspace(-pitch_limit_deg, pitch_limit_deg, PITCH_COUNT, dtype=torch.float64).tolist()
    return (*(Turn(yaw, 0.0) for yaw in yaws), *(Turn(0.0, pitch) for pitch in pitches))


def turn_poses(wanted: tuple[Turn, ...], like: Tensor) -> Pose:
    """The N turns as poses (batch N) of the canonical object, with the dtype and device of ``like``."""
    angles = [[math.radians(turn.pitch_deg), math.radians(turn.yaw_deg), 0.0] for turn in wanted]
    return Pose.from_euler(like.new_tensor(angles))


def relights() -> tuple[Relight, ...]:
    """The 20 lights of the method, ordered by strength, then y, then x."""
    return tuple(Relight(strength, x, y) for strength in STRENGTHS for y in LIGHT_Y for x in LIGHT_X)


def relit(lighting: Lighting, wanted: tuple[Relight, ...]) -> Lighting:
    """The lights of the series for a scene's light (batch 1): ambient − 0.6 r, diffuse + r, direction (x, y, 1)."""
    strength = lighting.ambient.new_tensor([[light.strength] for light in wanted])  # (B, 1)
    direction = lighting.ambient.new_tensor([[light.x, light.y, 1.0] for light in wanted])  # (B, 3)
    return Lighting(
        ambient=lighting.ambient + AMBIENT_SHARE * strength,
        diffuse=lighting.diffuse + strength,
        direction=F.normalize(direction, dim=1),
    )


def rotated_pseudo_images(scene: Scene, poses: Pose, camera: Camera, depth_range: DepthRange) -> Tensor:
    """The whole canonical picture seen under B poses, (B, 3, S, S) in [-1, 1], grey where nothing was hit."""
    return reproject(scene.texture(camera), scene.depth, poses, camera, depth_range=depth_range).image.clamp(-1, 1)


def relit_images(scene: Scene, lights: Lighting, camera: Camera, depth_range: DepthRange) -> Tensor:
    """The input view under B lights, (B, 3, S, S) in [-1, 1], grey where nothing was hit."""
    return render(scene.with_(lighting=lights), camera, depth_range=depth_range).image


def describe_cameras(wanted: tuple[Turn, ...], poses: Pose, camera: Camera) -> dict[str, Any]:
    """The views in plain numbers, complete enough to render or reconstruct from them with another program."""
    frames = [
        {
            "file": f"{index:02d}.png",
            "yaw_deg": turn.yaw_deg,
            "pitch_deg": turn.pitch_deg,
            "rotation": poses.rotation[index].tolist(),
            "translation": poses.translation[index].tolist(),
        }
        for index, turn in enumerate(wanted)
    ]
    return {
        "convention": "x_view = rotation (x - pivot) + pivot + translation; x right, y down, z forward; "
        "pixel centres are integers; u = focal_px x / z + centre_px, v = focal_px y / z + centre_px",
        "image_size": camera.image_size,
        "fov_deg": camera.fov_deg,
        "focal_px": camera.focal_px,
        "centre_px": camera.centre_px,
        "pivot": [0.0, 0.0, camera.pivot_depth],
        "views": frames,
    }
