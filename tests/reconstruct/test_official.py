"""The original's networks: what the loaded ones compute is what their file's raw tensors say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gan2shape.errors import CheckpointError
from gan2shape.io.checkpoints import read_tensors
from gan2shape.networks import FactorNetworks, NetworkConfig, ResidualEncoder
from gan2shape.reconstruct.official import load_official_networks, with_gaussians, with_quirks
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.reconstruct.pretrain import Pretrained
from gan2shape.reconstruct.progress import load_weights
from gan2shape.render import DepthRange
from tests.io import official_files

SMALL = {"width": 16, "code": 24, "offset": 8, "latent": 20}


def _loaded(tmp_path: Path, size: int, **sizes: int) -> tuple[Pretrained, dict[str, official_files.State]]:
    states = official_files.networks(size, **sizes)
    file = tmp_path / "celeba_pretrain.pth"
    torch.save({**states, "iteration": 9}, file, _use_new_zipfile_serialization=False)
    view, light = official_files.gaussians()
    torch.save(view, tmp_path / "view.pth")
    torch.save(light, tmp_path / "light.pth")
    config = with_gaussians(PRESETS["paper-celeba"], tmp_path / "view.pth", tmp_path / "light.pth")
    return load_official_networks(file, read_tensors(file), config), states


def _modules(start: Pretrained, latent: int) -> tuple[FactorNetworks, ResidualEncoder]:
    config = start.config
    nets = FactorNetworks(config.geometry.working_size_px, DepthRange(), config=config.networks)
    encoder = ResidualEncoder(latent, config.geometry.working_size_px, config.networks.offset_base_width)
    load_weights({"factors": nets, "encoder": encoder}, start.weights)
    return nets.double(), encoder.double()


@pytest.mark.parametrize("size", [64, 128])
@torch.no_grad()
def test_networks_compute_what_their_tensors_say(size: int, tmp_path: Path) -> None:
    start, states = _loaded(tmp_path, size, **SMALL | {"width": 4096 // size})
    nets, encoder = _modules(start, SMALL["latent"])
    image = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1)).double() * 2 - 1
    view, light = official_files.gaussians()
    expected = {
        "depth": (nets.depth_net(image), official_files.maps(states["netD"], image, bounded=False)),
        "albedo": (nets.albedo_net(image), official_files.maps(states["netA"], image, bounded=True)),
        "view": (nets.view_net(image), official_files.vectors(states["netV"], image)),
        "light": (nets.light_net(image), official_files.vectors(states["netL"], image)),
        "offset": (encoder(image), official_files.offsets(states["netEnc"], image)),
    }
    for name, (ours, theirs) in expected.items():
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9, msg=name)
        assert float(theirs.std()) > 1e-3, name
    torch.testing.assert_close(nets.pose_mean, view["mean"].double())
    torch.testing.assert_close(nets.lighting_mean, light["mean"].double(), rtol=1e-6, atol=1e-6)


def test_a_release_gives_the_preset_with_its_priors(tmp_path: Path) -> None:
    start, _ = _loaded(tmp_path, 128, width=32, code=256, offset=32, latent=20)
    view, light = official_files.gaussians()
    config = start.applied_to(PRESETS["paper-celeba"])
    assert config.networks == NetworkConfig()
    assert config.pose.yaw_scale == 1.2
    torch.testing.assert_close(torch.tensor(config.pose.mean), view["mean"])
    torch.testing.assert_close(torch.tensor(config.pose.covariance), view["cov"], rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(torch.tensor(config.lighting.mean_units), light["mean"], rtol=1e-5, atol=1e-6)
    assert start.generator == ""
    unchanged = {"pose": config.pose, "lighting": config.lighting, "assumes": ""}
    assert config == replace(PRESETS["paper-celeba"], **unchanged)  # type: ignore[arg-type]


def test_poses_are_drawn_from_the_files_gaussian(tmp_path: Path) -> None:
    start, _ = _loaded(tmp_path, 64, **SMALL)
    view, _ = official_files.gaussians()
    drawn = start.config.pose.sample_units(100_000, rng=torch.Generator().manual_seed(0)).double()
    scale = torch.tensor([1, 1.2, 1, 1, 1, 1]).double()  # The drawn yaw is widened, its mean included.
    torch.testing.assert_close(drawn.mean(0), view["mean"].double() * scale, atol=3e-3, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), view["cov"].double() * scale[:, None] * scale, atol=3e-3, rtol=0)


def test_networks_that_do_not_go_together_are_told(tmp_path: Path) -> None:
    states = official_files.networks(64, **SMALL)
    cases = {
        "factors.light_net.network.10.weight": ("netL", "network.10.weight", torch.ones(5, 128, 1, 1)),
        "factors.albedo_net.decoder.0.weight": ("netA", "network.13.weight", None),
        "encoder.head.3.weight": ("netEnc", "network.7.weight", torch.ones(())),
        "factors.depth_net.decoder.99.weight": ("netD", "network.112.weight", torch.ones(1, 1, 1, 1)),
    }
    for place, (network, name, tensor) in cases.items():
        changed = {**states[network], name: tensor}
        kept = {key: value for key, value in changed.items() if value is not None}
        torch.save({**states, network: kept}, tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match=rf"as {place} of the original's networks"):
            load_official_networks(tmp_path / "a.pth", read_tensors(tmp_path / "a.pth"), PRESETS["paper-synface"])


def test_quirks_are_those_of_the_original() -> None:
    config = with_quirks(PRESETS["paper-car"])
    assert config.geometry.compat
    assert config.prior.compat
    assert config.geometry.border_weight == 1.02
    assert config.stages == PRESETS["paper-car"].stages
