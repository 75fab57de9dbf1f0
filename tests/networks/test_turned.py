"""The networks that learn from turned views: the scene that they see in a picture, its parts by hand, their file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan2shape.errors import CheckpointError
from gan2shape.generators import load_generator
from gan2shape.io.images import read_image
from gan2shape.networks.trained import DepthNetwork, NetworkSizes, describe, read_about, save_networks
from gan2shape.networks.turned import (
    PIVOT_DEPTH,
    TURNED,
    TurnedNetworks,
    bundled_turned,
    camera_of,
    canonical_albedo,
    in_object_frame,
    load_turned,
    of_strength_one,
)
from gan2shape.render import Lighting, Pose, Scene, normals_from_depth, render

SIZES = NetworkSizes(16, 4, 4, 8)


@pytest.fixture
def networks() -> TurnedNetworks:
    torch.manual_seed(0)
    built = TurnedNetworks(SIZES).eval().requires_grad_(False)
    built.light_net.network[-2].weight *= 200  # Lights that are far from even.
    return built


@pytest.fixture
def pictures(rng: torch.Generator) -> Tensor:
    """Soft colours, which a resampling hardly changes."""
    small = torch.rand(3, 3, 4, 4, generator=rng) * 2 - 1
    return F.interpolate(small, size=16, mode="bilinear", align_corners=True)


def test_the_scene_shows_the_picture(networks: TurnedNetworks, pictures: Tensor) -> None:
    networks.depth_net.decoder[-1].weight *= 0.3  # A random surface of full relief would be torn when it is turned.
    networks.view_net.network[-2].weight *= 5
    dark = pictures * 0.1 - 0.85  # No albedo has to be whiter than white.
    scene = networks(dark)
    assert scene.depth.std() > 0.01
    assert (scene.lighting.direction[:, :2].abs() > 0.01).any()
    assert torch.rad2deg(scene.pose.euler()).abs().amax(1).min() > 4
    seen = render(scene, networks.camera)
    still = render(scene.with_(pose=Pose.identity(3, like=dark)), networks.camera)
    inner = (..., slice(3, -3), slice(3, -3))
    assert seen.mask[inner].all()
    error, other = ((shown.image - dark)[inner].abs() for shown in (seen, still))
    assert error.max() < 0.02
    assert error.mean() < 0.2 * other.mean()  # The pose matters.


def test_a_scene_is_its_three_networks(networks: TurnedNetworks, pictures: Tensor) -> None:
    networks.view_net.network[-2].weight *= 10
    scene = networks(pictures)
    units = networks.view_net(pictures)
    torch.testing.assert_close(scene.depth, networks.depth(pictures))
    torch.testing.assert_close(scene.pose.euler(), torch.deg2rad(60 * units[:, :3]), rtol=0, atol=1e-5)
    torch.testing.assert_close(scene.pose.translation, F.pad(0.1 * units[:, 3:5], (0, 1)))
    light = of_strength_one(networks.lighting(pictures))
    assert torch.equal(scene.lighting.ambient, light.ambient)
    for k in range(3):  # As the object turned back sees the light.
        turned = np.linalg.inv(scene.pose.rotation[k].double().numpy()) @ light.direction[k].double().numpy()
        assert turned[2] > 0.2
        np.testing.assert_allclose(scene.lighting.direction[k].numpy(), turned, atol=1e-5)


def test_albedo_is_the_picture_divided_by_its_shading(networks: TurnedNetworks, pictures: Tensor) -> None:
    networks.depth_net.decoder[-1].weight *= 20
    nn.init.zeros_(networks.view_net.network[-2].weight)
    scene = networks(pictures)
    assert torch.equal(scene.pose.rotation, torch.eye(3).expand(3, 3, 3))
    assert not scene.pose.translation.any()
    normals = normals_from_depth(scene.depth, networks.camera).numpy()
    units = networks.light_net(pictures).numpy()
    direction = np.concatenate([units[:, 2:], np.ones((3, 1))], 1)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    lambert = np.maximum(np.einsum("bcyx,bc->byx", normals, direction), 0)
    strengths = units[:, :2] / 2 + 0.52  # A little of each, so that no light is ever out.
    ambient, diffuse = (strengths / strengths.sum(1, keepdims=True)).T[..., None, None]
    shading = np.maximum(ambient + diffuse * lambert, 0.05)[:, None]
    expected = np.clip((pictures.numpy() + 1) / 2 / shading, 0, 1) * 2 - 1
    inner = (..., slice(1, -1), slice(1, -1))  # The outermost pixels may be read just beside the picture.
    np.testing.assert_allclose(scene.albedo.numpy()[inner], expected[inner], atol=1e-4)
    np.testing.assert_allclose(scene.lighting.direction.numpy(), direction, atol=1e-6)


@pytest.mark.parametrize("angles_deg", [(0.0, 25.0, 0.0), (0.0, -20.0, 0.0), (8.0, 15.0, -5.0)])
def test_the_albedo_of_an_object_that_is_known(angles_deg: tuple[float, float, float]) -> None:
    camera = camera_of(64)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, 64, dtype=torch.float64),) * 2, indexing="ij")
    depth = (1.0 - 0.06 * torch.exp(-(x.square() + y.square()) / 0.3))[None, None]
    albedo = torch.stack([0.2 * torch.cos(4 * x), 0.3 * torch.sin(3 * y), 0.2 * torch.sin(2 * x + 3 * y)])[None] - 0.4
    pose = Pose.from_euler(torch.deg2rad(depth.new_tensor([angles_deg])), depth.new_tensor([[0.005, -0.003, 0.0]]))
    direction = F.normalize(depth.new_tensor([[0.4, -0.2, 1.0]]), dim=1)
    light = Lighting(depth.new_tensor([[0.3]]), depth.new_tensor([[0.6]]), direction)
    image = render(Scene(depth, albedo, pose, light), camera).image
    found = canonical_albedo(image, depth, pose, light, camera)
    seen = _visible(depth, pose, 0.9) & (torch.maximum(x.abs(), y.abs()) < 0.9)
    assert seen.double().mean() > 0.3
    error = (found - albedo).abs().amax(1)[0][seen]
    assert error.max() < 0.02
    assert error.mean() < 0.002
    opposite = Pose(pose.rotation.transpose(1, 2), pose.translation)
    wrong_light = Lighting(light.ambient, light.diffuse, direction * direction.new_tensor([-1.0, -1, 1]))
    for spoilt in (
        canonical_albedo(image, depth, opposite, light, camera),
        canonical_albedo(image, torch.ones_like(depth), pose, light, camera),
        canonical_albedo(image, depth, pose, wrong_light, camera),
    ):
        assert (spoilt - albedo).abs().amax(1)[0][seen].mean() > 20 * error.mean()


def _visible(depth: Tensor, pose: Pose, extent: float) -> Tensor:
    """Which pixels (S, S) of a shallow surface land within the picture's middle and face the camera well."""
    camera = camera_of(depth.shape[-1])
    rays = camera.rays(depth)
    points = (depth[0, 0, :, :, None] * rays).numpy()
    pivot = np.array([0, 0, PIVOT_DEPTH])
    moved = (points - pivot) @ pose.rotation[0].numpy().T + pivot + pose.translation[0].numpy()
    places = moved[..., :2] / moved[..., 2:] / math.tan(math.radians(5))
    normals = normals_from_depth(depth, camera)[0].permute(1, 2, 0).numpy() @ pose.rotation[0].numpy().T
    facing = np.sum(normals * moved, axis=-1) / np.linalg.norm(moved, axis=-1)
    return torch.from_numpy((np.abs(places).max(-1) < extent) & (facing > 0.5))


