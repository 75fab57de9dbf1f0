"""SIDE, MAD and the scored mask, against loops in float64 and analytic surfaces."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gan2shape.evaluate import erode, mad, scored_mask, side
from gan2shape.evaluate.metrics import albedo_error, angle_deg, depth_mae, log_depth_error, mad_mesh
from gan2shape.render import Camera

SIZE = 16
CAMERA = Camera(SIZE)


def slow_erode(mask: np.ndarray) -> np.ndarray:
    out = np.zeros_like(mask)
    for row in range(1, mask.shape[0] - 1):
        for column in range(1, mask.shape[1] - 1):
            out[row, column] = float(mask[row - 1 : row + 2, column - 1 : column + 2].min() > 0)
    return out


def slow_points(depth: np.ndarray) -> np.ndarray:
    centre = (depth.shape[0] - 1) / 2
    focal = centre / math.tan(math.radians(5))
    rows, columns = np.indices(depth.shape)
    return np.stack([(columns - centre) / focal * depth, (rows - centre) / focal * depth, depth], axis=-1)


def slow_normal(points: np.ndarray, row: int, column: int) -> np.ndarray:
    across = points[row, column + 1] - points[row, column - 1]
    down = points[row + 1, column] - points[row - 1, column]
    normal = np.cross(across, down)
    return normal / np.linalg.norm(normal)


def slow_scores(predicted: np.ndarray, true: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """SIDE and MAD in degrees of one picture, pixel by pixel."""
    differences, angles = [], []
    p, t = slow_points(predicted), slow_points(true)
    for row, column in zip(*np.nonzero(mask), strict=True):
        differences.append(math.log(predicted[row, column]) - math.log(true[row, column]))
        cosine = float(slow_normal(p, row, column) @ slow_normal(t, row, column))
        angles.append(math.degrees(math.acos(max(-1.0, min(1.0, cosine)))))
    mean = sum(differences) / len(differences)
    variance = sum((difference - mean) ** 2 for difference in differences) / len(differences)
    return math.sqrt(variance), sum(angles) / len(angles)


def random_depths(count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    smooth = torch.nn.functional.interpolate(
        torch.randn(2 * count, 1, 5, 5, generator=rng), SIZE, mode="bicubic", align_corners=True
    )
    depth = (1 + 0.02 * smooth).clamp(0.9, 1.1)
    return depth[:count], depth[count:]


def random_mask(count: int, rng: torch.Generator) -> Tensor:
    centre = 6 + 3 * torch.rand(count, 2, 1, 1, generator=rng)
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return (torch.hypot(rows - centre[:, 0], columns - centre[:, 1]) < 5.5).float()[:, None]


def test_erosion_keeps_pixels_with_all_eight_neighbours(rng: torch.Generator) -> None:
    masks = (torch.rand(4, 1, 12, 9, generator=rng) < 0.9).float()
    eroded = erode(masks)
    for mask, result in zip(masks, eroded, strict=True):
        np.testing.assert_array_equal(result[0].numpy(), slow_erode(mask[0].numpy()))
    assert 0 < float(eroded.mean()) < float(masks.mean())


def test_a_full_mask_loses_its_outermost_ring() -> None:
    assert float(erode(torch.ones(1, 1, 8, 8)).sum()) == 36


def test_scored_are_pixels_of_both_eroded_masks(rng: torch.Generator) -> None:
    true, hit = random_mask(3, rng), random_mask(3, rng)
    chosen = scored_mask(true, hit)
    assert chosen.dtype == torch.bool
    for index in range(3):
        expected = slow_erode(true[index, 0].numpy()) * slow_erode(hit[index, 0].numpy()) > 0
        np.testing.assert_array_equal(chosen[index, 0].numpy(), expected)


def test_a_picture_without_common_foreground_is_named() -> None:
    true, hit = torch.ones(3, 1, 8, 8), torch.ones(3, 1, 8, 8)
    hit[1] = 0
    with pytest.raises(ValueError, match="prediction and truth share no foreground in picture 1"):
        scored_mask(true, hit)


def test_side_and_mad_are_those_of_the_slow_loops(rng: torch.Generator) -> None:
    predicted, true = random_depths(4, rng)
    mask = scored_mask(random_mask(4, rng), random_mask(4, rng))
    sides, angles = side(predicted, true, mask), mad(predicted, true, mask, CAMERA)
    for index in range(4):
        expected = slow_scores(
            predicted[index, 0].double().numpy(), true[index, 0].double().numpy(), mask[index, 0].numpy()
        )
        assert float(sides[index]) == pytest.approx(expected[0], rel=1e-5)
        assert float(angles[index]) == pytest.approx(expected[1], rel=1e-3)


def test_side_does_not_change_with_the_scale(rng: torch.Generator) -> None:
    predicted, true = (depth.double() for depth in random_depths(2, rng))
    mask = scored_mask(random_mask(2, rng), torch.ones(2, 1, SIZE, SIZE))
    torch.testing.assert_close(side(1.37 * predicted, true, mask), side(predicted, true, mask))
    torch.testing.assert_close(side(predicted, 0.2 * true, mask), side(predicted, true, mask))
    assert float(side(predicted + 0.3, true, mask)[0]) != pytest.approx(float(side(predicted, true, mask)[0]), rel=1e-3)


def test_side_of_half_a_picture_at_another_depth() -> None:
    """With half the pixels off by a factor f, the standard deviation of the log is half of |log f|."""
    true = torch.ones(1, 1, SIZE, SIZE)
    predicted = true.clone()
    predicted[..., : SIZE // 2] = 1.05
    mask = torch.ones(1, 1, SIZE, SIZE, dtype=torch.bool)
    assert float(side(predicted, true, mask)) == pytest.approx(math.log(1.05) / 2, rel=1e-5)


def test_a_perfect_result_scores_zero(rng: torch.Generator) -> None:
    depth, _ = random_depths(2, rng)
    mask = scored_mask(random_mask(2, rng), random_mask(2, rng))
    assert side(depth, depth, mask).tolist() == [0, 0]
    assert float(mad(depth, depth, mask, CAMERA).max()) < 1e-4


def test_mad_between_a_frontal_and_a_tilted_plane_is_the_tilt() -> None:
    tilt = math.radians(20)
    slope = CAMERA.rays(torch.zeros(()).double())[..., 0]
    frontal = torch.ones(1, 1, SIZE, SIZE, dtype=torch.float64)
    tilted = (1 / (1 - math.tan(tilt) * slope))[None, None]  # z = 1 + tan(tilt) x
    mask = scored_mask(torch.ones(1, 1, SIZE, SIZE), torch.ones(1, 1, SIZE, SIZE))
    assert float(mad(tilted, frontal, mask, CAMERA)) == pytest.approx(20, abs=1e-4)


def test_what_lies_outside_the_mask_does_not_count(rng: torch.Generator) -> None:
    predicted, true = random_depths(1, rng)
    raw = random_mask(1, rng)
    mask = scored_mask(raw, raw)
    changed = torch.where(raw > 0, predicted, 7.0)
    assert torch.equal(side(changed, true, mask), side(predicted, true, mask))
    assert torch.equal(mad(changed, true, mask, CAMERA), mad(predicted, true, mask, CAMERA))


def test_published_normals_give_a_perfect_result_four_to_six_degrees() -> None:
    """At 64 px the original's normals are too short by 1e-7 over a length of about 1e-5, so that acos(n·n) > 0."""
    camera = Camera(64)
    steps = torch.linspace(-1, 1, 64)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    depth = (1.02 - 0.09 * (1 - (x / 0.8).square() - (y / 0.9).square()).clamp(min=0).sqrt())[None, None]
    mask = scored_mask((depth < 1.01).float(), torch.ones(1, 1, 64, 64))
    floor = float(mad(depth, depth, mask, camera, compat=True))
    assert 4 < floor < 6
    # A frontal plane at depth 1: tangents of two pixels each, so length (2 / focal)² and cosine (l / (l + 1e-7))².
    length = (2 / camera.focal_px) ** 2
    plane = torch.ones(1, 1, 64, 64)
    everywhere = scored_mask(plane, plane)
    expected = math.degrees(math.acos((length / (length + 1e-7)) ** 2))
    assert float(mad(plane, plane, everywhere, camera, compat=True)) == pytest.approx(expected, rel=2e-2)


