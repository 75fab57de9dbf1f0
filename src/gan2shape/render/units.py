"""Between the numbers networks speak and physical poses and lights: the one place of this conversion.

A pose is six numbers (pitch, yaw, roll, x, y, z), each in units of its range; a light is four numbers (ambient,
diffuse, direction x, direction y). Networks with a tanh output speak them in [-1, 1]; priors draw them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gan2shape.render.pose import Pose
from gan2shape.render.shading import Lighting


@dataclass(frozen=True)
class PoseRange:
    """What one network unit of each pose number means."""

    rotation_deg: float = 60.0
    """Rotation about each axis for one unit, in degrees."""
    xy_translation: float = 0.1
    """Shift along x and y for one unit, in scene units."""
    z_translation: float = 0.0
    """Shift along z for one unit, in scene units; 0 keeps the object at its distance."""

    def scale(self, like: Tensor) -> Tensor:
        """(6,) factors from network units to radians and scene units, on the device and in the dtype of `like`."""
        turn = math.radians(self.rotation_deg)
        return like.new_tensor([turn, turn, turn, self.xy_translation, self.xy_translation, self.z_translation])


def pose_from_units(units: Tensor, ranges: PoseRange | None = None) -> Pose:
    """Pose of six network numbers.

    Args:
        units: (B, 6): pitch, yaw, roll, x, y, z, each in units of its range (not clamped).
        ranges: what one unit means; the method's 60°, 0.1 and 0 by default.

    Raises:
        ValueError: if `units` is not (B, 6).
    """
    if units.ndim != 2 or units.shape[1] != 6:
        raise ValueError(f"pose units must be (B, 6); got {tuple(units.shape)}")
    scaled = units * (ranges or PoseRange()).scale(units)
    return Pose.from_euler(scaled[:, :3], scaled[:, 3:])


def pose_to_units(pose: Pose, ranges: PoseRange | None = None) -> Tensor:
    """The inverse of `pose_from_units`: (B, 6), 0 where a range is 0 and so nothing else can be said.

    The rotation is read as Euler angles, hence unique for yaws within ±90°.
    """
    moves = torch.cat([pose.euler(), pose.translation], dim=1)  # (B, 6) radians and scene units
    scale = (ranges or PoseRange()).scale(moves)
    return torch.where(scale == 0, torch.zeros_like(moves), moves / torch.where(scale == 0, 1.0, scale))


def lighting_from_units(units: Tensor) -> Lighting:
    """Lighting of four network numbers: ambient l0/2+½, diffuse l1/2+½, direction (l2, l3, 1) normalised.

    Args:
        units: (B, 4).

    Raises:
        ValueError: if `units` is not (B, 4).
    """
    if units.ndim != 2 or units.shape[1] != 4:
        raise ValueError(f"lighting units must be (B, 4); got {tuple(units.shape)}")
    strength = units[:, :2] / 2 + 0.5
    direction = torch.cat([units[:, 2:], torch.ones_like(units[:, :1])], dim=1)  # (B, 3)
    return Lighting(
        ambient=strength[:, :1],
        diffuse=strength[:, 1:],
        direction=direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True),
    )


def lighting_to_units(lighting: Lighting) -> Tensor:
    """The inverse of `lighting_from_units`: (B, 4).

    Raises:
        ValueError: if a light does not travel forwards (z ≤ 0), which four numbers cannot say.
    """
    forward = lighting.direction[:, 2:]
    if bool((forward <= 0).any()):
        raise ValueError(f"a light direction must have z > 0; the smallest is {float(forward.min()):.3g}")
    slopes = lighting.direction[:, :2] / forward
    return torch.cat([2 * lighting.ambient - 1, 2 * lighting.diffuse - 1, slopes], dim=1)
