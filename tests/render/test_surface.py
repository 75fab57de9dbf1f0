from __future__ import annotations

import pytest
import torch

from gan2shape.render import Camera, depth_to_vertices, grid_faces, normals_from_depth
from tests.render.shapes import bumpy_depth


def angle_deg(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Angle between two fields of unit vectors (B, 3, H, W), from sine and cosine (exact for small angles)."""
    sine = torch.linalg.cross(a, b, dim=1).norm(dim=1)
    return torch.rad2deg(torch.atan2(sine, (a * b).sum(1)))


@pytest.mark.parametrize("size", [16, 64, 512])
def test_a_frontal_plane_faces_straight_away_with_full_length(size: int) -> None:
    camera = Camera(size)
    normals = normals_from_depth(torch.full((1, 1, size, size), 0.97), camera)
    expected = torch.tensor([0.0, 0.0, 1.0])[None, :, None, None].expand_as(normals)
    torch.testing.assert_close(normals, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(1, size, size), rtol=0, atol=1e-6)


def test_a_slanted_plane() -> None:
    camera = Camera(32)
    normal = torch.tensor([0.3, -0.4, 1.0], dtype=torch.float64)
    normal = normal / normal.norm()
    rays = camera.rays(normal)
    depth = (normal[2] / (rays @ normal))[None, None]  # the plane normal · P = normal_z
    inner = normals_from_depth(depth, camera)[0, :, 1:-1, 1:-1]
    torch.testing.assert_close(inner, normal[:, None, None].expand_as(inner), rtol=0, atol=1e-10)


def sphere_error_deg(size: int) -> float:
    """Largest error of the normals on the middle of a sphere about the pivot."""
    camera = Camera(size)
    rays = camera.rays(torch.zeros((), dtype=torch.float64))
    centre, radius = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), 0.15
    square, dot = (rays * rays).sum(-1), rays @ centre
    depth = (dot - (dot**2 - square * (1 - radius**2)).sqrt()) / square
    points = depth[..., None] * rays
    outward = (points - centre) / radius
    ours = normals_from_depth(depth[None, None], camera)
    middle = slice(size // 4, -(size // 4))
    return angle_deg(ours, -outward.permute(2, 0, 1)[None])[0, middle, middle].max().item()


def test_a_sphere_and_second_order_convergence() -> None:
    coarse, fine = sphere_error_deg(33), sphere_error_deg(129)
    assert coarse < 0.5
    assert fine < coarse / 14, "central differences: a quarter of the step, a sixteenth of the error"


def test_the_border_ring_faces_straight_away() -> None:
    normals = normals_from_depth(bumpy_depth(Camera(12)), Camera(12))
    ring = torch.ones(12, 12, dtype=torch.bool)
    ring[1:-1, 1:-1] = False
    assert (normals[0, :2][:, ring] == 0).all()
    assert (normals[0, 2][ring] == 1).all()
    assert (normals[0, :2, 1:-1, 1:-1] != 0).any()


def test_compat_darkens_as_the_original_does() -> None:
    """The published lengths of frontal unit normals in the original: about 0.997 at 64 px and 0.987 at 128 px."""
    for size, length in ((64, 0.997), (128, 0.987)):
        normals = normals_from_depth(torch.ones(1, 1, size, size), Camera(size), compat=True)
        assert normals[0, 2, size // 2, size // 2].item() == pytest.approx(length, abs=6e-4)


def test_gradients_of_the_normals() -> None:
    camera = Camera(6)
    depth = bumpy_depth(camera).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: normals_from_depth(d, camera), depth)
    assert torch.autograd.gradcheck(lambda d: normals_from_depth(d, camera, compat=True), depth)


def test_grid_faces_tile_the_grid_once() -> None:
    height, width = 4, 6
    faces = grid_faces(height, width)
    assert faces.shape == (2 * 3 * 5, 3)
    corners = torch.stack((faces % width, faces // width), -1).double()
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    doubled = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    assert (doubled == -1).all(), "all triangles turn the same way and have half a cell's area"
    centres = corners.mean(1)
    assert len(torch.unique(centres, dim=0)) == len(faces)


def test_the_diagonal_joins_top_right_and_bottom_left() -> None:
    assert sorted(grid_faces(2, 2).tolist()) == sorted([[0, 2, 1], [1, 2, 3]])


def test_vertices_are_the_pixels_row_by_row() -> None:
    camera = Camera(5)
    depth = bumpy_depth(camera)
    vertices = depth_to_vertices(depth, camera)
    assert vertices.shape == (1, 25, 3)
    torch.testing.assert_close(vertices[0, 2 * 5 + 3], camera.unproject(depth)[0, 2, 3])


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="2 × 2"):
        grid_faces(1, 5)
    with pytest.raises(ValueError, match="expected a map"):
        normals_from_depth(torch.ones(1, 1, 4, 4), Camera(5))