def slow_angle(a: np.ndarray, b: np.ndarray) -> float:
    cosine = float(a @ b) / (math.sqrt(float(a @ a)) * math.sqrt(float(b @ b)))
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def test_angles_between_vectors_of_any_length(rng: torch.Generator) -> None:
    a, b = torch.randn(2, 5, 3, 4, generator=rng, dtype=torch.float64)
    angles = angle_deg(a, b)
    assert angles.shape == (5, 1, 4)
    for row in range(5):
        for column in range(4):
            expected = slow_angle(a[row, :, column].numpy(), b[row, :, column].numpy())
            assert float(angles[row, 0, column]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("degrees", [0.0, 1e-5, 30.0, 90.0, 179.0])
def test_a_known_turn_is_that_angle(degrees: float) -> None:
    radians = math.radians(degrees)
    turned = torch.tensor([[math.sin(radians), 0.0, math.cos(radians)]], dtype=torch.float64)
    assert float(angle_deg(turned, torch.tensor([[0.0, 0.0, 3.0]]))) == pytest.approx(degrees, abs=1e-9)


def test_mesh_normals_are_compared_pixel_by_pixel(rng: torch.Generator) -> None:
    depth, _ = random_depths(2, rng)
    mask = scored_mask(random_mask(2, rng), random_mask(2, rng))
    normals = torch.randn(2, 3, SIZE, SIZE, generator=rng)
    found = mad_mesh(depth, normals, mask, CAMERA)
    for index in range(2):
        points = slow_points(depth[index, 0].double().numpy())
        angles = [
            slow_angle(slow_normal(points, row, column), normals[index, :, row, column].double().numpy())
            for row, column in zip(*np.nonzero(mask[index, 0].numpy()), strict=True)
        ]
        assert float(found[index]) == pytest.approx(sum(angles) / len(angles), rel=1e-3)


def test_depth_mae_is_in_scene_units_and_not_rescaled(rng: torch.Generator) -> None:
    predicted, true = random_depths(2, rng)
    mask = scored_mask(random_mask(2, rng), random_mask(2, rng))
    found = depth_mae(predicted, true, mask)
    for index in range(2):
        p, t = (values[index, 0].double().numpy()[mask[index, 0].numpy()] for values in (predicted, true))
        expected = sum(abs(a - b) for a, b in zip(p, t, strict=True)) / len(p)
        assert float(found[index]) == pytest.approx(expected, rel=1e-5)
    assert depth_mae(true + 0.03, true, mask).tolist() == pytest.approx([0.03, 0.03], rel=1e-4)


def test_the_log_depth_error_is_what_side_is_the_spread_of(rng: torch.Generator) -> None:
    predicted, true = random_depths(2, rng)
    mask = scored_mask(random_mask(2, rng), random_mask(2, rng))
    error = log_depth_error(predicted, true, mask)
    assert torch.equal(error.isfinite(), mask)
    for index in range(2):
        inside = error[index][mask[index]].double()
        assert float(inside.mean()) == pytest.approx(0, abs=1e-7)
        assert float(inside.square().mean().sqrt()) == pytest.approx(
            float(side(predicted, true, mask)[index]), rel=1e-4
        )


def slow_albedo_error(predicted: np.ndarray, true: np.ndarray, mask: np.ndarray) -> float:
    squares = []
    for channel in range(3):
        pairs = [
            (float(predicted[channel, row, column]), float(true[channel, row, column]))
            for row, column in zip(*np.nonzero(mask), strict=True)
        ]
        scale = sum(p * t for p, t in pairs) / sum(p * p for p, _ in pairs)
        squares += [(scale * p - t) ** 2 for p, t in pairs]
    return math.sqrt(sum(squares) / len(squares))


def test_the_albedo_error_is_that_of_the_slow_loops(rng: torch.Generator) -> None:
    predicted, true = torch.rand(2, 3, 3, SIZE, SIZE, generator=rng)
    mask = random_mask(3, rng) > 0
    found = albedo_error(predicted, true, mask)
    for index in range(3):
        expected = slow_albedo_error(predicted[index].numpy(), true[index].numpy(), mask[index, 0].numpy())
        assert float(found[index]) == pytest.approx(expected, rel=1e-5)


def test_a_scaled_albedo_has_no_error_and_the_background_does_not_count(rng: torch.Generator) -> None:
    true = 0.2 + 0.6 * torch.rand(1, 3, SIZE, SIZE, generator=rng)
    mask = random_mask(1, rng) > 0
    scaled = true * torch.tensor([0.5, 1.3, 2.0]).view(1, 3, 1, 1)
    assert float(albedo_error(torch.where(mask, scaled, 7.0), true, mask)) == pytest.approx(0, abs=1e-6)
    black = torch.zeros_like(true)
    assert float(albedo_error(black, true, mask)) == pytest.approx(float(true[:, :, mask[0, 0]].square().mean().sqrt()))
