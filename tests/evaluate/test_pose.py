"""Errors of viewpoint and light: circular means, offsets of a set, and in which frame a light is."""

from __future__ import annotations

import cmath
import math

import pytest
import torch

from gan2shape.evaluate.pose import (
    angle_offsets,
    centred,
    in_camera_axes,
    in_canonical_axes,
    light_error,
    mean_angle,
    wrapped,
)
from gan2shape.render import Camera, Scene, normals_from_depth, render, shading
from tests.render.shapes import bumpy_depth, light, pose_deg


def test_offsets_are_differences_of_angles_in_degrees() -> None:
    offsets = angle_offsets(pose_deg(10, -40, 3), pose_deg(4, 15, -2))
    torch.testing.assert_close(offsets, torch.tensor([[6.0, -55.0, 5.0]]).double())


def test_angles_are_wrapped() -> None:
    degrees = torch.tensor([0.0, 179.0, 180.0, 181.0, -181.0, 350.0, 725.0])
    assert wrapped(degrees).tolist() == pytest.approx([0, 179, -180, -179, 179, -10, 5])


def test_the_mean_angle_is_that_of_the_unit_vectors(rng: torch.Generator) -> None:
    degrees = 360 * torch.rand(7, generator=rng, dtype=torch.float64)
    expected = cmath.phase(sum(cmath.exp(1j * math.radians(angle)) for angle in degrees.tolist()))
    assert float(mean_angle(degrees)) == pytest.approx(math.degrees(expected))
    assert float(wrapped(mean_angle(torch.tensor([170.0, -170.0])) - 180)) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("offset", [0.0, 25.0, 180.0, -175.0])
def test_an_offset_of_the_whole_set_does_not_count(offset: float) -> None:
    errors = torch.tensor([-3.0, 1.0, 2.0, 0.0])
    found = centred(wrapped(errors + offset))
    torch.testing.assert_close(found, errors.abs().double(), atol=1e-3, rtol=0)


def test_what_is_left_is_the_distance_from_the_mean() -> None:
    expected = torch.tensor([[5.0, 0.0], [5.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(centred(torch.tensor([[10.0, 0.0], [20.0, 0.0]])), expected)


def test_the_predicted_light_is_turned_with_the_object() -> None:
    """A head turned by 30° of yaw whose light is attached to it: in camera axes its light has turned by 30° too."""
    pose = pose_deg(0, 30, 0)
    canonical = light(0.4, 0.6, (0.0, 0.0, 1.0))
    seen = in_camera_axes(canonical, pose).direction[0].tolist()
    assert seen == pytest.approx([math.sin(math.radians(30)), 0, math.cos(math.radians(30))])
    assert float(light_error(canonical, pose, canonical)) == pytest.approx(30)
    back = in_canonical_axes(in_camera_axes(canonical, pose), pose)
    torch.testing.assert_close(back.direction, canonical.direction)


def test_a_right_light_has_no_error_under_any_pose() -> None:
    pose, true = pose_deg(-12, 35, 4), light(0.3, 0.5, (0.4, -0.2, 1.0))
    assert float(light_error(in_canonical_axes(true, pose), pose, true)) == pytest.approx(0, abs=1e-6)


def test_shading_is_the_same_in_canonical_and_in_camera_axes() -> None:
    """The renderer shades in the canonical frame; the view's own normals and the turned light agree with it."""
    camera = Camera(96)
    depth, pose, canonical = bumpy_depth(camera), pose_deg(8, -20, 5), light(0.3, 0.6, (0.5, -0.3, 1.0))
    white = torch.ones(1, 3, 96, 96, dtype=torch.float64)
    view = render(Scene(depth, white, pose, canonical), camera)
    inside = torch.zeros(96, 96, dtype=torch.bool)
    inside[25:-25, 25:-25] = True
    assert bool((view.mask[0, 0, inside] > 0).all())
    normals = normals_from_depth(view.depth, camera)
    rendered = (view.image / 2 + 0.5)[0, 0][inside]
    right = shading(normals, in_camera_axes(canonical, pose))[0, 0][inside]
    wrong = shading(normals, canonical)[0, 0][inside]
    assert float((right - rendered).abs().mean()) < 0.01
    assert float((wrong - rendered).abs().mean()) > 0.05
