"""Mesh files read back with an independent reader: upright, not mirrored, front outwards, textured, cut by the mask."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from gan2shape.export.mesh import UNLIT, write_glb, write_obj
from gan2shape.export.surface import Surface, cut_surface, to_file_frame
from gan2shape.render import Camera, Scene


@pytest.fixture
def surface(scene: Scene, mask: torch.Tensor, camera: Camera) -> Surface:
    return cut_surface(scene.depth, mask, camera, depth_extent=0.2)


@pytest.fixture(params=["glb", "obj"])
def mesh(
    request: pytest.FixtureRequest, tmp_path: Path, scene: Scene, surface: Surface, camera: Camera
) -> trimesh.Trimesh:
    file = tmp_path / f"mesh.{request.param}"
    {"glb": write_glb, "obj": write_obj}[request.param](file, surface, scene.texture(camera))
    return trimesh.load(file, force="mesh", process=False)


def colours_at(mesh: trimesh.Trimesh) -> np.ndarray:
    """RGB at the vertices, looked up here: u to the right, v up, nearest texel."""
    material = mesh.visual.material
    picture = np.asarray(getattr(material, "baseColorTexture", None) or material.image).astype(int)[..., :3]
    height, width = picture.shape[:2]
    u, v = mesh.visual.uv.T
    return picture[np.floor((1 - v) * height).astype(int), np.floor(u * width).astype(int)]


def test_the_geometry_is_that_of_the_surface(mesh: trimesh.Trimesh, surface: Surface, camera: Camera) -> None:
    expected = to_file_frame(surface.vertices).numpy()
    ours, theirs = (
        np.sort(np.asarray(part)[faces].mean(1), axis=0)
        for part, faces in ((expected, surface.faces.numpy()), (mesh.vertices, mesh.faces))
    )
    assert np.abs(ours - theirs).max() < 1e-5
    assert mesh.area == pytest.approx(trimesh.Trimesh(expected, surface.faces.numpy(), process=False).area, rel=1e-5)


def test_it_is_upright_and_not_mirrored(mesh: trimesh.Trimesh) -> None:
    colours = colours_at(mesh)
    x, y, z = mesh.vertices.T
    pixel = 2 * 0.8749 / 23  # Width of a pixel in the file: 10 · 2 tan(5°) / 23.
    assert (colours[x < -pixel] == (255, 0, 0)).all()
    assert (colours[(x > pixel) & (y > pixel)] == (0, 255, 0)).all()
    assert (colours[(x > pixel) & (y < -pixel)] == (0, 0, 255)).all()
    nearest = int(z.argmax())  # The bump, above on the left, comes towards the viewer at +z.
    assert x[nearest] < 0
    assert y[nearest] > 0


def test_the_front_is_outside(mesh: trimesh.Trimesh) -> None:
    """A viewer that hides back faces shows a triangle when its vertices turn counter-clockwise as seen from +z."""
    a, b, c = np.asarray(mesh.vertices)[mesh.faces].transpose(1, 0, 2)
    turning = np.cross(b - a, c - a)
    assert (turning[:, 2] > 0).all()
    normals = np.asarray(mesh.vertex_normals)
    assert np.abs(np.linalg.norm(normals, axis=1) - 1).max() < 1e-4
    assert (np.einsum("fi,fki->fk", turning, normals[mesh.faces]) > 0).all()


def test_it_is_cut_by_the_mask(mesh: trimesh.Trimesh, mask: torch.Tensor, camera: Camera) -> None:
    x, y, z = mesh.vertices.T / 10
    depth = 1 - z
    column = np.rint(x / depth * camera.focal_px + camera.centre_px).astype(int)
    row = np.rint(-y / depth * camera.focal_px + camera.centre_px).astype(int)
    assert (mask[0, 0].numpy()[row, column] == 1).all()


def glb_json(file: Path) -> dict:
    content = file.read_bytes()
    length, kind = struct.unpack("<I4s", content[12:20])
    assert kind == b"JSON"
    return json.loads(content[20 : 20 + length])


def test_the_glb_says_that_its_light_is_painted_in(
    tmp_path: Path, scene: Scene, surface: Surface, camera: Camera
) -> None:
    write_glb(tmp_path / "a.glb", surface, scene.texture(camera))
    tree = glb_json(tmp_path / "a.glb")
    assert tree["extensionsUsed"] == [UNLIT]
    assert tree["materials"][0]["extensions"] == {UNLIT: {}}
    assert set(tree["meshes"][0]["primitives"][0]["attributes"]) >= {"POSITION", "NORMAL", "TEXCOORD_0"}
    write_glb(tmp_path / "b.glb", surface, scene.albedo, lit=True)
    assert "extensionsUsed" not in glb_json(tmp_path / "b.glb")


def test_the_obj_names_its_material_and_texture(tmp_path: Path, scene: Scene, surface: Surface, camera: Camera) -> None:
    write_obj(tmp_path / "mesh.obj", surface, scene.texture(camera))
    assert {file.name for file in tmp_path.iterdir()} == {"mesh.obj", "mesh.mtl", "mesh.png"}
    assert "mtllib mesh.mtl" in (tmp_path / "mesh.obj").read_text().splitlines()
    assert "map_Kd mesh.png" in (tmp_path / "mesh.mtl").read_text()
    assert Image.open(io.BytesIO((tmp_path / "mesh.png").read_bytes())).size == (24, 24)
