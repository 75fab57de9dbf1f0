"""Maps of twice or thrice the truth's size: what they become, and where."""

from __future__ import annotations

import pytest
import torch

from gan2shape.evaluate.resample import check_sizes, resample, resample_hits
from gan2shape.render import Camera


def test_maps_of_the_same_size_stay_as_they_are(rng: torch.Generator) -> None:
    maps = torch.rand(2, 3, 8, 8, generator=rng)
    assert torch.equal(resample(maps, 8), maps)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_plane_in_space_stays_where_it_is(factor: int) -> None:
    """Depth that is linear over the picture has at every size the same value along the same ray."""

    def plane(size: int) -> torch.Tensor:
        return 1 + 0.3 * Camera(size).rays(torch.zeros((), dtype=torch.float64))[None, None, ..., 0]

    small = resample(plane(16 * factor), 16)
    torch.testing.assert_close(small[..., 1:-1, 1:-1], plane(16)[..., 1:-1, 1:-1], atol=1e-12, rtol=0)
    # Samples outside the outermost rays take the border's value: a quarter of a pixel at most.
    step = float((plane(16)[0, 0, 0, 1] - plane(16)[0, 0, 0, 0]).abs())
    assert float((small - plane(16)).abs().max()) < step / 4


def test_a_pixel_is_the_mean_over_its_area(rng: torch.Generator) -> None:
    """Independent: bilinear interpolation by hand at 2 × 2 places in the pixel."""
    large = torch.rand(1, 1, 12, 12, generator=rng, dtype=torch.float64)
    small = resample(large, 6)

    def read(y: float, x: float) -> float:
        row, column = min(int(y), 10), min(int(x), 10)
        fy, fx = y - row, x - column
        a = large[0, 0]
        top = (1 - fx) * a[row, column] + fx * a[row, column + 1]
        bottom = (1 - fx) * a[row + 1, column] + fx * a[row + 1, column + 1]
        return float((1 - fy) * top + fy * bottom)

    for row, column in [(0, 0), (2, 3), (5, 1)]:
        places = [(row + dy, column + dx) for dy in (-0.25, 0.25) for dx in (-0.25, 0.25)]
        held = [[min(max(value, 0.0), 5.0) / 5 * 11 for value in place] for place in places]
        expected = sum(read(y, x) for y, x in held) / 4
        assert float(small[0, 0, row, column]) == pytest.approx(expected, abs=1e-9)


def test_a_pixel_is_hit_when_all_that_enters_it_is() -> None:
    hit = torch.ones(1, 1, 16, 16)
    hit[..., 5, 6] = 0
    small = resample_hits(hit, 8)
    assert float(small[0, 0, 2, 3]) == 0
    assert set(small.flatten().tolist()) == {0.0, 1.0}
    depth = torch.where(hit > 0, 1.0, 50.0)
    assert float(resample(depth, 8)[small > 0].max()) == pytest.approx(1, abs=1e-3)
    assert 56 <= int(small.sum()) < 64


@pytest.mark.parametrize("size, wanted", [(4, 8), (12, 8), (7, 8)])
def test_other_sizes_are_refused(size: int, wanted: int) -> None:
    message = f"expected maps of {wanted}x{wanted} as the truth, or a whole multiple; got {size}x{size}"
    with pytest.raises(ValueError, match=message):
        check_sizes(size, wanted)
    with pytest.raises(ValueError, match="whole multiple"):
        resample(torch.zeros(1, 1, size, size), wanted)
