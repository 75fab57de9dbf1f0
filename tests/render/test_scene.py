from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gan2shape.render import Camera, Lighting, Pose, Scene, mirror, normals_from_depth, render, shade
from tests.render.shapes import bumpy_depth, light, pose_deg


def a_scene(size: int = 24, *, angles_deg: tuple[float, float, float] = (5, -20, 3), seed: int = 0) -> Scene:
    """A lit bump with a random albedo, float64."""
    rng = torch.Generator().manual_seed(seed)
    albedo = torch.rand(1, 3, size, size, generator=rng, dtype=torch.float64) * 2 - 1
    return Scene(bumpy_depth(Camera(size)), albedo, pose_deg(*angles_deg), light(0.4, 0.5, (0.3, 0.2, 1)))


def assert_same(a: Scene, b: Scene) -> None:
    torch.testing.assert_close(a.depth, b.depth, rtol=0, atol=0)
    torch.testing.assert_close(a.albedo, b.albedo, rtol=0, atol=0)
    torch.testing.assert_close(a.pose.rotation, b.pose.rotation, rtol=0, atol=0)
    torch.testing.assert_close(a.lighting.direction, b.lighting.direction, rtol=0, atol=0)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), size=st.integers(3, 16))
def test_mirroring_twice_changes_nothing(seed: int, size: int) -> None:
    scene = a_scene(size, seed=seed)
    assert_same(mirror(mirror(scene)), scene)


def test_a_mirrored_scene_from_the_mirrored_side_is_the_mirrored_picture() -> None:
    """Flip the object, the light and the motion: the picture flips."""
    camera, scene = Camera(24), a_scene(angles_deg=(5, -20, 3))
    flipped = mirror(scene).with_(pose=pose_deg(5, 20, -3), lighting=light(0.4, 0.5, (-0.3, 0.2, 1)))
    original, mirrored = render(scene, camera), render(flipped, camera)
    # The diagonals of the cells do not flip, so that the surfaces differ a little between the vertices.
    hit = (original.mask * mirrored.mask.flip(-1)).bool()
    assert hit.double().mean() > 0.5
    depth_error = (original.depth - mirrored.depth.flip(-1)).abs()[hit]
    assert depth_error.median() < 1e-4
    image_error = (original.image - mirrored.image.flip(-1)).abs()[hit.expand_as(original.image)]
    assert image_error.median() < 0.01


def test_the_identity_view_is_the_lit_albedo() -> None:
    camera = Camera(24)
    scene = a_scene(angles_deg=(0, 0, 0))
    texture = shade(scene.albedo, normals_from_depth(scene.depth, camera), scene.lighting)
    torch.testing.assert_close(scene.texture(camera), texture)
    torch.testing.assert_close(render(scene, camera).image, texture.clamp(-1, 1), rtol=0, atol=1e-9)


def test_the_picture_stays_in_range() -> None:
    scene = a_scene()
    glaring = scene.with_(lighting=light(1, 1, (0, 0, 1)))
    assert glaring.texture(Camera(24)).max() > 1
    assert render(glaring, Camera(24)).image.max() == 1


def test_the_light_moves_with_the_object() -> None:
    """Under another pose, a point keeps its brightness."""
    camera = Camera(48)
    grey = Scene(
        bumpy_depth(camera), torch.zeros(1, 3, 48, 48, dtype=torch.float64), pose_deg(0, 0, 0), a_scene().lighting
    )
    still, turned = render(grey, camera), render(grey.with_(pose=pose_deg(0, 0, 90)), camera)
    both = (still.mask.rot90(-1, (2, 3)) * turned.mask).bool()[:, 0]
    error = (still.image.rot90(-1, (2, 3)) - turned.image).abs()[:, 0][both]
    assert error.median() < 1e-6


def test_many_poses_and_lights_of_one_object() -> None:
    camera, scene = Camera(24), a_scene()
    rng = torch.Generator().manual_seed(3)
    poses = Pose.from_euler(torch.randn(4, 3, generator=rng, dtype=torch.float64) * 0.3)
    direction = torch.nn.functional.normalize(torch.randn(4, 3, generator=rng, dtype=torch.float64), dim=1)
    lights = Lighting(torch.rand(4, 1, dtype=torch.float64), torch.rand(4, 1, dtype=torch.float64), direction)
    many = scene.with_(pose=poses, lighting=lights)
    assert many.batch == len(many) == 4
    together = render(many, camera)
    for k in range(4):
        alone = render(many[k], camera)
        assert many[k].batch == 1
        torch.testing.assert_close(together.image[k], alone.image[0])
        torch.testing.assert_close(together.mask[k], alone.mask[0])
    assert len(many[1:3]) == 2


def test_every_factor_gets_a_gradient() -> None:
    scene = a_scene(8)
    leaves = [scene.depth, scene.albedo, scene.pose.rotation, scene.lighting.ambient, scene.lighting.direction]
    for leaf in leaves:
        leaf.requires_grad_()
    image = render(scene, Camera(8)).image
    for gradient in torch.autograd.grad(image.square().sum(), leaves):
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0
    assert not render(scene.detach(), Camera(8)).image.requires_grad


def test_compat_loses_the_last_row_and_column() -> None:
    seen = render(a_scene(angles_deg=(0, 0, 0)), Camera(24), compat=True)
    assert seen.mask[..., :-1, :-1].all()
    assert seen.mask[..., -1, :].sum() == seen.mask[..., -1].sum() == 0


def test_the_dtype_follows_the_scene() -> None:
    assert render(a_scene().to(torch.float32), Camera(24)).image.dtype == torch.float32


def test_an_index_outside_is_an_error_so_that_loops_end() -> None:
    assert len(list(a_scene())) == 1
    with pytest.raises(IndexError, match="outside"):
        a_scene()[2]
