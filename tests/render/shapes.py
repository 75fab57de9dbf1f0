"""Shapes and lights that several renderer tests use."""

from __future__ import annotations

import torch
from torch import Tensor

from gan2shape.render import Camera, Lighting, Pose


def bumpy_depth(camera: Camera, dtype: torch.dtype = torch.float64) -> Tensor:
    """A smooth depth map (1, 1, S, S) without symmetry, between 0.93 and 1.05."""
    u, v = (camera.pixel_grid(torch.zeros((), dtype=dtype)) / (camera.image_size - 1) * 2 - 1).unbind(-1)
    depth = 1.03 - 0.09 * torch.exp(-3 * ((u - 0.1) ** 2 + v**2)) + 0.01 * torch.sin(3 * u + 1) * torch.cos(2 * v)
    return depth[None, None]


def pose_deg(pitch: float, yaw: float, roll: float, shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Pose:
    """A float64 pose of batch one from degrees."""
    angles = torch.deg2rad(torch.tensor([[pitch, yaw, roll]], dtype=torch.float64))
    return Pose.from_euler(angles, torch.tensor([shift], dtype=torch.float64))


def light(ambient: float, diffuse: float, direction: tuple[float, float, float]) -> Lighting:
    """A float64 light of batch one; the direction is normalised here."""
    towards = torch.tensor([direction], dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    return Lighting(ambient * one, diffuse * one, towards / towards.norm())
