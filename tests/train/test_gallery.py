"""The sheet of a training: where pictures stand in it, and what its kinds of picture show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gan2shape.render import Camera, DepthRange, Lighting, Pose, Scene
from gan2shape.train.gallery import depth_picture, normal_picture, turned_picture, turned_scene, write_gallery

SIDE = 16


def test_rows_are_pictures_and_columns_are_kinds(tmp_path: Path) -> None:
    levels = torch.tensor([[-1.0, 0.0], [0.5, 1.0]])  # row, column
    columns = [levels[:, c].view(2, 1, 1, 1).expand(2, 3, 4, 4) for c in range(2)]
    write_gallery(tmp_path / "sheet.png", columns)
    seen = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert seen.shape == (16, 16, 3)
    assert [[int(seen[r, c, 0]) for c in (4, 12)] for r in (4, 12)] == [[0, 128], [191, 255]]


def test_near_is_white_and_a_plane_faces_the_camera() -> None:
    depth = torch.full((1, 1, SIDE, SIDE), 0.9)
    assert float(depth_picture(depth, DepthRange()).mean()) == 1
    assert torch.allclose(normal_picture(depth, Camera(SIDE))[0, :, 5, 5], torch.tensor([0.0, 0.0, 1.0]), atol=1e-5)


def test_turned_objects_are_narrower_by_the_cosine() -> None:
    camera = Camera(64)
    image, depth = torch.ones(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    one, zero = torch.ones(1, 1), torch.zeros(1, 1)
    light = Lighting(one, zero, torch.tensor([[0.0, 0.0, 1.0]]))
    scene = Scene(depth, image, Pose.identity(1, depth), light)
    for seen in (turned_picture(image, depth, camera, 60.0), turned_scene(scene, camera, 60.0)):
        width = float((seen[0, 0, 32] > 0.5).sum())
        assert abs(width - 32) <= 3
