from __future__ import annotations

import numpy as np
import pytest
import torch

from gan2shape.render import (
    Camera,
    depth_to_vertices,
    grid_faces,
    rasterize,
    rasterize_depth,
    render_attributes,
)
from tests.render.shapes import bumpy_depth, pose_deg

CAMERA = Camera(9)


def crossed(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """Two views of five triangles that cross each other; no sample lies on an edge."""
    rng = torch.Generator().manual_seed(11)
    corners = (torch.rand(2, 15, 3, generator=rng, dtype=torch.float64) - 0.5) * 0.2
    corners[..., 2] += 1
    return corners.to(dtype), torch.arange(15).view(5, 3)


def test_depth_and_weights_solve_the_ray_plane_equation() -> None:
    """At every hit, Σ weight · corner must be depth · ray: three equations that pin all four numbers down."""
    vertices, faces = crossed()
    fragments = rasterize(vertices, faces, CAMERA)
    hit = fragments.face >= 0
    assert hit.sum() > 30
    for view in range(2):
        corners = vertices[view][faces[fragments.face[view][hit[view]]]]
        weights = fragments.barycentric[view][hit[view]]
        point = (weights[..., None] * corners).sum(1)
        rays = CAMERA.rays(vertices)[hit[view]]
        torch.testing.assert_close(point, fragments.depth[view][hit[view]][:, None] * rays, rtol=0, atol=1e-12)
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(1), torch.ones(len(weights), dtype=torch.float64))
    assert (fragments.barycentric[~hit] == 0).all()
    assert torch.isinf(fragments.depth[~hit]).all()


def test_gradient_of_the_rasterised_depth() -> None:
    vertices, faces = crossed()
    vertices.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: rasterize_depth(v, faces, CAMERA), vertices, eps=1e-7)
    assert torch.autograd.gradcheck(lambda v: rasterize_depth(v, faces, CAMERA, supersample=2), vertices, eps=1e-7)
    assert torch.autograd.gradcheck(lambda v: rasterize_depth(v, faces, CAMERA, compat=True), vertices, eps=1e-7)


