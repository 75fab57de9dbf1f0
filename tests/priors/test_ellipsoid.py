"""The ellipsoid against a loop over pixels, and against the sphere it is."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch

from gan2shape.errors import InputError
from gan2shape.priors import EllipsoidPrior


def _mask(size: int, top: int, bottom: int, left: int, right: int) -> torch.Tensor:
    mask = torch.zeros(1, 1, size, size, dtype=torch.float64)
    mask[..., top : bottom + 1, left : right + 1] = 1
    return mask


def _reference(
    size: int, box: tuple[float, float, float, float], near: float, far: float, forgotten: bool
) -> torch.Tensor:
    min_x, min_y, max_x, max_y = box
    radius, ratio = (max_x - min_x) / 2, (max_y - min_y) / (max_x - min_x)
    c_x, c_y = (min_x + max_x) / 2, (min_y + max_y) / 2
    depth = torch.full((1, 1, size, size), far, dtype=torch.float64)
    ball = 0.4
    tau = math.sqrt(ball**2 - (ball - (far - near)) ** 2)
    for i in range(size):
        for j in range(size):
            row = (i - size / 2) / ratio + size / 2
            middle = c_y if forgotten else (c_y - size / 2) / ratio + size / 2
            distance = math.hypot(row - middle, j - c_x)
            if distance <= radius:
                depth[0, 0, i, j] = ball - math.sqrt(abs(ball**2 - (distance / radius * tau) ** 2)) + near
    return depth


@pytest.mark.parametrize("compat", [False, True])
def test_equals_a_loop_over_pixels(compat: bool) -> None:
    mask = _mask(32, 4, 20, 9, 27)
    expected = _reference(32, (9, 4, 27, 20), 0.91, 1.02, forgotten=compat)
    assert torch.allclose(EllipsoidPrior(compat=compat).depth(mask), expected, atol=1e-12)


def test_compat_differs_only_for_boxes_off_the_middle_row() -> None:
    centred, displaced = _mask(33, 8, 24, 12, 20), _mask(33, 2, 18, 12, 20)
    plain, compat = EllipsoidPrior(), EllipsoidPrior(compat=True)
    # The image middle is taken at S/2, half a pixel off (S - 1)/2, hence a tolerance of a pixel's depth.
    assert (plain.depth(centred) - compat.depth(centred)).abs().mean() < 2e-3
    assert (plain.depth(displaced) - compat.depth(displaced)).abs().mean() > 5e-3


def test_nearest_at_the_centre_and_far_at_the_rim() -> None:
    depth = EllipsoidPrior().depth(_mask(65, 12, 52, 22, 42))[0, 0]
    assert depth[32, 32].item() == pytest.approx(0.91)
    rim = [depth[12, 32], depth[52, 32], depth[32, 22], depth[32, 42]]
    assert [value.item() for value in rim] == pytest.approx([1.02] * 4)
    assert (depth[:, :22] == 1.02).all()


def test_is_a_sphere_of_its_radius() -> None:
    """With the rim at τ from the axis, points (ρ-scaled distance, depth) lie on a circle of radius 0.4."""
    prior = EllipsoidPrior()
    depth = prior.depth(_mask(65, 12, 52, 12, 52))[0, 0, 32, 12:53]
    tau = math.sqrt(0.4**2 - (0.4 - 0.11) ** 2)
    across = torch.linspace(-tau, tau, 41, dtype=torch.float64)
    assert torch.allclose(torch.hypot(across, depth - (0.91 + 0.4)), torch.full_like(across, 0.4))


@pytest.mark.parametrize(
    ("prior", "box"),
    [
        (EllipsoidPrior(extend_above=1 / 6), (10, 17, 34, 50)),  # 36 px high: 6 more at the top, 23 - 6
        (EllipsoidPrior(extend_below=1 / 6), (10, 20, 34, 55)),
        (EllipsoidPrior(extend_below=-0.2), (10, 20, 34, 44)),
        (EllipsoidPrior(to_image_bottom=True, narrow=1 / 12), (12, 20, 32, 63)),
    ],
)
def test_box_adjustments(prior: EllipsoidPrior, box: tuple[float, ...]) -> None:
    top = 23 if prior.extend_above else 20
    bottom = 59 if prior.extend_above else 50
    got = prior.box(_mask(64, top, bottom, 10, 34))
    assert got[0] == pytest.approx(box[0])
    assert got[1] == pytest.approx(box[1])
    assert got[2] == pytest.approx(box[2])
    assert got[3] == pytest.approx(59 if prior.extend_above else box[3])


def test_threshold_decides_what_is_object() -> None:
    mask = _mask(32, 10, 20, 10, 20)
    mask[..., 5, :] = 0.69
    assert EllipsoidPrior().box(mask) == (10, 10, 20, 20)
    assert EllipsoidPrior(mask_threshold=0.6).box(mask) == (0, 5, 31, 20)


def test_empty_mask_is_told_in_words() -> None:
    with pytest.raises(InputError, match="shows no object"):
        EllipsoidPrior().depth(torch.full((1, 1, 16, 16), 0.5))


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="radius"):
        EllipsoidPrior(near=0.5, far=1.1)
    with pytest.raises(ValueError, match="leave no box"):
        EllipsoidPrior(narrow=0.5)
    with pytest.raises(ValueError, match=r"mask must be"):
        EllipsoidPrior().depth(torch.ones(2, 1, 8, 8))


def test_round_trips_through_json() -> None:
    prior = EllipsoidPrior(extend_above=0.25, compat=True)
    assert EllipsoidPrior(**json.loads(json.dumps(dataclasses.asdict(prior)))) == prior
