"""The hidden side of an object: what a pose shows is known of a step, and only the rest is painted."""

from __future__ import annotations

import math

import pytest
import torch

from gan2shape.reconstruct.hidden_side import completed, mirrored, reached, smooth, soft
from gan2shape.render import Camera, Lighting, Pose, Scene, normals_from_depth, shade
from gan2shape.render.warp import visible

SIZE, BEHIND = 32, 0.004
CAMERA = Camera(SIZE)
EVEN = Lighting(torch.full((1, 1), 0.5), torch.full((1, 1), 0.5), torch.tensor([[0.0, 0.0, 1.0]]))


def turned(yaw_deg: float) -> Pose:
    return Pose.from_euler(torch.tensor([[0.0, math.radians(yaw_deg), 0.0]]))


def ridge() -> torch.Tensor:
    """A plane with a roof along the middle columns, 0.06 high: steep enough to hide what is behind it."""
    x = torch.linspace(-1, 1, SIZE)
    return (1.02 - 0.06 * (1 - x.abs() / 0.3).clamp(min=0)).expand(1, 1, SIZE, SIZE).contiguous()


def scene(depth: torch.Tensor, pose: Pose) -> Scene:
    albedo = torch.zeros(1, 3, SIZE, SIZE)
    albedo[:, 0] = 0.4
    return Scene(depth, albedo, pose, EVEN)


def test_a_frontal_surface_is_seen_whole() -> None:
    seen = visible(torch.full((1, 1, SIZE, SIZE), 1.0), turned(0), CAMERA, behind=BEHIND).float()
    assert seen[..., 1:-1, 1:-1].min() == 1


@pytest.mark.parametrize("yaw_deg", [50.0, -50.0])
def test_a_roof_hides_what_lies_behind_it(yaw_deg: float) -> None:
    """A positive yaw moves near points left: the camera then looks at the right slope, and the left one is hidden."""
    seen = visible(ridge(), turned(yaw_deg), CAMERA, behind=BEHIND)[0, 0, SIZE // 2].float()
    left, right = seen[SIZE // 2 - 4 : SIZE // 2 - 1].mean(), seen[SIZE // 2 + 1 : SIZE // 2 + 4].mean()
    hidden, shown = (left, right) if yaw_deg > 0 else (right, left)
    assert hidden < 0.5 < shown
    assert shown == 1


def test_only_the_hidden_side_takes_the_painted_colours() -> None:
    depth, pose = ridge(), turned(50.0)
    front_albedo = torch.zeros(1, 3, SIZE, SIZE)
    front_albedo[:, 1] = 0.4
    front = shade(front_albedo, normals_from_depth(depth, CAMERA), EVEN)
    mask = torch.zeros(1, 1, SIZE, SIZE)
    mask[..., 4:-4, 6:-6] = 1
    whole = torch.ones_like(mask)
    result, outline = completed(scene(depth, pose), whole, front, mask, EVEN, CAMERA)
    seen = visible(depth, pose, CAMERA, behind=BEHIND).float()
    certain = soft(seen) == 1
    assert certain.any()
    torch.testing.assert_close(
        result.albedo[:, 0][certain[:, 0]], torch.full((int(certain.sum()),), 0.4), rtol=0, atol=1e-6
    )
    behind = (seen == 0)[0, 0, SIZE // 2] & (mask[0, 0, SIZE // 2] == 1)
    row = result.albedo[0, :, SIZE // 2, behind]
    assert row.shape[1] > 0
    assert (row[1] > row[0] - 0.5).all()  # The painted green, scaled to the brightness of the red.
    assert outline[0, 0, SIZE // 2, behind].min() == 1
    assert set(outline.unique().tolist()) <= {0.0, 1.0}


def test_without_a_generator_the_hidden_side_is_like_the_other() -> None:
    depth, pose = ridge(), turned(50.0)
    own = scene(depth, pose)
    own.albedo[:, 1] = torch.linspace(-0.5, 0.5, SIZE)
    result, outline = mirrored(own, torch.ones(1, 1, SIZE, SIZE), CAMERA)
    seen = visible(depth, pose, CAMERA, behind=BEHIND).float()
    certain = (soft(seen) == 1)[0, 0]
    torch.testing.assert_close(result.albedo[0, :, certain], own.albedo[0, :, certain])
    behind = (seen == 0)[0, 0] & (soft(seen.flip(-1)) == 1)[0, 0]
    assert behind.any()
    torch.testing.assert_close(result.albedo[0, :, behind], own.albedo.flip(-1)[0, :, behind])
    assert outline[0, 0, 4:-4, SIZE // 2 - 4 : SIZE // 2 + 4].min() == 1
    assert torch.equal(result.depth, own.depth)


def test_a_mask_of_one_side_is_the_outline_of_both() -> None:
    mask = torch.zeros(1, 1, SIZE, SIZE)
    mask[..., 6:-6, 10:30] = 1
    _, outline = mirrored(scene(torch.full((1, 1, SIZE, SIZE), 1.0), turned(0)), mask, CAMERA)
    assert outline[0, 0, 12, 4:-4].min() == 1
    assert outline[0, 0, 12, :1].max() == 0
    assert torch.equal(outline, outline.flip(-1))


def test_masks_lose_teeth_and_fade_inwards() -> None:
    mask = torch.zeros(1, 1, SIZE, SIZE)
    mask[..., 8:24, 8:24] = 1
    toothed = mask.clone()
    toothed[..., 9:24:2, 24:26] = 1
    assert smooth(toothed)[..., 10:22, 25].max() == 0
    assert torch.equal(smooth(mask)[..., 12:20, 8:24], mask[..., 12:20, 8:24])
    faded = soft(mask)
    assert (faded <= mask).all()
    assert faded[0, 0, 16, 16] == 1
    assert 0 <= faded[0, 0, 16, 8] < 0.5
    assert torch.equal(soft(torch.ones_like(mask)), torch.ones_like(mask))


def test_splinters_that_hang_together_with_nothing_are_left_out() -> None:
    start, within = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    start[..., 6:9, 6:9] = 1
    within[..., 4:12, 5:10] = 1
    within[..., 12, 10:16] = 1  # Touches a corner.
    within[..., 2:14, 1] = 1  # A splinter.
    expected = within.clone()
    expected[..., 1] = 0
    assert torch.equal(reached(start, within), expected)
    assert torch.equal(reached(torch.zeros_like(start), within), torch.zeros_like(start))
