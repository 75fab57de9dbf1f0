from __future__ import annotations

import numpy as np
import pytest
import torch

from gan2shape.render import Camera, Pose, depth_to_vertices, grid_faces, rasterize
from gan2shape.render.visibility import Samples, visible_faces
from tests.render.reference import Seen, scanline

SIZE = 48


def soup(seed: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Random triangles about the optical axis; nothing is shared between them."""
    rng = np.random.default_rng(seed)
    count = 600 if kind in ("small", "slivers") else 150
    centre = np.stack((rng.uniform(-0.1, 0.1, count), rng.uniform(-0.1, 0.1, count), rng.uniform(0.7, 1.3, count)), 1)
    if kind == "overlapping":
        corners = centre[:, None] + rng.normal(0, 0.04, (count, 3, 3))
    elif kind == "small":
        corners = centre[:, None] + rng.normal(0, 0.002, (count, 3, 3))
    elif kind == "slivers":
        along = rng.normal(0, 0.05, (count, 1, 3)) * rng.uniform(-1, 1, (count, 3, 1))
        corners = centre[:, None] + along + rng.normal(0, 0.0005, (count, 3, 3))
    elif kind == "off-screen":
        corners = centre[:, None] * np.array([8.0, 8.0, 1.0]) + rng.normal(0, 0.3, (count, 3, 3))
    elif kind == "behind":
        corners = centre[:, None] + rng.normal(0, 0.05, (count, 3, 3))
        corners[::3, :, 2] -= 1.5
        corners[1::3, 0, 2] -= 1.2
    else:
        raise ValueError(kind)
    return corners.reshape(-1, 3), np.arange(3 * count).reshape(count, 3)


def compare(vertices: np.ndarray, faces: np.ndarray, dtype: torch.dtype, camera: Camera, supersample: int = 1) -> Seen:
    fragments = rasterize(
        torch.tensor(vertices, dtype=dtype)[None], torch.from_numpy(faces), camera, supersample=supersample
    )
    n = supersample * camera.image_size
    positions = (np.arange(n) + 0.5) / supersample - 0.5
    exact = dtype == torch.float64
    truth = scanline(vertices, faces, camera.image_size, camera.fov_deg, positions, tie_px=3e-4 if exact else 5e-3)
    face, depth = fragments.face[0].numpy(), fragments.depth[0].double().numpy()
    sure = ~truth.unsure
    np.testing.assert_array_equal((face >= 0)[sure], (truth.face >= 0)[sure])
    hit = sure & (truth.face >= 0)
    np.testing.assert_allclose(depth[hit], truth.depth[hit], rtol=1e-12 if exact else 1e-5, atol=0)
    np.testing.assert_array_equal(np.isinf(depth), face < 0)
    return truth


@pytest.mark.parametrize("kind", ["overlapping", "small", "slivers", "off-screen", "behind"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_random_triangles_are_seen_as_by_a_scanline_reference(kind: str, dtype: torch.dtype) -> None:
    vertices, faces = soup(3, kind)
    truth = compare(vertices, faces, dtype, Camera(SIZE))
    assert (truth.face >= 0).sum() > 50
    assert truth.unsure.mean() < 0.4


def test_supersamples_lie_symmetric_about_the_pixel_centre() -> None:
    vertices, faces = soup(4, "overlapping")
    compare(vertices, faces, torch.float64, Camera(SIZE), supersample=2)


def test_a_wide_camera_sees_like_the_reference() -> None:
    vertices, faces = soup(5, "overlapping")
    vertices[:, :2] *= 6
    compare(vertices, faces, torch.float64, Camera(33, fov_deg=75.0))


@pytest.mark.parametrize("angles_deg", [(0, 50, 0), (-35, -20, 15), (10, 85, -5)])
def test_a_turned_depth_grid_is_seen_as_by_the_reference(angles_deg: tuple[float, ...], rng: torch.Generator) -> None:
    camera = Camera(24)
    depth = 0.95 + 0.1 * torch.rand(1, 1, 24, 24, generator=rng, dtype=torch.float64)
    pose = Pose.from_euler(torch.deg2rad(torch.tensor([angles_deg], dtype=torch.float64)))
    vertices = pose.apply(depth_to_vertices(depth, camera), camera)
    truth = compare(vertices[0].numpy(), grid_faces(24, 24).numpy(), torch.float64, camera)
    assert (truth.face >= 0).sum() > 50


@pytest.mark.parametrize("size", [2, 8, 64, 128, 257])
def test_the_unmoved_depth_grid_hits_every_pixel(size: int, rng: torch.Generator) -> None:
    camera = Camera(size)
    depth = 0.9 + 0.2 * torch.rand(2, 1, size, size, generator=rng)
    vertices = Pose.identity(1, depth).apply(depth_to_vertices(depth, camera), camera)
    fragments = rasterize(vertices, grid_faces(size, size), camera)
    assert (fragments.face >= 0).all()
    torch.testing.assert_close(fragments.depth[:, None], depth, rtol=0, atol=1e-5)


def test_the_border_tolerance_is_a_ten_thousandth_of_a_pixel() -> None:
    camera = Camera(16)
    depth = torch.ones(1, 1, 16, 16, dtype=torch.float64)
    vertices = depth_to_vertices(depth, camera)
    for shift_px, expected in ((0.5e-4, 256), (2e-4, 240)):
        moved = vertices + torch.tensor([shift_px / camera.focal_px, 0, 0], dtype=torch.float64)
        assert (rasterize(moved, grid_faces(16, 16), camera).face >= 0).sum() == expected


def test_neighbouring_triangles_leave_no_gap() -> None:
    """A fan around a common vertex covers its whole square, whatever the rounding."""
    camera = Camera(64)
    edge = torch.linspace(0, 2 * torch.pi, 40)[:-1]
    rim = torch.stack((0.06 * edge.cos(), 0.06 * edge.sin(), 1 + 0.01 * (3 * edge).sin()), 1)
    vertices = torch.cat((torch.tensor([[0.0013, -0.0021, 1.0]]), rim))[None]
    index = torch.arange(39)
    faces = torch.stack((torch.zeros_like(index), 1 + index, 1 + (index + 1) % 39), 1)
    face = rasterize(vertices, faces, camera).face[0]
    distance = (camera.rays(vertices)[..., :2]).norm(dim=-1)
    assert (face >= 0)[distance < 0.058].all()


def test_both_orientations_are_seen() -> None:
    vertices, faces = soup(6, "overlapping")
    points, index = torch.tensor(vertices)[None], torch.from_numpy(faces)
    camera = Camera(SIZE)
    front, back = rasterize(points, index, camera), rasterize(points, index.flip(1), camera)
    assert torch.equal(front.face, back.face)


@pytest.mark.parametrize("limit", [1, 100, 5000])
def test_a_bound_on_the_memory_changes_nothing(limit: int) -> None:
    vertices, faces = soup(7, "overlapping")
    points = torch.tensor(vertices, dtype=torch.float32)[None]
    points = torch.cat((points, points * torch.tensor([-1.0, 1.0, 1.1])))
    samples = Samples(Camera(SIZE))
    whole = visible_faces(points, torch.from_numpy(faces), samples)
    assert torch.equal(visible_faces(points, torch.from_numpy(faces), samples, max_fragments=limit), whole)


def test_views_do_not_depend_on_their_batch() -> None:
    vertices, faces = soup(8, "overlapping")
    points = torch.tensor(vertices)[None]
    views = torch.cat([points * (1 + 0.05 * k) for k in range(5)])
    together = rasterize(views, torch.from_numpy(faces), Camera(SIZE))
    for k in range(5):
        alone = rasterize(views[k : k + 1], torch.from_numpy(faces), Camera(SIZE))
        assert torch.equal(together.face[k], alone.face[0])
        assert torch.equal(together.depth[k], alone.depth[0])


def test_nothing_is_seen_of_no_faces_of_nan_and_of_faces_behind_the_camera() -> None:
    camera = Camera(8)
    points = torch.tensor([[[0.0, 0, 1], [0.1, 0, 1], [0, 0.1, 1]]])
    faces = torch.tensor([[0, 1, 2]])
    assert (rasterize(points, faces, camera).face >= 0).any()
    assert (rasterize(points, faces[:0], camera).face == -1).all()
    assert (rasterize(points * float("nan"), faces, camera).face == -1).all()
    assert (rasterize(-points, faces, camera).face == -1).all()
    assert (rasterize(points * torch.tensor([1.0, 1, 0]), faces, camera).face == -1).all()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_gpu_and_cpu_see_the_same() -> None:
    vertices, faces = soup(9, "overlapping")
    points, index = torch.tensor(vertices)[None], torch.from_numpy(faces)
    here, there = rasterize(points, index, Camera(SIZE)), rasterize(points.cuda(), index.cuda(), Camera(SIZE))
    assert (here.face == there.face.cpu()).float().mean() > 0.999
    torch.testing.assert_close(here.depth, there.depth.cpu())
