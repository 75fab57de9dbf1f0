"""The solid: volumes and places that are known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gan2shape.export.voxels import Voxels, solid_voxels, write_voxels
from gan2shape.render import Camera

FAR = 1.1


@pytest.fixture
def box() -> tuple[Voxels, torch.Tensor]:
    """A frustum: rows 4…11 and columns 2…15 of 24, from depth 0.95 to the far plane; all other depth is nonsense."""
    mask = torch.zeros(1, 1, 24, 24)
    mask[..., 4:12, 2:16] = 1
    depth = torch.where(mask > 0, 0.95, 0.5)
    return solid_voxels(depth, mask, Camera(24), far=FAR), mask


def test_the_volume_of_a_frustum(box: tuple[Voxels, torch.Tensor]) -> None:
    voxels, _ = box
    pixel = math.tan(math.radians(5)) / 11.5  # Width of a pixel at depth 1.
    exact = 8 * 14 * pixel**2 * (FAR**3 - 0.95**3) / 3 * 10**3
    assert voxels.occupancy.sum().item() * voxels.spacing**3 == pytest.approx(exact, rel=0.02)


def test_the_place_and_the_order_of_the_axes(box: tuple[Voxels, torch.Tensor]) -> None:
    voxels, _ = box
    assert max(voxels.occupancy.shape) == 96
    z, y, x = (
        voxels.origin[axis] + voxels.spacing * index
        for axis, index in zip((2, 1, 0), voxels.occupancy.nonzero().T, strict=True)
    )
    pixel = math.tan(math.radians(5)) / 11.5 * 10
    tolerance = voxels.spacing
    assert z.max().item() == pytest.approx((1 - 0.95) * 10, abs=tolerance)
    assert z.min().item() == pytest.approx((1 - FAR) * 10, abs=tolerance)
    assert x.min().item() == pytest.approx((1.5 - 11.5) * pixel * FAR, abs=tolerance)
    assert x.max().item() == pytest.approx((15.5 - 11.5) * pixel * FAR, abs=tolerance)
    assert y.max().item() == pytest.approx(
        (11.5 - 3.5) * pixel * FAR, abs=tolerance
    )  # Above: the rows are the upper ones.
    assert y.min().item() == pytest.approx((11.5 - 11.5) * pixel, abs=tolerance)


def test_the_place_is_the_same_whatever_the_pivot(box: tuple[Voxels, torch.Tensor]) -> None:
    voxels, mask = box
    depth = torch.where(mask > 0, 0.95, 0.5)
    turned = solid_voxels(depth, mask, Camera(24, pivot_depth=1.04), far=FAR)
    assert torch.equal(turned.origin, voxels.origin)
    assert torch.equal(turned.occupancy, voxels.occupancy)


def test_a_ball_bulges_towards_the_viewer() -> None:
    steps = torch.arange(32.0)
    row, column = torch.meshgrid(steps, steps, indexing="ij")
    distance = torch.hypot(row - 15.5, column - 15.5)
    mask = (distance <= 12).float()[None, None]
    depth = (1.05 - 0.06 * (1 - (distance / 12) ** 2).clamp(min=0).sqrt())[None, None]
    voxels = solid_voxels(depth, mask, Camera(32), far=1.06)
    areas = voxels.occupancy.sum(dim=(1, 2))  # By z, which grows towards the viewer.
    assert (areas[1:] <= areas[:-1]).all()
    assert areas[-1] < areas[0] / 10
    assert torch.equal(voxels.occupancy, voxels.occupancy.flip(2))


def test_the_file(tmp_path: Path, box: tuple[Voxels, torch.Tensor]) -> None:
    voxels, _ = box
    write_voxels(tmp_path / "v.npz", voxels)
    with np.load(tmp_path / "v.npz", allow_pickle=False) as file:
        assert set(file) == {"occupancy", "origin", "spacing"}
        assert file["occupancy"].dtype == bool
        assert np.array_equal(file["occupancy"], voxels.occupancy.numpy())
        assert file["origin"].shape == (3,)
        assert float(file["spacing"]) == pytest.approx(voxels.spacing)


def test_an_empty_mask_counts_as_everything() -> None:
    depth = torch.full((1, 1, 24, 24), 1.0)
    voxels = solid_voxels(depth, torch.zeros_like(depth), Camera(24), far=FAR)
    assert voxels.occupancy.any()
