"""Raw outputs to a scene: known values where the networks are silenced, and gradients to all four."""

from __future__ import annotations

import math

import pytest
import torch

from gan2shape.networks import FactorNetworks, NetworkConfig
from gan2shape.render.depth import DepthRange
from gan2shape.render.units import PoseRange

TINY = NetworkConfig(map_base_width=4, vector_base_width=4, code_size=8)


def _silenced(**arguments: object) -> FactorNetworks:
    nets = FactorNetworks(32, DepthRange(), config=TINY, **arguments)  # type: ignore[arg-type]
    for parameter in nets.parameters():
        parameter.data.zero_()
    return nets


def test_silent_networks_give_the_middle_of_every_range() -> None:
    scene = _silenced()(torch.zeros(2, 3, 32, 32))
    assert torch.allclose(scene.pose.rotation, torch.eye(3).expand(2, 3, 3))
    assert torch.equal(scene.pose.translation, torch.zeros(2, 3))
    assert torch.equal(scene.lighting.ambient, torch.full((2, 1), 0.5))
    assert torch.equal(scene.lighting.diffuse, torch.full((2, 1), 0.5))
    assert torch.allclose(scene.lighting.direction, torch.tensor([[0.0, 0.0, 1.0]]).expand(2, 3))
    assert torch.allclose(scene.depth[..., 2:-2], torch.tensor(1.0))
    assert torch.allclose(scene.depth[..., :2], torch.tensor(1.04))
    assert torch.equal(scene.albedo, torch.zeros(2, 3, 32, 32))


def test_prior_means_are_added_to_the_outputs() -> None:
    nets = _silenced(pose_mean=[0.1, -0.5, 0.0, 0.2, 0.0, 0.3], lighting_mean=[-0.1, 0.2, 0.0, 0.25])
    scene = nets(torch.zeros(1, 3, 32, 32))
    assert torch.allclose(torch.rad2deg(scene.pose.euler()), torch.tensor([[6.0, -30.0, 0.0]]), atol=1e-4)
    assert torch.allclose(scene.pose.translation, torch.tensor([[0.02, 0.0, 0.0]]))
    assert scene.lighting.ambient.item() == pytest.approx(0.45)
    assert scene.lighting.diffuse.item() == pytest.approx(0.6)
    length = math.hypot(0.25, 1)
    assert torch.allclose(scene.lighting.direction, torch.tensor([[0.0, 0.25 / length, 1 / length]]))


def test_ranges_scale_the_pose() -> None:
    nets = _silenced(pose_mean=[0, 0.5, 0, 0, 0, 1.0], ranges=PoseRange(rotation_deg=90, z_translation=0.05))
    pose = nets.pose(torch.zeros(1, 3, 32, 32))
    assert math.degrees(pose.euler()[0, 1].item()) == pytest.approx(45, abs=1e-4)
    assert pose.translation[0, 2].item() == pytest.approx(0.05)


def test_all_networks_get_gradients() -> None:
    torch.manual_seed(0)
    nets = FactorNetworks(32, config=TINY)
    scene = nets(torch.randn(2, 3, 32, 32))
    total = scene.depth.square().sum() + scene.albedo.square().sum() + scene.pose.rotation[:, 0, 2].square().sum()
    (total + (scene.lighting.ambient - 2).square().sum()).backward()
    for part in (nets.depth_net, nets.albedo_net, nets.view_net, nets.light_net):
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())


def test_state_dict_carries_the_means() -> None:
    source = _silenced(pose_mean=[0.1] * 6, lighting_mean=[0.2] * 4)
    target = FactorNetworks(32, config=TINY)
    target.load_state_dict(source.state_dict())
    image = torch.zeros(1, 3, 32, 32)
    assert torch.equal(target.pose(image).rotation, source.pose(image).rotation)


def test_wrong_means_are_refused() -> None:
    with pytest.raises(ValueError, match="pose_mean must be 6 numbers"):
        FactorNetworks(32, config=TINY, pose_mean=[0.0] * 5)
