"""Rows that know nothing of the picture, against a loop over pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gan2shape.evaluate.baselines import average_depth, constant_depth
from gan2shape.evaluate.metrics import depth_mae, side


def test_the_average_is_over_the_other_pictures_that_show_the_object_there() -> None:
    rng = np.random.default_rng(0)
    depth, mask = rng.uniform(0.9, 1.1, (5, 1, 4, 4)), (rng.uniform(size=(5, 1, 4, 4)) < 0.4).astype(float)
    depth[mask == 0] = math.nan  # Whatever stands outside the masks must not matter.
    for leave_out in range(5):
        result = average_depth(torch.tensor(depth), torch.tensor(mask), leave_out)
        for row in range(4):
            for column in range(4):
                seen = [depth[i, 0, row, column] for i in range(5) if i != leave_out and mask[i, 0, row, column] > 0]
                expected = sum(seen) / len(seen) if seen else 1.1
                assert float(result[0, 0, row, column]) == pytest.approx(expected)


def test_a_picture_s_own_depth_is_not_known_to_its_average() -> None:
    depth, mask = torch.full((3, 1, 2, 2), 1.0), torch.ones(3, 1, 2, 2)
    depth[1] = 5.0
    assert torch.equal(average_depth(depth, mask, 1), torch.ones(1, 1, 2, 2))


def test_a_constant_has_the_spread_of_the_true_depth_s_logarithm() -> None:
    true = torch.tensor([[[[1.0, math.exp(0.1)], [math.exp(-0.1), 1.0]]]])
    flat, everywhere = constant_depth(true), torch.ones_like(true) > 0
    assert float(side(flat, true, everywhere)) == pytest.approx(math.sqrt(0.02 / 4), rel=1e-5)
    assert float(depth_mae(flat, true, everywhere)) == pytest.approx((math.exp(0.1) - math.exp(-0.1)) / 4, rel=1e-5)
