"""New views and relighting: composition of poses, frames of lights, the gain, and what the GAN is shown."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gan2shape.evaluate.metrics import erode
from gan2shape.evaluate.pictures import psnr
from gan2shape.evaluate.pose import in_canonical_axes
from gan2shape.evaluate.results import Prediction
from gan2shape.evaluate.views import (
    display,
    gain_of,
    input_albedo,
    lit_texture,
    new_views,
    relighting,
    relit_truth,
    turned_pose,
)
from gan2shape.render import Camera, Lighting, Pose, Scene, reproject
from tests.evaluate.heads import EXTRA_LIGHTS, EXTRA_POSES, POSE, SIZE, a_head, bump, lights, poses, the_answer
from tests.render.shapes import light, pose_deg

GOOD_DB, BAD_DB = 33.0, 25.0


def rotation(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """Rz Ry Rx from degrees, written out."""
    (cx, sx), (cy, sy), (cz, sz) = ((math.cos(math.radians(a)), math.sin(math.radians(a))) for a in (pitch, yaw, roll))
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return rz @ ry @ rx


def test_a_wanted_view_follows_the_predicted_pose_by_the_true_motion() -> None:
    predicted, true, wanted = (5, -20, 3), (-4, 10, 1), (8, 40, -2)
    shifts = ((0.01, 0.0, 0.0), (0.0, 0.02, 0.0), (-0.01, 0.01, 0.0))
    found = turned_pose(
        *(pose_deg(*angles, shift) for angles, shift in zip((predicted, true, wanted), shifts, strict=True))
    )
    point = np.array([0.05, -0.02, 0.97])
    pivot = np.array([0.0, 0.0, 1.0])
    seen = rotation(*predicted) @ (point - pivot) + pivot + shifts[0]
    frontal = np.linalg.inv(rotation(*true)) @ (seen - pivot - shifts[1]) + pivot
    expected = rotation(*wanted) @ (frontal - pivot) + pivot + shifts[2]
    moved = found.apply(torch.tensor(point)[None, None], Camera(SIZE))
    np.testing.assert_allclose(moved[0, 0].numpy(), expected, atol=1e-12)


def test_the_right_pose_turns_to_the_wanted_one_and_several_at_once() -> None:
    true, wanted = poses((3.0, 8.0, 1.0, 0.0, 0.0, 0.0)), poses(*EXTRA_POSES)
    found = turned_pose(true, true, wanted)
    torch.testing.assert_close(found.rotation, wanted.rotation)
    torch.testing.assert_close(found.translation, wanted.translation)


def test_display_values_are_cut_and_brightened() -> None:
    assert display(torch.tensor([-1.0, 0.0, 0.25, 1.0, 2.0])).tolist() == pytest.approx([0, 0, 0.25 ** (1 / 1.6), 1, 1])


def test_the_relit_truth_under_its_own_light_is_its_picture() -> None:
    item = a_head()
    again = relit_truth(item, item.lighting)  # type: ignore[arg-type]
    inside = (erode(item.mask) > 0).expand(-1, 3, -1, -1)
    assert item.image is not None
    assert float((again - item.image)[inside].abs().max()) < 0.06
    assert float(psnr(again / 2 + 0.5, item.image / 2 + 0.5, inside[:, :1])) > 40


def test_the_relit_truth_is_that_of_the_slow_loops() -> None:
    item, wanted = a_head(), lights(*EXTRA_LIGHTS)
    found = relit_truth(item, wanted)
    assert item.albedo is not None
    assert item.normal is not None
    for index, (row, column) in [(0, (15, 12)), (1, (20, 18)), (1, (9, 15))]:
        ambient, diffuse, *direction = EXTRA_LIGHTS[index]
        unit = np.array(direction) / np.linalg.norm(direction)
        cosine = max(0.0, float(item.normal[0, :, row, column].double().numpy() @ unit))
        for channel in range(3):
            linear = float(item.albedo[0, channel, row, column]) * (ambient + diffuse * cosine)
            expected = 2 * min(1.0, linear) ** (1 / 1.6) - 1
            assert float(found[index, channel, row, column]) == pytest.approx(expected, abs=1e-5)


def test_the_lit_texture_is_a_display_albedo_times_display_shading() -> None:
    prediction = the_answer()
    assert prediction.scene is not None
    texture = lit_texture(prediction, light(0.4, 0.5, (0.0, 0.0, 1.0)).to(torch.float32), 0.9)
    normal = prediction.scene.normals(Camera(SIZE))[0, :, 10, 20]
    shade = (0.4 + 0.5 * float(normal[2])) ** (1 / 1.6)
    expected = 0.9 * float(prediction.scene.albedo[0, 1, 10, 20] / 2 + 0.5) * shade * 2 - 1
    assert float(texture[0, 1, 10, 20]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("brightness", [1.0, 0.5, 0.8])
def test_the_gain_takes_the_brightness_out(brightness: float) -> None:
    assert float(gain_of(the_answer(brightness=brightness), a_head())) == pytest.approx(1 / brightness, rel=0.01)


def test_the_right_answer_looks_like_the_truth() -> None:
    for score in (new_views, relighting):
        plain, painted = score(the_answer(), a_head())
        assert painted is None
        assert plain.psnr > GOOD_DB
        assert plain.ssim > 0.95
        assert plain.coverage == 1
        dim, _ = score(the_answer(brightness=0.6), a_head())
        assert dim.psnr == pytest.approx(plain.psnr, abs=0.1)


def test_where_the_truth_looks_frontally_does_not_matter() -> None:
    """The same head with poses counted from another frame: only the motion between two views enters."""
    moved = a_head(origin=poses((10.0, -30.0, 5.0, 0.0, 0.004, 0.0)))
    one, other = new_views(the_answer(), a_head())[0], new_views(the_answer(), moved)[0]
    assert one.psnr == pytest.approx(other.psnr, abs=0.05)


def without_shape() -> Prediction:
    """A plane that wears the picture."""
    scene = the_answer().scene
    assert scene is not None
    return Prediction.of_scene(dataclasses.replace(scene, depth=torch.full_like(bump(), 1.0)), Camera(SIZE))


def with_light_painted_in() -> Prediction:
    """The right shape, but the input's light is in the albedo."""
    item = a_head()
    assert item.lighting is not None
    pose = poses((4.0, -12.0, 2.0, 0.001, -0.002, 0.0))
    right = the_answer()
    return the_answer(albedo=lit_texture(right, in_canonical_axes(item.lighting, pose)) / 2 + 0.5)


