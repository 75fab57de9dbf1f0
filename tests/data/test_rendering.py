"""Pictures of a ball, whose depth, normals and shading are known."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from gan2shape.data.draws import Drawn, draw_heads, draw_views
from gan2shape.data.look import DETAILED, PLAIN, Look
from gan2shape.data.mesh import SCENE_PER_CM, HeadMesh
from gan2shape.data.model import HeadModel
from gan2shape.data.rendering import GAMMA, render_heads
from gan2shape.render import Camera
from tests.data.small import NAMES, RADIUS_CM, sphere_model

SIZE = 32
RADIUS = RADIUS_CM * SCENE_PER_CM


def render(
    model: HeadModel, look: Look = PLAIN, count: int = 2, size: int = SIZE, **views: Tensor
) -> dict[str, Tensor]:
    """Heads 0 to count - 1 with some numbers of their views put in place of the drawn ones."""
    heads, drawn = draw_heads(1, range(count), 3, NAMES), draw_views(1, range(count))
    placed = Drawn({k: views[k].expand_as(v) if k in views else v for k, v in drawn.values.items()})
    pictures = render_heads(HeadMesh.of(model), heads, torch.arange(count), placed, Camera(size), look)
    return pictures | {f"drawn_{name}": value for name, value in placed.values.items()}


@pytest.fixture(scope="module")
def ball() -> dict[str, Tensor]:
    zero = torch.zeros(1, 3)
    return render(sphere_model(rows=96, columns=128), translation=zero)


def true_ball(size: int) -> tuple[Tensor, Tensor]:
    """Depth (S, S) of the ball about (0, 0, 1), NaN beside it, and normals (3, S, S) with +z away from the camera."""
    camera = Camera(size)
    steps = (torch.arange(size, dtype=torch.float64) - camera.centre_px) / camera.focal_px
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    # |t (x, y, 1) - (0, 0, 1)| = R, nearer root.
    a = x * x + y * y + 1
    depth = (1 - (1 - a * (1 - RADIUS**2)).sqrt()) / a
    points = torch.stack([x * depth, y * depth, depth - 1])
    return depth, -points / RADIUS


def test_depth_normals_and_mask_of_a_ball(ball: dict[str, Tensor]) -> None:
    depth, normal = true_ball(SIZE)
    mask = ball["mask"][0, 0] > 0
    share = float(depth.isfinite().double().mean())
    assert float(mask.double().mean()) == pytest.approx(share, abs=0.02)
    inside = mask & (normal[2] > 0.5)
    # The mesh's triangles lie up to R (1 - cos(pi / 96)) inside the ball, and the mean of four samples lies behind the
    # pixel's centre by (quarter of a pixel)² / R / cos³, which is 2e-4 at 60°.
    assert (ball["depth"][0, 0] - depth)[inside].abs().max() < 3e-4
    cosine = (ball["normal"][0] * normal).sum(0)[inside]
    assert torch.rad2deg(torch.acos(cosine.clamp(-1, 1))).max() < 1.0
    for name in ("depth", "normal", "albedo"):
        assert (ball[name][0][:, ~mask] == 0).all(), name
    assert torch.allclose(ball["normal"][0].norm(dim=0)[mask], torch.ones(int(mask.sum())))


def test_shading_is_that_of_the_method(ball: dict[str, Tensor]) -> None:
    _, normal = true_ball(SIZE)
    smooth = normal[2] > 0.6
    for index in range(2):
        facing = torch.einsum("c,chw->hw", ball["drawn_light"][index].double(), normal).clamp(min=0)
        brightness = ball["drawn_ambient"][index] + ball["drawn_diffuse"][index] * facing
        wanted = (ball["albedo"][index] * brightness).clamp(0, 1) ** (1 / GAMMA) * 2 - 1
        error = (ball["image"][index] - wanted).abs()[:, smooth]
        assert error.mean() < 0.01  # Edges of colours within a pixel are all that remains.
        assert error.median() < 2e-3


def test_background_runs_between_its_two_colours(ball: dict[str, Tensor]) -> None:
    for index in range(2):
        first, second = ball["drawn_background"][index]
        angle = float(ball["drawn_background_angle"][index])
        for row, column in ((0, 0), (0, SIZE - 1), (SIZE - 1, 0)):
            # The mean of the pixel's four samples lies at its centre, samples running from -1 to 1.
            x, y = (2 * (2 * place + 0.5) / (2 * SIZE - 1) - 1 for place in (column, row))
            share = min(max(0.5 + 0.5 * (x * math.cos(angle) + y * math.sin(angle)), 0), 1)
            wanted = (first + (second - first) * share) ** (1 / GAMMA) * 2 - 1
            assert torch.allclose(ball["image"][index, :, row, column], wanted, atol=0.01)


def centroid(mask: Tensor) -> tuple[float, float]:
    rows, columns = (mask[0] > 0).nonzero().double().mean(0)
    return float(columns), float(rows)


def test_poses_have_the_signs_of_the_method() -> None:
    # A ball that sticks out in front, towards the camera, as a nose does.
    model = sphere_model(offset=(0.0, 0.0, 6.0))
    at = {
        name: centroid(
            render(model, count=1, view=torch.tensor([angles]), translation=torch.zeros(1, 3), size=SIZE)["mask"][0]
        )
        for name, angles in (("none", [0.0, 0, 0]), ("pitch", [15.0, 0, 0]), ("yaw", [0.0, 15, 0]))
    }
    assert at["none"] == pytest.approx(((SIZE - 1) / 2, (SIZE - 1) / 2), abs=0.3)
    assert at["yaw"][0] < at["none"][0] - 1  # Near points move left,
    assert at["pitch"][1] > at["none"][1] + 1  # and down.
    side = sphere_model(offset=(4.0, 0.0, 0.0))
    upright, rolled = (
        centroid(render(side, count=1, view=torch.tensor([[0.0, 0, r]]), translation=torch.zeros(1, 3))["mask"][0])
        for r in (0.0, 30.0)
    )
    assert upright[0] > (SIZE - 1) / 2 + 1
    assert rolled[1] > upright[1] + 1  # Clockwise.


def test_shift_moves_the_picture() -> None:
    shift = 0.01
    still, moved = (
        centroid(render(sphere_model(), count=1, translation=torch.tensor([[s, 0.0, 0.0]]))["mask"][0])
        for s in (0.0, shift)
    )
    assert moved[0] - still[0] == pytest.approx(shift * Camera(SIZE).focal_px, abs=0.2)
    assert moved[1] == pytest.approx(still[1], abs=0.2)


def test_the_look_changes_what_it_says() -> None:
    model = sphere_model(rows=40, columns=60)
    zero, from_above = torch.zeros(1, 3), torch.tensor([[60.0, 0.0, 0.0]])
    plain = render(model, count=6, view=from_above, translation=zero)
    volume = render(model, dataclasses.replace(PLAIN, hair_volume_cm=1.0), count=6, view=from_above, translation=zero)
    assert float(volume["mask"].sum()) > float(plain["mask"].sum())
    both = (plain["mask"] > 0) & (volume["mask"] > 0)
    nearer = (plain["depth"] - volume["depth"])[both]
    assert (nearer > 1e-3).float().mean() > 0.1
    assert (nearer < -1e-3).float().mean() < 0.03  # At the very edge a pixel may gain samples that are farther away.
    waves = render(model, dataclasses.replace(PLAIN, background_waves=0.05), count=6, view=from_above, translation=zero)
    assert torch.equal(waves["depth"], plain["depth"])
    changed = (waves["image"] - plain["image"]).abs().amax(1, keepdim=True) > 1e-3
    assert not changed[plain["mask"] > 0].float().mean() > 0.1
    assert changed[plain["mask"] == 0].float().mean() > 0.5
    soft = render(model, dataclasses.replace(PLAIN, wrap=0.3), count=6, view=from_above, translation=zero)
    assert torch.equal(soft["albedo"], plain["albedo"])
    assert (soft["image"] - plain["image"]).min() > -1e-5
    assert render(model, DETAILED)["image"].isfinite().all()


def test_heads_and_views_are_told_apart() -> None:
    mesh = HeadMesh.of(sphere_model(shapes=1.0))
    heads, views = draw_heads(1, range(2), 3, NAMES), draw_views(1, range(3))
    owner = torch.tensor([1, 0, 1])
    together = render_heads(mesh, heads, owner, views, Camera(SIZE))
    for index in range(3):
        one = slice(index, index + 1)
        head = heads.select(owner[one])
        alone = render_heads(mesh, head, torch.zeros(1, dtype=torch.int64), views.select(one), Camera(SIZE))
        for name, value in alone.items():
            assert torch.equal(value[0], together[name][index]), name
