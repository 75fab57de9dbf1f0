"""Vertices and normals."""

from __future__ import annotations

import numpy as np
import torch

from gan2shape.data.mesh import CENTRE_CM, SCENE_PER_CM, HeadMesh, unit
from tests.data.small import RADIUS_CM, sphere_model


def test_vertices_are_the_linear_model_in_camera_axes() -> None:
    model = sphere_model(shapes=1.0)
    mesh = HeadMesh.of(model)
    rng = np.random.default_rng(0)
    identity, expression = rng.normal(size=(11, 3)), rng.uniform(size=(11, 5))
    vertices = mesh.vertices(torch.from_numpy(identity).float(), torch.from_numpy(expression).float())
    assert vertices.shape == (11, 3, mesh.vertex_count)
    for head in (0, 10):
        slow = model.mean.astype(np.float64)
        for weight, mode in zip(
            (*identity[head], *expression[head]), (*model.identity, *model.expression), strict=True
        ):
            slow = slow + weight * mode
        slow = (slow - CENTRE_CM) * SCENE_PER_CM * [1, -1, -1]
        np.testing.assert_allclose(vertices[head].T.numpy(), slow, atol=2e-7)


def test_heads_do_not_depend_on_their_company() -> None:
    mesh = HeadMesh.of(sphere_model(shapes=1.0))
    rng = torch.Generator().manual_seed(0)
    identity, expression = torch.randn(19, 3, generator=rng), torch.rand(19, 5, generator=rng)
    together = mesh.vertices(identity, expression)
    for index in (0, 7, 18):
        here = slice(index, index + 1)
        assert torch.equal(mesh.vertices(identity[here], expression[here])[0], together[index])


def test_normals_of_a_ball_point_to_its_middle() -> None:
    model = sphere_model(rows=24, columns=32)
    mesh = HeadMesh.of(model)
    vertices = mesh.vertices(torch.zeros(1, 3), torch.zeros(1, 5))
    ball = vertices[0, :, : 23 * 32 + 2]
    wanted = -ball / (RADIUS_CM * SCENE_PER_CM)
    angle = torch.rad2deg(torch.acos((mesh.normals(vertices)[0, :, : ball.shape[1]] * wanted).sum(0).clamp(-1, 1)))
    assert angle.max() < 1.5
    nearest = ball[2].argmin()
    assert mesh.normals(vertices)[0, 2, nearest] > 0.99  # +z away from the camera


def test_chart_of_eyes_and_face() -> None:
    model = sphere_model()
    chart = HeadMesh.of(model).chart
    eyes = torch.from_numpy(model.part >= 2)
    assert (chart[5][~eyes] == 0).all()
    assert set(chart[5][eyes].tolist()) == {1.0, 2.0}
    assert chart[3:5][:, eyes].norm(dim=0).max() <= 1.5 + 1e-5
    assert torch.equal(chart[2] == 1, torch.from_numpy(model.part == 0))
    assert chart[0].max() <= 0.5


def test_unit_keeps_what_has_no_direction() -> None:
    vectors = torch.tensor([[[3.0, 0.0], [0.0, 0.0], [4.0, 0.0]]])
    assert torch.allclose(unit(vectors), torch.tensor([[[0.6, 0.0], [0.0, 0.0], [0.8, 0.0]]]))
