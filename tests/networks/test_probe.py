"""The probe's shape and its file; that it learns is seen in the test of its training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gan2shape.errors import CheckpointError
from gan2shape.networks.probe import LOOKS, NUMBERS, PROBE, Probe, load_probe
from gan2shape.networks.trained import DepthNetwork, NetworkSizes, describe, save_networks

SIZES = NetworkSizes(16, 1, 4, 6)


def _probe() -> Probe:
    torch.manual_seed(0)
    probe = Probe(SIZES).eval().requires_grad_(False)
    probe.mean.copy_(torch.linspace(-5, 5, len(NUMBERS) + LOOKS))
    probe.spread.copy_(torch.linspace(0.5, 3, len(NUMBERS) + LOOKS))
    return probe


def test_numbers_are_in_their_units(rng: torch.Generator) -> None:
    probe, image = _probe(), torch.rand(3, 3, 16, 16, generator=rng) * 2 - 1
    features, numbers = probe.read(image)
    assert features.shape == (3, 6)
    assert torch.equal(features, probe.features(image))
    for k in range(len(NUMBERS)):
        expected = probe(image)[:, k] * (0.5 + 2.5 * k / 183) + (-5 + 10 * k / 183)
        torch.testing.assert_close(numbers[:, k], expected)


def test_channels_double_up_to_four_times_the_first() -> None:
    widths = [layer.out_channels for layer in Probe(NetworkSizes(64, 1, 24, 64)).convs if hasattr(layer, "stride")]
    assert widths == [24, 48, 96, 96]


def test_a_file_is_read_back_in_half_precision(tmp_path: Path, rng: torch.Generator) -> None:
    probe, image = _probe(), torch.rand(3, 3, 16, 16, generator=rng) * 2 - 1
    save_networks(tmp_path / "p.safetensors", PROBE, probe, SIZES, {"steps": 3})
    again = load_probe(tmp_path / "p.safetensors")
    assert not again.training
    for found, wanted in zip(again.read(image), probe.read(image), strict=True):
        torch.testing.assert_close(found, wanted, atol=2e-2, rtol=2e-2)
    assert describe(tmp_path / "p.safetensors")["about"] == {"steps": 3}


def test_the_probe_of_the_benchmark_is_small() -> None:
    assert sum(tensor.numel() for tensor in Probe(NetworkSizes(64, 1, 24, 64)).state_dict().values()) * 2 < 500_000


def test_other_files_and_pictures(tmp_path: Path) -> None:
    save_networks(tmp_path / "s.safetensors", "supervised", DepthNetwork(NetworkSizes(16, 4, 4, 8)), SIZES)
    with pytest.raises(CheckpointError, match="expected the weights of probe; got those of supervised"):
        load_probe(tmp_path / "s.safetensors")
    with pytest.raises(ValueError, match=r"image must be \(B, C, 16, 16\)"):
        _probe().read(torch.zeros(1, 3, 32, 32))
