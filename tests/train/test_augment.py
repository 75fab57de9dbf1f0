"""Mirroring and shifting against loops over pictures."""

from __future__ import annotations

import pytest
import torch

from gan2shape.train.augment import sample_mirror, sample_shift


def _images(count: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, 6, 7, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_mirror_keeps_or_mirrors_each_picture_about_half_the_time() -> None:
    images = _images(400)
    result = sample_mirror(images, rng=torch.Generator().manual_seed(0))
    mirrored = 0
    for before, after in zip(images, result, strict=True):
        same = torch.equal(after, before)
        assert same or torch.equal(after, torch.stack([before[:, :, 6 - x] for x in range(7)], 2))
        mirrored += not same
    assert 160 < mirrored < 240  # Four standard deviations around 200.


def test_shift_moves_by_whole_pixels_and_repeats_the_border() -> None:
    images = _images(200)
    result = sample_shift(images, 2, rng=torch.Generator().manual_seed(0))
    seen = set()
    for before, after in zip(images, result, strict=True):
        found = []
        for down in range(-2, 3):
            for right in range(-2, 3):
                rows = [min(max(y + down, 0), 5) for y in range(6)]
                columns = [min(max(x + right, 0), 6) for x in range(7)]
                if torch.equal(after, before[:, rows][:, :, columns]):
                    found.append((down, right))
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == 25


def test_no_shift_and_the_same_seed() -> None:
    images = _images()
    assert sample_shift(images, 0, rng=torch.Generator()) is images
    twice = [sample_shift(images, 3, rng=torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(*twice)


@pytest.mark.parametrize("most", [-1, 6])
def test_impossible_shift(most: int) -> None:
    with pytest.raises(ValueError, match="most must be from 0 to 5"):
        sample_shift(_images(), most, rng=torch.Generator())
