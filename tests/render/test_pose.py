from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gan2shape.render import Camera, Pose, forward_grid
from tests.render.shapes import pose_deg

CAMERA = Camera(33)
angle = st.one_of(st.floats(-3.1, 3.1), st.floats(-1e-7, 1e-7), st.just(0.0))
small = st.one_of(st.floats(-0.3, 0.3), st.floats(-1e-9, 1e-9), st.just(0.0))


@st.composite
def poses(draw: st.DrawFn) -> Pose:
    """Any rotation and translation, often close to the identity."""
    angles = torch.tensor([[draw(angle) for _ in range(3)]], dtype=torch.float64)
    return Pose.from_euler(angles, torch.tensor([[draw(small) for _ in range(3)]], dtype=torch.float64))


def assert_same(a: Pose, b: Pose) -> None:
    torch.testing.assert_close(a.rotation, b.rotation, rtol=0, atol=1e-12)
    torch.testing.assert_close(a.translation, b.translation, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(a=poses())
def test_rotations_stay_rotations(a: Pose) -> None:
    eye = torch.eye(3, dtype=torch.float64)[None]
    torch.testing.assert_close(a.rotation @ a.rotation.transpose(1, 2), eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.linalg.det(a.rotation), torch.ones(1, dtype=torch.float64))


@settings(deadline=None)
@given(a=poses(), b=poses())
def test_closure_and_order(a: Pose, b: Pose) -> None:
    points = torch.tensor([[[0.1, -0.2, 0.9], [0.0, 0.3, 1.2]]], dtype=torch.float64)
    both = a @ b
    torch.testing.assert_close(both.apply(points, CAMERA), a.apply(b.apply(points, CAMERA), CAMERA))
    torch.testing.assert_close(torch.linalg.det(both.rotation), torch.ones(1, dtype=torch.float64))


@settings(deadline=None)
@given(a=poses())
def test_identity_and_inverse(a: Pose) -> None:
    identity = Pose.identity(1, a.translation)
    assert_same(identity @ a, a)
    assert_same(a @ identity, a)
    assert_same(a @ a.inverse(), identity)
    assert_same(a.inverse() @ a, identity)
    assert_same(a.inverse().inverse(), a)


@settings(deadline=None)
@given(a=poses(), b=poses(), c=poses())
def test_associativity(a: Pose, b: Pose, c: Pose) -> None:
    assert_same((a @ b) @ c, a @ (b @ c))


@settings(deadline=None)
@given(pitch=st.floats(-3.1, 3.1), yaw=st.floats(-1.56, 1.56), roll=st.floats(-3.1, 3.1))
def test_euler_angles_come_back(pitch: float, yaw: float, roll: float) -> None:
    angles = torch.tensor([[pitch, yaw, roll]], dtype=torch.float64)
    torch.testing.assert_close(Pose.from_euler(angles).euler(), angles, rtol=0, atol=1e-7)


@pytest.mark.parametrize("yaw", [-math.pi / 2, math.pi / 2])
def test_euler_angles_of_a_locked_rotation_rebuild_it(yaw: float) -> None:
    pose = Pose.from_euler(torch.tensor([[0.4, yaw, -0.7]], dtype=torch.float64))
    again = Pose.from_euler(pose.euler())
    torch.testing.assert_close(again.rotation, pose.rotation, rtol=0, atol=1e-7)


def test_rotation_is_roll_after_yaw_after_pitch() -> None:
    """Against the product of the three textbook matrices about x, y and z."""
    a, b, c = 0.3, -0.8, 1.1
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    ours = Pose.from_euler(torch.tensor([[a, b, c]], dtype=torch.float64)).rotation[0]
    np.testing.assert_allclose(ours.numpy(), rz @ ry @ rx, atol=1e-15)


def seen_at(pose: Pose, depth: float, column: int = 16, row: int = 16) -> tuple[float, float]:
    """Where a point of the flat surface `depth`, at a pixel of the 33-pixel picture, goes (normalised x, y)."""
    flat = torch.full((1, 1, 33, 33), depth, dtype=torch.float64)
    x, y = forward_grid(flat, pose, CAMERA)[0, row, column].tolist()
    return x, y


def test_yaw_moves_near_points_left() -> None:
    assert seen_at(pose_deg(0, 10, 0), 0.9)[0] < -0.01
    assert seen_at(pose_deg(0, 10, 0), 1.1)[0] > 0.01


def test_pitch_moves_near_points_down() -> None:
    assert seen_at(pose_deg(10, 0, 0), 0.9)[1] > 0.01
    assert seen_at(pose_deg(10, 0, 0), 1.1)[1] < -0.01


def test_roll_turns_the_picture_clockwise() -> None:
    x, y = seen_at(pose_deg(0, 0, 90), 1.0, column=32)
    assert (x, y) == (pytest.approx(0, abs=1e-9), pytest.approx(1)), "what was right is now at the bottom"


def test_translation_comes_after_the_rotation_and_the_pivot_stays() -> None:
    pose = pose_deg(20, -40, 10, (0.01, -0.02, 0.05))
    moved = pose.apply(torch.tensor([[[0.0, 0.0, 1.0]]], dtype=torch.float64), CAMERA)
    torch.testing.assert_close(moved, torch.tensor([[[0.01, -0.02, 1.05]]], dtype=torch.float64))


def test_gradients_of_the_angles() -> None:
    angles = torch.tensor([[0.2, -0.5, 0.1], [1e-9, 0, 0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: Pose.from_euler(a).euler(), angles)
    points = torch.randn(1, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda a: Pose.from_euler(a).inverse().apply(points, CAMERA), angles)


def test_batches_of_one_go_with_any_batch() -> None:
    one = pose_deg(5, 6, 7, (0.1, 0, 0))
    many = Pose(torch.cat([pose_deg(k, 0, 0).rotation for k in range(3)]), torch.zeros(3, 3, dtype=torch.float64))
    assert (one @ many).batch == (many @ one).batch == 3
    assert one.apply(torch.zeros(3, 2, 2, 3, dtype=torch.float64), CAMERA).shape == (3, 2, 2, 3)
    assert many.apply(torch.zeros(1, 2, 2, 3, dtype=torch.float64), CAMERA).shape == (3, 2, 2, 3)
    assert_same(one.expand(4)[2], one)
    assert_same(many[-1], many[2:])
    assert len(many[torch.tensor([0, 2])]) == 2


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="pitch, yaw, roll"):
        Pose.from_euler(torch.zeros(3))
    with pytest.raises(ValueError, match="rotation"):
        Pose(torch.eye(3), torch.zeros(3))
    with pytest.raises(ValueError, match="rotation"):
        Pose(torch.eye(3)[None], torch.zeros(2, 3))
    with pytest.raises(ValueError, match="points"):
        pose_deg(0, 0, 0).apply(torch.zeros(4, 2), CAMERA)
    with pytest.raises(IndexError, match="outside"):
        pose_deg(0, 0, 0)[1]
