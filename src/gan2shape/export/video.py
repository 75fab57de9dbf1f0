"""The object turning, as an animated WebP."""

from __future__ import annotations

import io
import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from gan2shape.export.surface import Surface, render_surface
from gan2shape.io.files import write_bytes
from gan2shape.io.images import to_uint8
from gan2shape.render import Camera, Pose

FRAME_COUNT = 48
FRAME_MS = 50
SIZE_PX = 256
PITCH_DEG = 8.0


def turntable_poses(count: int, yaw_limit_deg: float, like: Tensor) -> Pose:
    """A closed loop of ``count`` poses: the yaw swings once to both sides, the pitch twice; the object draws an eight.

    With the dtype and device of ``like``.
    """
    phase = torch.arange(count, dtype=torch.float64) / count * 2 * math.pi
    yaw = math.radians(yaw_limit_deg) * phase.sin()
    pitch = math.radians(PITCH_DEG) * (2 * phase).sin()
    return Pose.from_euler(torch.stack((pitch, yaw, torch.zeros_like(yaw)), dim=1).to(like))


def turntable_frames(
    surface: Surface, colours: Tensor, camera: Camera, *, yaw_limit_deg: float, count: int = FRAME_COUNT
) -> Tensor:
    """Pictures (count, 3, P, P), signed, of the turning surface before white, P = `SIZE_PX`.

    Args:
        surface: the object.
        colours: (N, 3) signed, one for each vertex.
        camera: of the maps; the film's has the same field of view.
        yaw_limit_deg: how far the object turns to each side, in degrees.
        count: frames.
    """
    poses = turntable_poses(count, yaw_limit_deg, surface.vertices)
    return render_surface(surface, colours[None], poses, camera.resized(SIZE_PX))


def write_webp(path: str | Path, frames: Tensor, *, frame_ms: int = FRAME_MS) -> None:
    """Write frames (T, 3, H, W), signed, as an endless animated WebP. Raises `OutputError`."""
    first, *rest = [Image.fromarray(to_uint8(frame)) for frame in frames]
    stream = io.BytesIO()
    first.save(
        stream, format="WEBP", save_all=True, append_images=rest, duration=frame_ms, loop=0, quality=85, method=3
    )
    write_bytes(path, stream.getvalue())
