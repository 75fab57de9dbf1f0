from __future__ import annotations

import math

import pytest
import torch

from gan2shape.render import (
    Camera,
    DepthRange,
    Pose,
    canonical_grid,
    depth_to_vertices,
    forward_grid,
    grid_faces,
    render_textured,
    reproject,
    sample_image,
    view_depth,
)
from tests.render.shapes import bumpy_depth, pose_deg


def random_texture(size: int, channels: int = 3, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    rng = torch.Generator().manual_seed(5)
    return torch.rand(1, channels, size, size, generator=rng, dtype=torch.float64).to(dtype) * 2 - 1


def smooth_texture(size: int) -> torch.Tensor:
    """Colours that are a linear function of the place, which bilinear reading reproduces exactly."""
    u, v = (Camera(size).pixel_grid(torch.zeros((), dtype=torch.float64)) / (size - 1)).unbind(-1)
    return torch.stack((u, v, 0.5 - u * 0.3 + v * 0.2))[None]


def test_sampling_reads_between_pixels_by_hand() -> None:
    image = torch.tensor([[[[0.0, 1.0], [2.0, 5.0]]]])
    places = torch.tensor([[[[-1.0, -1.0], [1.0, 1.0], [0.0, -1.0], [0.0, 0.0], [-1.0, 0.5], [3.0, 0.0]]]])
    torch.testing.assert_close(sample_image(image, places)[0, 0, 0], torch.tensor([0.0, 5.0, 0.5, 2.0, 1.5, 0.0]))
    near = sample_image(image, torch.tensor([[[[0.2, -0.4]]]]), mode="nearest")
    assert near.item() == 1.0


def test_sampling_at_pixel_centres_returns_the_image() -> None:
    camera, image = Camera(11), random_texture(11)
    grid = camera.pixel_grid(image)[None] / 10 * 2 - 1
    torch.testing.assert_close(sample_image(image, grid), image)


@pytest.mark.parametrize("size", [8, 64, 128])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_identity_returns_texture_and_depth(size: int, dtype: torch.dtype) -> None:
    camera = Camera(size)
    depth, texture = bumpy_depth(camera).to(dtype), random_texture(size, dtype=dtype)
    seen = reproject(texture, depth, Pose.identity(1, depth), camera)
    assert (seen.mask == 1).all()
    tolerance = 1e-4 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(seen.depth, depth, rtol=0, atol=tolerance)
    torch.testing.assert_close(seen.image, texture, rtol=0, atol=tolerance)


def test_a_plane_turned_in_its_own_plane_is_a_turned_picture() -> None:
    """Roll by 90° clockwise turns rows into columns."""
    camera = Camera(16)
    depth, texture = torch.full((1, 1, 16, 16), 1.02, dtype=torch.float64), random_texture(16)
    seen = reproject(texture, depth, pose_deg(0, 0, 90), camera)
    torch.testing.assert_close(seen.image, torch.rot90(texture, -1, (2, 3)), rtol=0, atol=1e-6)


def test_a_shift_moves_the_picture_and_uncovers_background() -> None:
    camera = Camera(16)
    depth, texture = torch.ones(1, 1, 16, 16, dtype=torch.float64), random_texture(16)
    pose = pose_deg(0, 0, 0, (3 / camera.focal_px, 0.0, 0.0))
    seen = reproject(texture, depth, pose, camera)
    torch.testing.assert_close(seen.image[..., 3:], texture[..., :-3])
    assert (seen.mask[..., 3:] == 1).all()
    assert (seen.mask[..., :3] == 0).all()
    assert (seen.depth[..., :3] == DepthRange().hit_limit).all()


def test_a_slanted_view_of_a_plane_is_the_homography() -> None:
    """The view depth of a turned frontal plane, and the place each pixel came from, in closed form."""
    camera, turn = Camera(33), 40.0
    depth = torch.ones(1, 1, 33, 33, dtype=torch.float64)
    pose = pose_deg(0, turn, 0)
    seen = view_depth(depth, pose, camera)[0, 0]
    rays = camera.rays(depth)
    # The plane z = 1 turned by yaw about (0, 0, 1): its normal is (sin, 0, cos) and it contains the pivot.
    sine, cosine = math.sin(math.radians(turn)), math.cos(math.radians(turn))
    expected = cosine / (rays[..., 0] * sine + rays[..., 2] * cosine)
    along = (expected * rays[..., 0]) / cosine  # signed way along the plane from the pivot
    inside = (along.abs() * camera.focal_px < camera.centre_px - 0.01) & (seen < 1.2)
    assert inside.double().mean() > 0.6
    torch.testing.assert_close(seen[inside], expected[inside])
    back = canonical_grid(seen[None, None], pose, camera)[0]
    torch.testing.assert_close(back[..., 0][inside], (along * camera.focal_px / camera.centre_px)[inside])


def test_the_way_there_and_the_way_back_agree() -> None:
    """The view's depth read at a visible point's forward place leads back to that point."""
    camera = Camera(65)
    depth, pose = bumpy_depth(camera), pose_deg(8, -15, 4, (0.004, -0.002, 0.0))
    back = canonical_grid(view_depth(depth, pose, camera), pose, camera)
    home = sample_image(back.permute(0, 3, 1, 2), forward_grid(depth, pose, camera))[0].permute(1, 2, 0)
    own = camera.pixel_grid(depth) / 64 * 2 - 1
    inner = slice(8, -8)
    assert ((home - own)[inner, inner].abs() * 32).max() < 0.05, "less than a twentieth of a pixel"


def test_gradients_of_the_reprojection() -> None:
    camera = Camera(7)
    depth = bumpy_depth(camera).requires_grad_()
    texture = random_texture(7, channels=1).requires_grad_()
    angles = torch.tensor([[0.1, -0.3, 0.05], [-0.2, 0.21, 0.4]], dtype=torch.float64, requires_grad=True)
    shift = torch.tensor([[0.002, -0.001, 0.0], [0.001, 0.003, 0.01]], dtype=torch.float64, requires_grad=True)

    def image(t: torch.Tensor, d: torch.Tensor, a: torch.Tensor, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen = reproject(t, d, Pose.from_euler(a, s), camera)
        return seen.image, seen.depth

    assert torch.autograd.gradcheck(image, (texture, depth, angles, shift), eps=1e-7, atol=1e-5)


def test_the_mask_has_no_gradient_and_another_rasterizer_can_be_used() -> None:
    camera = Camera(8)
    depth = bumpy_depth(camera).requires_grad_()

    def nothing(vertices: torch.Tensor, faces: torch.Tensor, camera: Camera, **options: object) -> torch.Tensor:
        return vertices.new_full((vertices.shape[0], 1, camera.image_size, camera.image_size), 100.0)

    seen = reproject(random_texture(8), depth, pose_deg(0, 20, 0), camera)
    assert not seen.mask.requires_grad
    assert seen.depth.requires_grad
    assert (reproject(random_texture(8), depth, pose_deg(0, 20, 0), camera, rasterize=nothing).mask == 0).all()


def test_batches_of_one_go_with_many_poses() -> None:
    camera = Camera(12)
    angles = torch.tensor([[0.0, 0.2, 0], [0.1, -0.4, 0.3], [0, 0, 0]], dtype=torch.float64)
    poses = Pose.from_euler(angles)
    together = reproject(random_texture(12), bumpy_depth(camera), poses, camera)
    for k in range(3):
        alone = reproject(random_texture(12), bumpy_depth(camera), poses[k], camera)
        torch.testing.assert_close(together.image[k], alone.image[0])
        torch.testing.assert_close(together.depth[k], alone.depth[0])


def test_what_is_not_hit_is_known_at_any_depth() -> None:
    """A range whose limit lies behind the rasteriser's usual background."""
    camera, limits = Camera(12), DepthRange(60.0, 90.0)
    depth = torch.full((1, 1, 12, 12), 75.0)
    seen = reproject(
        random_texture(12, dtype=torch.float32), depth, pose_deg(0, 0, 45).to(torch.float32), camera, depth_range=limits
    )
    assert seen.mask[0, 0, 0, 0] == 0
    assert float(seen.depth[0, 0, 0, 0]) == limits.hit_limit == 105
    assert seen.mask[0, 0, 5:7, 5:7].min() == 1


def test_a_textured_mesh_shows_its_texture_through_the_uv_map() -> None:
    """The depth grid with uv = its own pixels is what reprojection shows, where the texture is linear."""
    camera = Camera(32)
    depth, texture, pose = bumpy_depth(camera), smooth_texture(32), pose_deg(10, -30, 5)
    vertices = pose.apply(depth_to_vertices(depth, camera), camera)
    uv = (camera.pixel_grid(depth) / 31 * 2 - 1).reshape(1, -1, 2)
    image, mask = render_textured(vertices, grid_faces(32, 32), uv, texture, camera)
    seen = reproject(texture, depth, pose, camera)
    assert torch.equal(mask, seen.mask)
    hit = mask.bool().expand_as(image)
    torch.testing.assert_close(image[hit], seen.image[hit], rtol=0, atol=2e-4)
    soft, soft_mask = render_textured(vertices, grid_faces(32, 32), uv, texture, camera, supersample=2)
    both = (soft_mask * mask).bool().expand_as(image)
    torch.testing.assert_close(soft[both], image[both], rtol=0, atol=0.02)


def test_gradient_of_a_textured_mesh() -> None:
    camera = Camera(6)
    vertices = pose_deg(10, -30, 5).apply(depth_to_vertices(bumpy_depth(camera), camera), camera).requires_grad_()
    uv = (camera.pixel_grid(vertices) / 5 * 1.3 - 0.7).reshape(1, -1, 2).requires_grad_()
    texture = random_texture(5, channels=1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v, p, t: render_textured(v, grid_faces(6, 6), p, t, camera)[0], (vertices, uv, texture), eps=1e-7
    )


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="grid"):
        sample_image(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, 3))
    with pytest.raises(ValueError, match="uv"):
        render_textured(
            torch.zeros(1, 4, 3), grid_faces(2, 2), torch.zeros(1, 4, 3), torch.zeros(1, 3, 2, 2), Camera(4)
        )
    with pytest.raises(ValueError, match="expected a map"):
        reproject(random_texture(8), bumpy_depth(Camera(9)), pose_deg(0, 0, 0), Camera(8))
