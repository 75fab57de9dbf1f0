"""The point cloud, read back by an independent reader and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import trimesh

from gan2shape.export.pointcloud import write_ply
from gan2shape.export.surface import cut_surface
from gan2shape.render import Camera, Scene


def test_points_colours_and_normals(tmp_path: Path, scene: Scene, mask: torch.Tensor, camera: Camera) -> None:
    surface = cut_surface(scene.depth, mask, camera, depth_extent=0.2)
    write_ply(tmp_path / "a.ply", surface, surface.pick(scene.albedo))
    cloud = trimesh.load(tmp_path / "a.ply")
    assert isinstance(cloud, trimesh.PointCloud)
    x, y, z = (surface.vertices * torch.tensor([10.0, -10.0, -10.0]) + torch.tensor([0.0, 0.0, 10.0])).T.numpy()
    assert np.abs(np.asarray(cloud.vertices).T - (x, y, z)).max() < 1e-5
    colours = np.asarray(cloud.colors)[:, :3]
    assert (colours[x < -0.1] == (255, 0, 0)).all()
    assert (colours[(x > 0.1) & (y > 0.1)] == (0, 255, 0)).all()
    assert (colours[(x > 0.1) & (y < -0.1)] == (0, 0, 255)).all()

    content = (tmp_path / "a.ply").read_bytes()
    body = content[content.index(b"end_header\n") + len(b"end_header\n") :]
    assert len(body) == len(x) * (6 * 4 + 3)
    normals = np.stack([np.frombuffer(body[27 * i + 12 : 27 * i + 24], dtype="<f4") for i in range(len(x))])
    assert np.abs(np.linalg.norm(normals, axis=1) - 1).max() < 1e-5
    assert (normals[:, 2] > 0).all()