@pytest.mark.parametrize("wrong", [without_shape, with_light_painted_in])
def test_wrong_answers_look_less_like_it(wrong: object) -> None:
    prediction: Prediction = wrong()  # type: ignore[operator]
    for score in (new_views, relighting):
        right, other = score(the_answer(), a_head())[0], score(prediction, a_head())[0]
        assert other.psnr < right.psnr - 5
        assert other.psnr < BAD_DB + 5


def test_a_pose_turned_the_wrong_way_looks_less_like_it() -> None:
    mirrored = the_answer(pose=poses((4.0, 12.0, 2.0, 0.001, -0.002, 0.0)))
    assert new_views(mirrored, a_head())[0].psnr < new_views(the_answer(), a_head())[0].psnr - 30


def test_the_gan_is_shown_the_crude_rendering_and_judged_by_what_it_paints() -> None:
    shown: list[Tensor] = []

    def paint(crude: Tensor, poses: Pose, lights: Lighting) -> Tensor:
        shown.append(crude)
        return crude

    item = a_head()
    plain, painted = new_views(the_answer(), item, paint)
    assert painted is not None
    assert painted.psnr == pytest.approx(plain.psnr, abs=1e-4)
    assert painted.coverage is None
    assert shown[0].shape == (2, 3, SIZE, SIZE)
    assert float(shown[0].abs().max()) <= 1
    assert item.extra is not None
    true = item.extra[0].image
    _, perfect = new_views(the_answer(), item, lambda crude, poses, lights: true)
    assert perfect is not None
    assert perfect.psnr == pytest.approx(100)


