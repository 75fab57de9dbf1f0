"""The network that tells poses: how it begins, what a mirror does, that it is kept and checked in a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan2shape.errors import CheckpointError
from gan2shape.networks.latents import LatentEncoder
from gan2shape.networks.pose_net import MIRRORED_POSE, PoseNetwork
from gan2shape.networks.trained import NetworkSizes
from gan2shape.networks.turning import Turning, load_turning, save_turning

WIDTH = 5
SIZES = NetworkSizes(16, 1, 4, WIDTH)


@pytest.fixture
def encoder() -> LatentEncoder:
    torch.manual_seed(0)
    return LatentEncoder(SIZES)


def pictures(size: int = 16) -> Tensor:
    return 2 * torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(1)) - 1


def opinionated(encoder: LatentEncoder) -> PoseNetwork:
    network = PoseNetwork.from_encoder(encoder)
    nn.init.normal_(network.last.weight)
    return network


def directions(encoder: LatentEncoder, pose_net: PoseNetwork | None = None) -> Turning:
    axes = torch.eye(WIDTH)
    return Turning(axes[0], axes[1], axes[2], axes[3], 1.0, 1.0, 1.0, encoder, pose_net=pose_net)


def test_it_begins_as_the_inverse_and_says_nothing(encoder: LatentEncoder) -> None:
    network = PoseNetwork.from_encoder(encoder)
    assert torch.equal(network(pictures()), torch.zeros(3, 6))
    network.network.head[-1] = encoder.network.head[-1]
    assert torch.equal(network.network(pictures()), encoder.network(pictures())), "all but the last layer is the same"
    with torch.no_grad():
        network.network.stem.weight.add_(1)
    assert not torch.equal(network.network.stem.weight, encoder.network.stem.weight), "it is a copy"
    assert all(weights.requires_grad for weights in network.parameters())


def test_larger_pictures_are_shrunk(encoder: LatentEncoder) -> None:
    network = opinionated(encoder)
    large = pictures().repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(network(large), network(pictures()))


def test_a_mirror_image_has_the_mirrored_pose(encoder: LatentEncoder) -> None:
    network, signs = opinionated(encoder), torch.tensor(MIRRORED_POSE)
    told = network.both_ways(pictures())
    assert told.abs().min() > 1e-4
    torch.testing.assert_close(network.both_ways(pictures().flip(-1)), told * signs)


def test_directions_with_it_tell_poses_by_it(encoder: LatentEncoder) -> None:
    assert not directions(encoder).tells_poses
    network = opinionated(encoder)
    turning = replace(directions(encoder, network), pose=torch.zeros(WIDTH + 1, 6))
    assert turning.tells_poses
    torch.testing.assert_close(turning.pose_units(pictures()), network.both_ways(pictures()))
    known = turning.known_units(pictures())
    torch.testing.assert_close(known, network.both_ways(pictures()), msg="shifts too")
    assert known[:, 3:5].abs().min() > 0


def test_it_is_read_back_in_half_precision_and_frozen(encoder: LatentEncoder, tmp_path: Path) -> None:
    network = opinionated(encoder)
    save_turning(tmp_path / "directions.safetensors", directions(encoder, network))
    found = load_turning(tmp_path / "directions.safetensors", encoder)
    assert found.pose is None
    assert found.pose_net is not None
    assert not any(weights.requires_grad for weights in found.pose_net.parameters())
    for own, kept in zip(network.parameters(), found.pose_net.parameters(), strict=True):
        assert torch.equal(own.half().float(), kept)
    assert load_turning_without(encoder, tmp_path).pose_net is None


def load_turning_without(encoder: LatentEncoder, folder: Path) -> Turning:
    save_turning(folder / "none.safetensors", directions(encoder))
    return load_turning(folder / "none.safetensors", encoder)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda net: nn.init.constant_(net.last.weight, float("nan")), r"NaN or infinity in turning\.pose_net\."),
        (lambda net: setattr(net.network, "stem", nn.Conv2d(3, 2, 4)), r"turning\.pose_net\.network\.stem\.weight"),
        (lambda net: delattr(net.network, "stem"), r"turning\.pose_net\.network\.stem\.weight .* got nothing"),
    ],
)
def test_a_damaged_one_is_refused(damage: object, said: str, encoder: LatentEncoder, tmp_path: Path) -> None:
    network = opinionated(encoder).requires_grad_(False)
    damage(network)  # type: ignore[operator]
    save_turning(tmp_path / "directions.safetensors", directions(encoder, network))
    with pytest.raises(CheckpointError, match=said):
        load_turning(tmp_path / "directions.safetensors", encoder)