def test_depths_are_in_range_with_a_tied_border(networks: TurnedNetworks, pictures: Tensor) -> None:
    depth = networks.depth(pictures)
    assert depth.shape == (3, 1, 16, 16)
    assert 0.9 <= depth.min() < depth.max() <= 1.1
    sides = torch.cat([depth[..., :2], depth[..., -2:]], -1)
    torch.testing.assert_close(sides, torch.full_like(sides, 0.7 * 1.1 + 0.3 * 0.9))
    with torch.autocast("cpu", torch.bfloat16):
        assert networks.depth(pictures).dtype == torch.float32


def test_lights_of_views_stand_still_in_the_cameras_frame() -> None:
    angles = torch.deg2rad(torch.tensor([[0.0, 30.0, 0.0], [0.0, -50.0, 0.0], [10.0, 20.0, 5.0], [0.0, 85.0, 0.0]]))
    direction = F.normalize(torch.tensor([[0.0, 0, 1], [0, 0, 1], [0.3, -0.2, 1], [0, 0, 1]]), dim=1)
    camera = Lighting(torch.full((4, 1), 0.3), torch.full((4, 1), 0.6), direction)
    found = in_object_frame(camera, Pose.from_euler(angles))
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    torch.testing.assert_close(found.direction[0], torch.tensor([-sin, 0, cos]))
    cos, sin = math.cos(math.radians(50)), math.sin(math.radians(50))
    torch.testing.assert_close(found.direction[1], torch.tensor([sin, 0, cos]))
    rotation = Pose.from_euler(angles).rotation[2]  # A normal of the object and the same normal turned are lit alike.
    normal = F.normalize(torch.tensor([0.2, 0.4, 0.8]), dim=0)
    torch.testing.assert_close(found.direction[2] @ normal, direction[2] @ (rotation @ normal))
    sin = math.sin(math.radians(85))  # It keeps coming from the front.
    torch.testing.assert_close(found.direction[3], torch.tensor([-sin, 0, 0.2]) / math.hypot(sin, 0.2))
    assert torch.equal(found.ambient, camera.ambient)
    assert torch.equal(found.diffuse, camera.diffuse)


