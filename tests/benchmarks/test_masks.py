"""The script benchmarks/masks.py: how maskers are scored."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from gan2shape.errors import InputError
from tests.benchmarks.conftest import script


@pytest.fixture
def masks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("masks", monkeypatch)


def bright(image: Tensor) -> Tensor:
    """What is bright, and an error where nothing is."""
    if image.max() < 0:
        raise InputError("nothing here")
    return (image[:, :1] > 0).float()


def test_the_score_is_intersection_over_union_and_nothing_found_counts_as_zero(masks: ModuleType) -> None:
    images = np.zeros((3, 8, 8, 3), np.uint8)
    images[0, :4, :4] = images[1, :4, :4] = 255
    truth = np.zeros((3, 8, 8), bool)
    truth[0, :4, :4] = truth[2, :4, :4] = True
    truth[1, 2:6, :4] = True  # 8 pixels of either 16 are shared: 8 / 24.
    found = masks.measured(bright, images, truth, 2)
    assert found["per_picture"] == [1.0, 0.3333, 0.0]
    assert found["pictures 0-1"] == {"count": 2, "mean": 0.6667, "min": 0.3333, "below_0.9": 1}
    assert found["all pictures"]["mean"] == pytest.approx(4 / 9, abs=1e-4)


def test_the_picture_is_resized_before_it_is_timed(masks: ModuleType) -> None:
    sizes = []

    def looks(image: Tensor) -> Tensor:
        sizes.append(tuple(image.shape))
        return torch.ones_like(image[:, :1])

    assert masks.seconds_at(looks, np.full((8, 8, 3), 200, np.uint8), 32, repeats=2) >= 0
    assert sizes == [(1, 3, 32, 32)] * 3
