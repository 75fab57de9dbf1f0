"""Rigid motion about the camera's pivot: x → R (x − pivot) + pivot + t.

Angles are pitch, yaw, roll = (rx, ry, rz), applied in this order: R = Rz Ry Rx on column vectors, in radians.
Seen in the picture (x right, y down): yaw > 0 moves near points left, pitch > 0 moves near points down,
roll > 0 turns the picture clockwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gan2shape.render.camera import Camera


@dataclass(frozen=True, eq=False)
class Pose:
    """A batch of rigid motions about the camera's pivot. Poses compose with `@`; angles are never added."""

    rotation: Tensor
    """(B, 3, 3) rotation matrices on column vectors."""
    translation: Tensor
    """(B, 3) in scene units, applied after the rotation."""

    def __post_init__(self) -> None:
        rotation, translation = tuple(self.rotation.shape), tuple(self.translation.shape)
        if len(rotation) != 3 or rotation[1:] != (3, 3) or translation != (rotation[0], 3):
            raise ValueError(f"a pose needs rotation (B, 3, 3) and translation (B, 3); got {rotation}, {translation}")

    @property
    def batch(self) -> int:
        """How many motions this is."""
        return self.rotation.shape[0]

    @staticmethod
    def from_euler(angles: Tensor, translation: Tensor | None = None) -> Pose:
        """Pose from angles (B, 3) = pitch, yaw, roll in radians and a translation (B, 3), zero if left out.

        Raises ValueError for other shapes.
        """
        if angles.dim() != 2 or angles.shape[1] != 3:
            raise ValueError(f"angles must be (B, 3): pitch, yaw, roll in radians; got {tuple(angles.shape)}")
        cx, cy, cz = angles.cos().unbind(1)
        sx, sy, sz = angles.sin().unbind(1)
        rows = (
            (cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
            (sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
            (-sy, cy * sx, cy * cx),
        )
        rotation = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
        return Pose(rotation, torch.zeros_like(angles) if translation is None else translation)

    @staticmethod
    def identity(batch: int, like: Tensor) -> Pose:
        """The motion that leaves everything in place, with the dtype and device of `like`."""
        eye = torch.eye(3, dtype=like.dtype, device=like.device)
        return Pose(eye.expand(batch, 3, 3), like.new_zeros(batch, 3))

    def euler(self) -> Tensor:
        """Angles (B, 3) = pitch, yaw, roll in radians with |yaw| ≤ π/2. Where the yaw is ±π/2, the roll is set to 0."""
        r = self.rotation
        flat = torch.hypot(r[:, 0, 0], r[:, 1, 0])
        locked = flat < 16 * torch.finfo(r.dtype).eps
        one = torch.ones_like(flat)
        # The guards keep the gradient of the unused branch finite.
        yaw = torch.atan2(-r[:, 2, 0], torch.where(locked, flat.detach(), flat))
        pitch = torch.atan2(
            torch.where(locked, -r[:, 1, 2], r[:, 2, 1]),
            torch.where(locked, r[:, 1, 1], r[:, 2, 2]),
        )
        roll = torch.atan2(
            torch.where(locked, torch.zeros_like(flat), r[:, 1, 0]),
            torch.where(locked, one, r[:, 0, 0]),
        )
        return torch.stack((pitch, yaw, roll), dim=1)

    def inverse(self) -> Pose:
        """The motion that undoes this one."""
        back = self.rotation.transpose(1, 2)
        return Pose(back, -_rotate(back, self.translation))

    def __matmul__(self, first: Pose) -> Pose:
        """`a @ b` applies b first. A batch of one goes with any batch."""
        rotation = self.rotation @ first.rotation
        translation = _rotate(self.rotation, first.translation) + self.translation
        return Pose(rotation, translation)

    def apply(self, points: Tensor, camera: Camera) -> Tensor:
        """Move points (B, ..., 3) in scene units about the camera's pivot. A batch of one goes with any batch.

        Raises ValueError for points of another shape.
        """
        if points.dim() < 2 or points.shape[-1] != 3:
            raise ValueError(f"points must be (B, ..., 3); got {tuple(points.shape)}")
        pivot = camera.pivot(points)
        planar = (points - pivot).reshape(points.shape[0], -1, 3).transpose(1, 2)  # (B, 3, N)
        moved = self.rotation @ planar + (self.translation + pivot).unsqueeze(-1)
        return moved.transpose(1, 2).reshape(moved.shape[0], *points.shape[1:])

    def expand(self, batch: int) -> Pose:
        """A pose of batch one repeated `batch` times (without copying)."""
        return Pose(self.rotation.expand(batch, 3, 3), self.translation.expand(batch, 3))

    def detach(self) -> Pose:
        """The same motion without gradient history."""
        return Pose(self.rotation.detach(), self.translation.detach())

    def to(self, target: torch.device | torch.dtype | str) -> Pose:
        """The same motion on another device or in another dtype."""
        return Pose(self.rotation.to(target), self.translation.to(target))

    @staticmethod
    def cat(poses: Sequence[Pose]) -> Pose:
        """Motions one after the other, as one batch."""
        return Pose(torch.cat([pose.rotation for pose in poses]), torch.cat([pose.translation for pose in poses]))

    def __len__(self) -> int:
        return self.batch

    def __getitem__(self, index: int | slice | Tensor) -> Pose:
        """Some of the motions; an integer gives a batch of one."""
        if isinstance(index, int):
            index = one_of(index, self.batch)
        return Pose(self.rotation[index], self.translation[index])


def _rotate(rotation: Tensor, vector: Tensor) -> Tensor:
    return (rotation @ vector.unsqueeze(-1)).squeeze(-1)


def one_of(index: int, batch: int) -> slice:
    """The slice that selects element `index` and keeps the batch dimension. Raises IndexError outside the batch."""
    if not -batch <= index < batch:
        raise IndexError(f"index {index} is outside a batch of {batch}")
    start = index % batch
    return slice(start, start + 1)