def test_objects_turn_about_their_middle() -> None:
    assert camera_of(32).pivot_depth == PIVOT_DEPTH == TurnedNetworks(SIZES).camera.pivot_depth
    assert (camera_of(32).image_size, camera_of(32).fov_deg) == (32, 10)


def test_a_file_is_read_back_in_half_precision(networks: TurnedNetworks, pictures: Tensor, tmp_path: Path) -> None:
    file = tmp_path / "t.safetensors"
    save_networks(file, TURNED, networks, SIZES, {"steps": 7})
    again = load_turned(file)
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())
    torch.testing.assert_close(again.depth(pictures), networks.depth(pictures), rtol=0, atol=4e-3)
    torch.testing.assert_close(
        again.lighting(pictures).direction, networks.lighting(pictures).direction, rtol=0, atol=5e-3
    )
    about = describe(file)
    assert (about["kind"], about["about"]) == ("turned", {"steps": 7})


def test_other_files_and_pictures(networks: TurnedNetworks, tmp_path: Path) -> None:
    save_networks(tmp_path / "s.safetensors", "supervised", DepthNetwork(SIZES), SIZES)
    with pytest.raises(CheckpointError, match="expected the weights of turned; got those of supervised"):
        load_turned(tmp_path / "s.safetensors")
    with pytest.raises(CheckpointError):
        load_turned(tmp_path / "missing.safetensors")
    with pytest.raises(ValueError, match=r"image must be \(B, C, 16, 16\)"):
        networks(torch.zeros(1, 3, 32, 32))


def test_lights_have_strength_one_and_are_never_out() -> None:
    direction = torch.tensor([[0.6, 0.0, 0.8]]).expand(3, 3)
    given = Lighting(torch.tensor([[0.3], [0.0], [0.9]]), torch.tensor([[0.6], [0.0], [0.0]]), direction)
    found = of_strength_one(given)
    torch.testing.assert_close(found.ambient + found.diffuse, torch.ones(3, 1))
    torch.testing.assert_close(found.ambient[:, 0], torch.tensor([0.32 / 0.94, 0.5, 0.92 / 0.94]))
    assert torch.equal(found.direction, direction)


def test_the_bundled_networks_see_a_head_that_turns() -> None:
    networks = load_turned(bundled_turned())
    assert read_about(bundled_turned())["generator"] == load_generator().sha256
    picture = read_image(bundled_turned().parent / "sample_head.png", size=networks.image_size)
    both = networks(torch.cat([picture, picture.flip(-1)]))
    yaw = torch.rad2deg(both.pose.euler()[:, 1])
    assert yaw[0].abs() > 5
    assert torch.sign(yaw[0]) == -torch.sign(yaw[1])  # Its mirror image is turned the other way.
    middle = both.depth[0, 0, 24:40, 28:36].mean()
    assert middle < both.depth[0, 0, 24:40, :8].mean() - 0.02  # A head comes forward in its middle.