@pytest.mark.parametrize(("score", "wanted"), [(new_views, EXTRA_POSES), (relighting, (POSE,))])
def test_the_gan_is_told_the_poses_and_lights_that_it_is_shown(score: Callable[..., object], wanted: tuple) -> None:
    """The true ones, as the canonical object has them: it stands as predicted, its lights turn with it."""
    told: list[tuple[Tensor, Pose, Lighting]] = []

    def paint(crude: Tensor, poses: Pose, lights: Lighting) -> Tensor:
        told.append((crude, poses, lights))
        return crude

    prediction, item = the_answer(), a_head(origin=poses((10.0, -30.0, 5.0, 0.0, 0.004, 0.0)))
    score(prediction, item, paint)
    ((crude, turned, shining),) = told
    expected = poses(*wanted)
    torch.testing.assert_close(turned.rotation, expected.rotation)
    torch.testing.assert_close(turned.translation, expected.translation, rtol=0, atol=1e-6)
    for index, (ambient, diffuse, *direction) in enumerate(EXTRA_LIGHTS):
        seen = rotation(*wanted[index % len(wanted)][:3]) @ shining.direction[index].numpy()
        np.testing.assert_allclose(seen, direction / np.linalg.norm(direction), atol=1e-6)
        assert [float(shining.ambient[index]), float(shining.diffuse[index])] == pytest.approx([ambient, diffuse])
    assert prediction.scene is not None
    texture = lit_texture(prediction, shining, gain_of(prediction, item))
    again = reproject(texture, prediction.scene.depth, turned, Camera(SIZE)).image.clamp(-1, 1)
    assert torch.equal(again, crude)


def test_what_is_not_covered_is_grey_and_counts() -> None:
    """A view shifted half out of the picture: coverage falls, and the hole costs."""
    item = a_head()
    away = Pose(poses(*EXTRA_POSES).rotation, torch.tensor([[0.06, 0.0, 0.0]] * 2))
    assert item.extra is not None
    moved = dataclasses.replace(item, extra=(dataclasses.replace(item.extra[0], pose=away),))
    plain, _ = new_views(the_answer(), moved)
    assert plain.coverage is not None
    assert 0.3 < plain.coverage < 0.9
    shown = reproject(
        bump(), bump(), turned_pose(poses((4.0, -12.0, 2.0, 0.001, -0.002, 0.0)), item.pose, away), Camera(SIZE)
    )  # type: ignore[arg-type]
    chosen = erode(item.mask)[0, 0] > 0
    expected = np.mean([float(mask[0][chosen].mean()) for mask in shown.mask])
    assert plain.coverage == pytest.approx(expected, abs=1e-5)


def test_a_result_of_twice_the_size_scores_alike() -> None:
    right = the_answer()
    assert right.scene is not None
    scene = right.scene

    def large(values: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(values, 2 * SIZE, mode="bilinear", align_corners=True)

    twice = Scene(large(scene.depth), large(scene.albedo), scene.pose, scene.lighting)
    prediction = Prediction.of_scene(twice, Camera(2 * SIZE))
    for score in (new_views, relighting):
        assert score(prediction, a_head())[0].psnr > GOOD_DB


def test_the_albedo_of_the_input_view() -> None:
    item = a_head()
    albedo, hit = input_albedo(the_answer(), SIZE)
    assert item.albedo is not None
    inside = (erode(item.mask) * hit > 0).expand(-1, 3, -1, -1)
    assert float((albedo - display(item.albedo))[inside].abs().max()) < 0.01


def test_what_is_missing_is_a_mistake_of_the_caller() -> None:
    flat = Prediction(torch.ones(1, 1, SIZE, SIZE), torch.ones(1, 1, SIZE, SIZE))
    for call in (new_views, relighting, gain_of):
        with pytest.raises(ValueError, match="scene"):
            call(flat, a_head())  # type: ignore[operator]
    with pytest.raises(ValueError, match="scene"):
        lit_texture(flat, lights(EXTRA_LIGHTS[0]))
    with pytest.raises(ValueError, match="albedo and normals"):
        relit_truth(dataclasses.replace(a_head(), albedo=None), lights(EXTRA_LIGHTS[0]))
