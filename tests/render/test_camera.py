from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gan2shape.render import Camera


@settings(deadline=None)
@given(size=st.integers(2, 40), fov_deg=st.floats(1, 120), low=st.floats(0.2, 2), seed=st.integers(0, 99))
def test_projection_undoes_unprojection(size: int, fov_deg: float, low: float, seed: int) -> None:
    camera = Camera(size, fov_deg=fov_deg)
    rng = torch.Generator().manual_seed(seed)
    depth = low * (1 + torch.rand(2, 1, size, size, generator=rng, dtype=torch.float64))
    points = camera.unproject(depth)
    grid = camera.pixel_grid(depth).expand(2, -1, -1, -1)
    torch.testing.assert_close(camera.to_pixels(points), grid, rtol=0, atol=1e-9)
    torch.testing.assert_close(camera.project(points), grid / (size - 1) * 2 - 1, rtol=0, atol=1e-9)
    torch.testing.assert_close(points[..., 2], depth[:, 0], rtol=0, atol=0)


def test_the_published_intrinsics() -> None:
    camera = Camera(128)
    assert camera.focal_px == pytest.approx(63.5 / math.tan(5 * math.pi / 180))
    assert camera.centre_px == 63.5


def test_the_opening_angle_lies_between_the_outermost_pixel_centres() -> None:
    rays = Camera(64, fov_deg=10).rays(torch.zeros((), dtype=torch.float64))
    left, right = rays[0, 0, 0], rays[0, -1, 0]
    assert math.degrees(math.atan(right) - math.atan(left)) == pytest.approx(10)
    assert (rays[0, :, 1] == rays[0, 0, 1]).all()
    assert rays[0, 0, 1] < 0 < rays[-1, 0, 1], "y points down"
    assert left < 0 < right, "x points right"


def test_another_size_keeps_the_picture() -> None:
    camera = Camera(64, fov_deg=20, pivot_depth=1.5)
    point = torch.tensor([[0.03, -0.02, 1.1]], dtype=torch.float64)
    torch.testing.assert_close(camera.resized(17).project(point), camera.project(point))
    assert camera.resized(17) == Camera(17, fov_deg=20, pivot_depth=1.5)


def test_the_dtype_follows_the_map() -> None:
    assert Camera(4).unproject(torch.ones(1, 1, 4, 4, dtype=torch.float64)).dtype == torch.float64
    assert Camera(4).unproject(torch.ones(1, 1, 4, 4)).dtype == torch.float32


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 2, 4, 4), (1, 1, 4, 5), (1, 1, 8, 8)])
def test_a_map_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(B, 1, 4, 4\)"):
        Camera(4).unproject(torch.ones(shape))


@pytest.mark.parametrize("bad", [{"image_size": 1}, {"image_size": 8, "fov_deg": 0}, {"image_size": 8, "fov_deg": 180}])
def test_impossible_cameras_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match="must"):
        Camera(**bad)
