"""The sheet of pictures that a training writes to be looked at: a row for each picture, a column for each kind."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.io.images import write_image
from gan2shape.render import Camera, DepthRange, Pose, Scene, normals_from_depth, render, reproject

TURN_DEG = 35.0
_ENLARGE = 2


def write_gallery(file: Path, columns: list[Tensor]) -> None:
    """Write columns of signed pictures (B, 3, S, S) side by side, enlarged."""
    rows = torch.cat([column.float().cpu().clamp(-1, 1) for column in columns], dim=3)
    sheet = rows.permute(1, 0, 2, 3).flatten(1, 2)  # (3, B·S, columns·S)
    write_image(file, F.interpolate(sheet[None], scale_factor=_ENLARGE, mode="nearest"))


def depth_picture(depth: Tensor, limits: DepthRange) -> Tensor:
    """Depth (B, 1, S, S) as signed grey (B, 3, S, S): near is white."""
    return (-limits.to_signed(depth)).clamp(-1, 1).expand(-1, 3, -1, -1)


def normal_picture(depth: Tensor, camera: Camera) -> Tensor:
    """The normals (B, 3, S, S) of a depth (B, 1, S, S), as colours."""
    return normals_from_depth(depth, camera)


def turned_picture(image: Tensor, depth: Tensor, camera: Camera, yaw_deg: float = TURN_DEG) -> Tensor:
    """A view's own picture on its depth, seen from the side; grey where nothing is."""
    turn = _turn(image, yaw_deg)
    seen = reproject(image, depth, turn, camera)
    return seen.image * seen.mask


def turned_scene(scene: Scene, camera: Camera, yaw_deg: float = TURN_DEG) -> Tensor:
    """The canonical object, lit and seen from the side; grey where nothing is."""
    seen = render(scene.with_(pose=_turn(scene.depth, yaw_deg)), camera)
    return seen.image * seen.mask


def _turn(like: Tensor, yaw_deg: float) -> Pose:
    angles = like.new_tensor([[0.0, math.radians(yaw_deg), 0.0]])
    return Pose.from_euler(angles, like.new_zeros(1, 3)).expand(like.shape[0])
