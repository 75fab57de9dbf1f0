"""The networks that learn from turned views: what they say of a picture, and their file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gan2shape.errors import CheckpointError
from gan2shape.networks.trained import DepthNetwork, NetworkSizes, describe, save_networks
from gan2shape.networks.turned import PIVOT_DEPTH, TURNED, TurnedNetworks, bundled_turned, camera_of, load_turned
from gan2shape.render import normals_from_depth, render

SIZES = NetworkSizes(16, 4, 4, 8)


@pytest.fixture
def networks() -> TurnedNetworks:
    torch.manual_seed(0)
    built = TurnedNetworks(SIZES).eval().requires_grad_(False)
    built.depth_net.decoder[-1].weight *= 20  # Shapes that are far from flat, lights that are far from even.
    built.light_net.network[-2].weight *= 200
    return built


@pytest.fixture
def pictures(rng: torch.Generator) -> torch.Tensor:
    return torch.rand(3, 3, 16, 16, generator=rng) * 2 - 1


def test_the_scene_is_the_picture(networks: TurnedNetworks, pictures: torch.Tensor) -> None:
    dark = pictures * 0.1 - 0.85  # No albedo has to be whiter than white.
    scene = networks(dark)
    assert scene.depth.std() > 0.01
    assert (scene.lighting.direction[:, :2].abs() > 0.01).any()
    seen = render(scene, networks.camera)
    inner = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(seen.image[inner], dark[inner], rtol=0, atol=2e-3)
    assert torch.equal(scene.pose.rotation, torch.eye(3).expand(3, 3, 3))
    assert not scene.pose.translation.any()


def test_albedo_is_the_picture_divided_by_its_shading(networks: TurnedNetworks, pictures: torch.Tensor) -> None:
    scene = networks(pictures)
    normals = normals_from_depth(scene.depth, networks.camera).numpy()
    units = networks.light_net(pictures).numpy()
    direction = np.concatenate([units[:, 2:], np.ones((3, 1))], 1)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    lambert = np.maximum(np.einsum("bcyx,bc->byx", normals, direction), 0)
    ambient, diffuse = units.T[:2, :, None, None] / 2 + 0.5
    shading = np.maximum(ambient + diffuse * lambert, 0.05)[:, None]
    expected = np.clip((pictures.numpy() + 1) / 2 / shading, 0, 1) * 2 - 1
    np.testing.assert_allclose(scene.albedo.numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(scene.lighting.direction.numpy(), direction, atol=1e-6)


def test_depths_are_in_range_with_a_tied_border(networks: TurnedNetworks, pictures: torch.Tensor) -> None:
    depth = networks.depth(pictures)
    assert depth.shape == (3, 1, 16, 16)
    assert 0.9 <= depth.min() < depth.max() <= 1.1
    sides = torch.cat([depth[..., :2], depth[..., -2:]], -1)
    torch.testing.assert_close(sides, torch.full_like(sides, 0.7 * 1.1 + 0.3 * 0.9))
    with torch.autocast("cpu", torch.bfloat16):
        assert networks.depth(pictures).dtype == torch.float32


def test_objects_turn_about_their_middle() -> None:
    assert camera_of(32).pivot_depth == PIVOT_DEPTH == TurnedNetworks(SIZES).camera.pivot_depth
    assert (camera_of(32).image_size, camera_of(32).fov_deg) == (32, 10)


def test_a_file_is_read_back_in_half_precision(
    networks: TurnedNetworks, pictures: torch.Tensor, tmp_path: Path
) -> None:
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


def test_bundled_weights_have_their_place_beside_the_generators() -> None:
    assert (bundled_turned().parent / "stylegan2_synface64.safetensors").is_file()