def test_gradient_of_fragments() -> None:
    vertices, faces = crossed()
    vertices.requires_grad_()

    def finite(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fragments = rasterize(v, faces, CAMERA)
        return torch.where(fragments.face >= 0, fragments.depth, 0.0), fragments.barycentric

    assert torch.autograd.gradcheck(finite, vertices, eps=1e-7)


def test_the_two_ways_to_the_gradient_agree() -> None:
    """`rasterize_depth` has a hand-written backward pass, `rasterize` uses autograd."""
    camera = Camera(32)
    faces = grid_faces(32, 32)
    vertices = pose_deg(20, -35, 5).apply(depth_to_vertices(bumpy_depth(camera), camera), camera).requires_grad_()
    weight = torch.rand(32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fast = rasterize_depth(vertices, faces, camera, background=0.0)[0, 0]
    fragments = rasterize(vertices, faces, camera)
    slow = torch.where(fragments.face >= 0, fragments.depth, 0.0)[0]
    torch.testing.assert_close(fast, slow)
    (a,) = torch.autograd.grad((fast * weight).sum(), vertices)
    (b,) = torch.autograd.grad((slow * weight).sum(), vertices)
    torch.testing.assert_close(a, b)


def test_gradients_are_finite_for_faces_without_area_and_edge_on() -> None:
    points = [[0.0, 0, 1], [0.02, 0, 1], [0.04, 0, 1], [0, -0.05, 0.95], [0, 0.05, 0.95], [0, 0, 1.1]]
    vertices = torch.tensor([points], requires_grad=True)
    faces = torch.tensor([[0, 1, 2], [3, 4, 5], [0, 0, 0]])
    depth = rasterize_depth(vertices, faces, CAMERA)
    fragments = rasterize(vertices, faces, CAMERA)
    total = depth.sum() + fragments.barycentric.sum() + fragments.depth[fragments.face >= 0].sum()
    (gradient,) = torch.autograd.grad(total, vertices)
    assert torch.isfinite(total)
    assert torch.isfinite(gradient).all()


def test_float32_gradients_are_close_to_float64() -> None:
    camera = Camera(64)
    faces = grid_faces(64, 64)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        depth = bumpy_depth(camera).to(dtype).requires_grad_()
        pose = pose_deg(10, 40, -5)
        vertices = pose.to(dtype).apply(depth_to_vertices(depth, camera), camera)
        seen = rasterize_depth(vertices, faces, camera, background=0.0)
        gradients.append(torch.autograd.grad((seen**2).sum(), depth)[0].double())
    # A few samples on edges may belong to either neighbour; the others agree.
    error = (gradients[0] - gradients[1]).abs()
    assert error.median() < 1e-3
    assert (error < 0.02).double().mean() > 0.99


def slow_compat_depth(vertices: np.ndarray, faces: np.ndarray, size: int) -> np.ndarray:
    """The original's depth picture (size, size), derived anew, sample by sample, from its published conventions:
    v is flipped, [0, size] becomes [-1, 1], samples sit at (2 i + 1 − n) / n with n = 2 size, the picture is flipped
    back, and 2 × 2 samples are averaged with 100 where nothing is seen."""
    n = 2 * size
    focal = (size - 1) / 2 / np.tan(np.deg2rad(5))
    x, y, z = vertices.T
    u = focal * x / z + (size - 1) / 2
    v = size - (focal * y / z + (size - 1) / 2)
    ndc = np.stack((2 * u / size - 1, 2 * v / size - 1), axis=1)
    samples = np.full((n, n), 100.0)
    place = (2 * np.arange(n) + 1 - n) / n
    for face in faces:
        (ax, ay), (bx, by), (cx, cy) = ndc[face]
        double = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if double == 0:
            continue
        for i, py in enumerate(place):
            for j, px in enumerate(place):
                wb = ((px - ax) * (cy - ay) - (py - ay) * (cx - ax)) / double
                wc = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) / double
                weights = np.array([1 - wb - wc, wb, wc])
                if (weights >= 0).all():
                    depth = 1 / (weights / z[face]).sum()
                    if 0.1 < depth < min(100, samples[i, j]):
                        samples[i, j] = depth
    return samples[::-1].reshape(size, 2, size, 2).mean(axis=(1, 3))


@pytest.mark.parametrize("angles_deg", [(0, 0, 0), (12, -33, 7)])
def test_compat_is_the_original_sampling(angles_deg: tuple[float, float, float]) -> None:
    camera = Camera(7)
    faces = grid_faces(7, 7)
    vertices = pose_deg(*angles_deg).apply(depth_to_vertices(bumpy_depth(camera), camera), camera)
    ours = rasterize_depth(vertices, faces, camera, compat=True)[0, 0]
    truth = slow_compat_depth(vertices[0].numpy(), faces.numpy(), 7)
    np.testing.assert_allclose(ours.numpy(), truth, rtol=1e-9)
    if angles_deg != (0, 0, 0):
        assert ((truth > 25) & (truth < 100)).any(), "some pixels are partly covered"
    else:
        assert (ours[-1] > 1.2).all(), "half a pixel off: the last row is lost"
        assert (ours[:, -1] > 1.2).all()
        assert (ours[:-1, :-1] < 1.2).all()


def test_compat_shows_the_surface_half_a_pixel_further() -> None:
    """On a plane whose depth falls linearly in 1/z, pixel (r, c) of compat is the depth at (c + ½, r + ½).

    Half a pixel is worth 3e-3 here; the mean of the four samples bends by 4e-6.
    """
    camera = Camera(16)
    rays = camera.rays(torch.zeros((), dtype=torch.float64))
    depth = (1 / (1 + 0.5 * rays[..., 0] + 0.3 * rays[..., 1]))[None, None]
    seen = rasterize_depth(depth_to_vertices(depth, camera), grid_faces(16, 16), camera, compat=True)[0, 0]
    x, y = rays[:-1, :-1, 0] + 0.5 / camera.focal_px, rays[:-1, :-1, 1] + 0.5 / camera.focal_px
    torch.testing.assert_close(seen[:-1, :-1], 1 / (1 + 0.5 * x + 0.3 * y), rtol=0, atol=1e-5)


def test_supersampling_averages_covered_samples_and_needs_half_of_them() -> None:
    """A frontal half-plane whose edge runs through pixel columns: covered share 1/2 counts as hit, none does not."""
    camera = Camera(8)
    pixel = 1 / camera.focal_px
    for edge_px, last in ((4.0, 4), (3.7, 3), (4.3, 4)):  # the samples of pixel 4 lie at 3.75 and 4.25
        x = (edge_px - camera.centre_px) * pixel
        corners = torch.tensor([[[-1.0, -1, 1], [x, -1, 1], [-1, 1, 1], [x, 1, 1]]], dtype=torch.float64)
        seen = rasterize_depth(corners, grid_faces(2, 2), camera, supersample=2, background=7.0)[0, 0]
        expected = torch.ones(8, 8, dtype=torch.float64)
        expected[:, last + 1 :] = 7.0
        torch.testing.assert_close(seen, expected)


def test_a_supersampled_pixel_is_the_mean_of_its_samples() -> None:
    camera = Camera(12)
    vertices, faces = (
        pose_deg(5, 25, 0).apply(depth_to_vertices(bumpy_depth(camera), camera), camera),
        grid_faces(12, 12),
    )
    fine = (
        rasterize(vertices, faces, camera, supersample=2).depth[0].numpy().reshape(12, 2, 12, 2).transpose(0, 2, 1, 3)
    )
    ours = rasterize_depth(vertices, faces, camera, supersample=2)[0, 0].numpy()
    for r in range(12):
        for c in range(12):
            some = fine[r, c][np.isfinite(fine[r, c])]
            assert ours[r, c] == pytest.approx(some.mean() if len(some) >= 2 else 100.0)


def test_vertex_colours_are_perspective_correct() -> None:
    """Colours that are a linear function of space must come out as that function of the seen point."""
    vertices, faces = crossed()
    slope = torch.tensor([[1.0, 0, 2], [0, 3, -1], [1, 1, 1], [0, 0, 5]], dtype=torch.float64)
    image, mask = render_attributes(vertices, faces, vertices @ slope.T + 0.5, CAMERA, background=-9.0)
    depth = rasterize_depth(vertices, faces, CAMERA)[:, 0]
    points = depth[..., None] * CAMERA.rays(depth)
    hit = mask[:, 0] == 1
    torch.testing.assert_close(image.permute(0, 2, 3, 1)[hit], (points @ slope.T + 0.5)[hit])
    assert (image.permute(0, 2, 3, 1)[~hit] == -9).all()
    assert torch.equal(hit, depth < 50)


def test_gradient_of_vertex_colours() -> None:
    vertices, faces = crossed()
    colours = torch.rand(1, 15, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    vertices.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v, a: render_attributes(v, faces, a, CAMERA)[0], (vertices, colours), eps=1e-7
    )


def test_colours_blend_at_supersampled_edges_only_with_each_other() -> None:
    vertices, faces = crossed()
    ones = torch.ones(1, 15, 1, dtype=torch.float64)
    image, mask = render_attributes(vertices, faces, ones, CAMERA, supersample=2, background=-1.0)
    torch.testing.assert_close(image, torch.where(mask == 1, 1.0, -1.0).double())
    blended, whole = render_attributes(vertices, faces, ones, CAMERA, background=-1.0, compat=True)
    assert ((blended > -1) & (blended < 1)).any()
    assert ((blended == 1) == (whole == 1)).all()


def test_another_size_is_the_resized_camera() -> None:
    vertices, faces = crossed()
    a, b = rasterize(vertices, faces, CAMERA, size=21), rasterize(vertices, faces, Camera(21))
    assert torch.equal(a.face, b.face)


def test_wrong_input_is_refused() -> None:
    vertices, faces = crossed()
    with pytest.raises(ValueError, match="vertices"):
        rasterize(vertices[0], faces, CAMERA)
    with pytest.raises(ValueError, match="faces"):
        rasterize(vertices, faces.int(), CAMERA)
    with pytest.raises(ValueError, match="attributes"):
        render_attributes(vertices, faces, vertices[:, :4], CAMERA)
    with pytest.raises(ValueError, match="supersample"):
        rasterize_depth(vertices, faces, CAMERA, supersample=0)
