"""The turntable: a closed loop, endless, as large as it says."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gan2shape.export.surface import cut_surface
from gan2shape.export.video import FRAME_MS, PITCH_DEG, SIZE_PX, turntable_frames, turntable_poses, write_webp
from gan2shape.render import Camera, Scene


def test_the_loop_is_closed_and_smooth() -> None:
    angles = turntable_poses(48, 40.0, torch.zeros(1, dtype=torch.float64)).euler() * 180 / math.pi
    steps = (angles.roll(-1, 0) - angles).abs().amax(1)
    assert steps.max() < 6
    assert math.isclose(angles[:, 1].max().item(), 40, abs_tol=1e-6)
    assert math.isclose(angles[:, 1].min().item(), -40, abs_tol=1e-6)
    assert math.isclose(angles[:, 0].abs().max().item(), PITCH_DEG, abs_tol=0.1)


def test_the_file_plays_for_ever(tmp_path: Path, scene: Scene, mask: torch.Tensor, camera: Camera) -> None:
    surface = cut_surface(scene.depth, mask, camera, depth_extent=0.2)
    frames = turntable_frames(surface, surface.pick(scene.albedo), camera, yaw_limit_deg=40, count=4)
    assert frames.shape == (4, 3, SIZE_PX, SIZE_PX)
    write_webp(tmp_path / "t.webp", frames)
    with Image.open(tmp_path / "t.webp") as film:
        assert film.n_frames == 4
        assert film.info["loop"] == 0
        assert film.size == (SIZE_PX, SIZE_PX)
        film.seek(0)
        film.load()
        assert film.info["duration"] == FRAME_MS
        first = np.asarray(film.convert("RGB")).astype(int)
    assert np.abs(first[2, 2] - 255).max() <= 2  # Nothing but paper beside the object.
    assert np.abs(first[SIZE_PX // 2, SIZE_PX // 3] - (255, 0, 0)).max() <= 40  # Lossy, but red on the left.
