"""Cutting the object out of the depth grid, and drawing it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gan2shape.export.surface import (
    JUMP,
    canonical_mask,
    clay,
    cut_surface,
    render_surface,
    to_file_frame,
)
from gan2shape.render import Camera, Pose, Scene


def test_the_kept_faces_are_those_of_a_slow_reference(scene: Scene, mask: torch.Tensor, camera: Camera) -> None:
    surface = cut_surface(scene.depth, mask, camera, depth_extent=0.2)
    size, inside = camera.image_size, mask[0, 0] >= 0.5
    expected = set()
    for r in range(size - 1):
        for c in range(size - 1):
            for corners in (((r, c), (r + 1, c), (r, c + 1)), ((r, c + 1), (r + 1, c), (r + 1, c + 1))):
                if all(inside[corner] for corner in corners):
                    expected.add(frozenset(a * size + b for a, b in corners))
    assert {frozenset(surface.pixel[face].tolist()) for face in surface.faces} == expected
    assert set(surface.faces.flatten().tolist()) == set(range(len(surface.pixel)))


def test_vertices_lie_on_their_rays(scene: Scene, mask: torch.Tensor, camera: Camera) -> None:
    surface = cut_surface(scene.depth, mask, camera, depth_extent=0.2)
    focal = (camera.image_size - 1) / 2 / math.tan(math.radians(5))
    row, column = surface.pixel // camera.image_size, surface.pixel % camera.image_size
    z = scene.depth[0, 0, row, column].double()
    centre = (camera.image_size - 1) / 2
    expected = torch.stack(((column - centre) / focal * z, (row - centre) / focal * z, z), dim=1)
    assert (surface.vertices - expected).abs().max() < 1e-6
    files = to_file_frame(surface.vertices)
    expected_files = torch.stack((expected[:, 0], -expected[:, 1], 1 - expected[:, 2]), dim=1) * 10
    assert (files - expected_files).abs().max() < 1e-5


def test_files_have_their_origin_at_depth_1_whatever_the_pivot(scene: Scene, mask: torch.Tensor) -> None:
    near, far = (cut_surface(scene.depth, mask, Camera(24, pivot_depth=p), depth_extent=0.2) for p in (1.0, 1.04))
    assert torch.equal(to_file_frame(near.vertices), to_file_frame(far.vertices))
    assert to_file_frame(torch.tensor([0.02, -0.03, 1.05])).tolist() == pytest.approx([0.2, 0.3, -0.5], abs=1e-5)


def test_a_jump_between_two_surfaces_is_open(camera: Camera) -> None:
    depth = torch.full((1, 1, 24, 24), 1.05)
    depth[..., 8:16, 8:16] = 1.05 - JUMP * 0.2 * 1.1
    surface = cut_surface(depth, torch.ones_like(depth), camera, depth_extent=0.2)
    z = surface.vertices[:, 2][surface.faces]
    assert (z.amax(1) - z.amin(1)).max() < 1e-6
    # The ring of cells around the raised square is gone, but for one triangle beyond each of two of its corners.
    assert len(surface.faces) == 2 * 23 * 23 - (2 * 9 * 9 - 2 * 7 * 7) + 2
    smooth = cut_surface(depth, torch.ones_like(depth), camera, depth_extent=0.3)
    assert len(smooth.faces) == 2 * 23 * 23


def test_an_empty_mask_keeps_the_whole_grid(scene: Scene, camera: Camera) -> None:
    assert len(cut_surface(scene.depth, torch.zeros_like(scene.depth), camera, depth_extent=0.2).faces) == 2 * 23 * 23


def test_normals_of_a_tilted_plane_point_to_the_camera(camera: Camera) -> None:
    """The plane n·x = n·p with n = (0.3, -0.2, -0.9): depth along a ray is n·p / n·ray."""
    normal = torch.nn.functional.normalize(torch.tensor([0.3, -0.2, -0.9], dtype=torch.float64), dim=0)
    rays = camera.rays(normal)
    depth = (normal[2] / (rays @ normal))[None, None]
    surface = cut_surface(depth, torch.ones_like(depth), camera, depth_extent=0.2)
    assert (surface.normals - normal).abs().max() < 1e-6


def test_the_mask_moves_with_the_pose(scene: Scene, mask: torch.Tensor, camera: Camera) -> None:
    """At constant depth 1 a shift by three pixels shows each canonical pixel three columns further right."""
    flat = Scene(torch.ones_like(scene.depth), scene.albedo, scene.pose, scene.lighting)
    shift = torch.tensor([[3 / camera.focal_px, 0.0, 0.0]])
    moved = canonical_mask(flat.with_(pose=Pose(flat.pose.rotation, shift)), mask, camera)
    expected = torch.zeros_like(mask)
    expected[..., :-3] = mask[..., 3:]
    assert (moved - expected).abs().max() < 1e-4
    whole = canonical_mask(flat.with_(pose=Pose(flat.pose.rotation, shift)), torch.ones_like(mask), camera)
    assert torch.equal(whole, torch.ones_like(mask))


def test_the_unmoved_surface_shows_its_texture_before_white(scene: Scene, mask: torch.Tensor, camera: Camera) -> None:
    surface = cut_surface(scene.depth, mask, camera, depth_extent=0.2)
    picture = render_surface(surface, surface.pick(scene.albedo)[None], scene.pose, camera, supersample=1)
    inner = torch.zeros(24, 24, dtype=torch.bool)
    inner.view(-1)[surface.pixel] = True
    # Of the outline's pixels, those that only touch the mesh with a corner may or may not be hit.
    core = torch.nn.functional.avg_pool2d(inner[None].float(), 3, 1, 1)[0] > 0.99
    around = torch.nn.functional.max_pool2d(inner[None].float(), 3, 1, 1)[0] == 0
    assert (picture[0] - scene.albedo[0]).abs().amax(0)[core].max() < 1e-3
    assert (picture[0][:, around] == 1).all()


def test_outlines_are_smooth_at_any_size(scene: Scene, mask: torch.Tensor, camera: Camera) -> None:
    surface = cut_surface(scene.depth, mask, camera, depth_extent=0.2)
    black = -torch.ones(1, len(surface.pixel), 1)
    picture = render_surface(surface, black, scene.pose, camera.resized(96), supersample=4)
    assert picture.shape == (1, 1, 96, 96)
    levels = picture.unique()
    assert len(levels) > 4
    assert (levels.min(), levels.max()) == (-1, 1)
    cells = 2 * mask.sum().item()  # About two triangles a pixel; 15 % for the outline that is cut off.
    share = ((1 - picture) / 2).mean().item() * 23 * 23 * 2 * (96 / 95) ** 2
    assert share == pytest.approx(len(surface.faces), rel=0.02)
    assert share == pytest.approx(cells, rel=0.2)


def test_clay_is_brightest_where_the_surface_faces_the_lamp(camera: Camera) -> None:
    steps = torch.arange(24.0)
    row, column = torch.meshgrid(steps, steps, indexing="ij")
    dome = (1 - 0.004 * torch.sqrt((12**2 * 1.6 - (row - 11.5) ** 2 - (column - 11.5) ** 2).clamp(min=1)))[None, None]
    surface = cut_surface(dome, torch.ones_like(dome), camera, depth_extent=0.2)
    grey = np.asarray(clay(surface, Pose.identity(1, dome))[0, :, 0])
    brightest = surface.pixel[int(grey.argmax())].item()
    assert brightest // 24 < 12
    assert brightest % 24 < 12
