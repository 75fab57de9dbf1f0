"""The training from turned views where everything is known: rendered heads, and networks that say what is planted."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan2shape.render import Lighting, Pose, normals_from_depth, reproject, shade
from gan2shape.train.turned import TurnedTask, TurnedViews
from tests.train.turnable import YAW_DEG, Heads, LinearEncoder, head, task, texture, views_of


@pytest.fixture(scope="module")
def views() -> TurnedViews:
    return views_of(LinearEncoder(Heads()), count=4)


class Says(nn.Module):
    """A network that says the planted numbers, one row for all pictures or one for each."""

    def __init__(self, *rows: tuple[float, ...]) -> None:
        super().__init__()
        self.rows = torch.tensor(rows)

    def forward(self, image: Tensor) -> Tensor:
        """Rows (B, N)."""
        return self.rows.expand(len(image), -1)


def knowing(
    pictures: TurnedViews, depth: Callable[[Tensor], Tensor], pose: Says | None = None, light: Says | None = None
) -> TurnedTask:
    """A training whose networks say what is planted: by default no pose beside the yaw, and even light."""
    run = task(pictures)
    run.network.depth = depth
    run.network.view_net = pose or Says((0.0,) * 6)
    run.network.light_net = light or Says((0.0,) * 4)
    return run


def rendered(*yaws_deg: float, pitches_deg: tuple[float, ...] = (0.0, 0.0)) -> tuple[Tensor, Tensor, Tensor]:
    """A head under these yaws, always under light from the camera: pictures, their masks, its canonical depth."""
    camera = Heads().camera
    albedo = texture(torch.tensor([[0.5, -0.5, 0.2]]), 16) - 0.2
    albedo = albedo + 0.3 * torch.linspace(-1, 1, 16)  # Not alike on both sides.
    depth, mask = head(camera)
    seen = []
    for yaw, pitch in zip(yaws_deg, pitches_deg, strict=True):
        pose = Pose.from_euler(torch.deg2rad(torch.tensor([[pitch, yaw, 0.0]])))
        half = torch.tensor([[0.5]])
        # The third row of a rotation is what it turns into (0, 0, 1), the light's way in the camera's frame.
        lit = shade(albedo, normals_from_depth(depth, camera), Lighting(half, half, pose.rotation[:, 2])).clamp(-1, 1)
        seen.append(reproject(torch.cat([lit, mask], 1), depth, pose, camera))
    pictures = torch.cat([one.image[:, :3] for one in seen])
    return pictures, torch.cat([(one.image[:, 3:] * one.mask > 0.5).float() for one in seen]), depth


def as_batch(pictures: Tensor, masks: Tensor, *yaws_deg: float) -> dict[str, Tensor]:
    """One picture and one view of it."""
    turn = torch.tensor(yaws_deg) / YAW_DEG
    return {
        "image": pictures[:1],
        "view": pictures[None, 1:],
        "mask": masks[:1],
        "turn": turn[:1],
        "view_turn": turn[None, 1:],
    }


@pytest.mark.parametrize("yaws_deg", [(8.0, -14.0), (-12.0, 4.0), (-6.0, 18.0)])
def test_the_right_depth_yaws_and_lights_explain_a_view(views: TurnedViews, yaws_deg: tuple[float, float]) -> None:
    pictures, masks, depth = rendered(*yaws_deg)
    one, two = yaws_deg

    @torch.no_grad()
    def error(shape: Tensor, *told_deg: float, light: Says | None = None) -> float:
        run = knowing(views, lambda image: shape, light=light)
        return float(run.losses(as_batch(pictures, masks, *told_deg), 0)["views"])

    right = error(depth, one, two)
    assert right < 0.04
    assert error(depth, -one, -two) > 3 * right  # Of the other sign.
    assert error(depth, two, one) > 3 * right
    assert error(depth, one, one) > 3 * right
    assert error(depth, one, (one + two) / 2) > 2 * right
    assert error(depth, one + 15, two + 15) > 1.3 * right  # Their difference is right, not where they are frontal.
    assert error(torch.full_like(depth, 1.02), one, two) > 3 * right
    assert error(2.0 - depth, one, two) > 3 * right  # Hollow.
    assert error(depth, one, two, light=Says((0.0, 0.0, 0.8, 0.0), (0.0, 0.0, -0.8, 0.0))) > 3 * right


def test_the_rest_of_the_pose_is_the_view_networks(views: TurnedViews) -> None:
    pictures, masks, depth = rendered(-5.0, 12.0, pitches_deg=(10.0, -8.0))

    @torch.no_grad()
    def error(*pitches_deg: float) -> float:
        pose = Says(*((pitch / 60, 0.7, 0.0, 0.0, 0.0, 0.0) for pitch in pitches_deg))  # What yaw it says is no matter.
        run = knowing(views, lambda image: depth, pose)
        return float(run.losses(as_batch(pictures, masks, -5.0, 12.0), 0)["views"])

    right = error(10.0, -8.0)
    assert right < 0.05
    assert error(0.0, 0.0) > 2.5 * right
    assert error(-10.0, 8.0) > 2.5 * right


def test_mirrored_batches_have_opposite_turns(views: TurnedViews) -> None:
    pictures, masks, depth = rendered(-6.0, 12.0)
    batch = as_batch(pictures, masks, -6.0, 12.0)
    tilted = depth + 0.01 * torch.linspace(-1, 1, 16)  # So that the depth is not its own mirror image.
    run = knowing(views, lambda picture: tilted if torch.equal(picture, batch["image"]) else tilted.flip(-1))
    run.pictures = lambda start, count: batch
    run.settle = 0
    taken: list[dict[str, Tensor]] = []

    def losses(batch: dict[str, Tensor], index: int) -> dict[str, Tensor]:
        taken.append({name: values.clone() for name, values in batch.items()})
        return TurnedTask.losses(run, batch, index)

    run.losses = losses
    run.update = lambda terms, index: {name: value.item() for name, value in terms.items()}
    numbers = [run.step(index) for index in range(12)]
    plain = [torch.equal(one["image"], batch["image"]) for one in taken]
    assert 2 <= sum(plain) <= 10
    for one, same, number in zip(taken, plain, numbers, strict=True):
        for name, values in batch.items():
            expected = values if same else -values if values.ndim < 3 else values.flip(-1)
            assert torch.equal(one[name], expected)
        assert number["total"] == pytest.approx(numbers[0]["total"], rel=0.1)  # Triangles differ a little.


def test_far_views_do_not_count(views: TurnedViews) -> None:
    pictures, masks, depth = rendered(-10.0, 15.0)
    run = knowing(views, lambda image: depth)
    terms = run.losses(as_batch(pictures, masks, -10.0, 31.0), 0)
    assert terms["views"].item() == 0
    assert torch.isfinite(terms["total"])
    assert run.losses(as_batch(pictures, masks, -10.0, 29.0), 0)["views"].item() > 0.05


def test_predicted_is_the_depth_of_the_view(views: TurnedViews) -> None:
    camera = Heads().camera
    depth, _ = head(camera)
    run = knowing(views, lambda image: depth, Says((0.0, 0.3, 0.0, 0.0, 0.0, 0.0)))  # 18 degrees.
    seen, hit = run.predict(torch.zeros(1, 3, 16, 16))
    assert (seen.shape, hit.shape) == ((1, 1, 16, 16), (1, 1, 16, 16))
    cos, sin, pivot = math.cos(math.radians(18)), math.sin(math.radians(18)), camera.pivot_depth
    x, _, z = (depth[0, 0, :, :, None] * camera.rays(depth)).unbind(-1)
    across, far = cos * x + sin * (z - pivot), cos * (z - pivot) - sin * x + pivot
    columns = (across / far / math.tan(math.radians(5)) + 1) * 7.5
    errors = []
    for row in range(1, 15):  # Rows move up and down by less than a tenth of a pixel.
        expected = np.interp(np.arange(16), columns[row], far[row], left=np.nan, right=np.nan)
        got = np.where(hit[0, 0, row] > 0, seen[0, 0, row], np.nan)
        assert np.array_equal(np.isnan(got), np.isnan(expected))
        errors.append(np.abs(got - expected))
    assert np.isnan(errors).any()
    assert np.nanmedian(errors) < 5e-4
    assert np.nanquantile(errors, 0.9) < 5e-3
