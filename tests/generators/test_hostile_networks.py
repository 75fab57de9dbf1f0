"""Hostile networks in files that are sound: sizes that claim gigabytes, and what chance makes of good ones."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan2shape.errors import CheckpointError
from gan2shape.generators.checkpoint import PICKLE, Checkpoint, open_checkpoint
from gan2shape.generators.describe import describe
from gan2shape.generators.nvidia import latent_average, read_nvidia_generator, snapshot_networks
from tests.generators import common_layout, test_nvidia, test_nvidia_discriminator, test_stylegan3
from tests.io.memory import at_most

State = dict[str, Tensor]
WIDE = 11_000
"""Channels of two layers that together would have 4 GB of weights."""
ADDED_MIB = 200
CHANNELS = {4: 4, 8: 3, 16: 2}


def common() -> dict[str, State]:
    generator = common_layout.generator_state(CHANNELS, z_dim=4, w_dim=4, layers=3)
    return {"g_ema": generator, "d": common_layout.discriminator_state(CHANNELS)}


def alias_free(change: Callable[[str], str]) -> dict[str, State]:
    return {"G_ema": {change(name): tensor for name, tensor in test_stylegan3.random_state().items()}}


def orig_generator(**more: Tensor) -> dict[str, State]:
    return {"G_ema": test_nvidia.generator_tensors("orig") | {f"synthesis.{name}": one for name, one in more.items()}}


def with_tensor(network: str, name: str, *shape: int) -> dict[str, State]:
    networks = common()
    networks[network][name] = torch.zeros(*shape)
    return networks


CLAIMS = {
    "generator's channels": with_tensor("g_ema", "convs.0.conv.weight", 1, WIDE, 1, 1, 1),
    "discriminator's channels": with_tensor("d", "convs.1.conv2.1.weight", WIDE, 1, 1, 1),
    "latent": with_tensor("g_ema", "style.3.weight", WIDE, 1),
    "latent beyond all": with_tensor("g_ema", "style.3.weight", 20_000, 1),
    "random numbers": with_tensor("g_ema", "style.1.weight", 1, 1_000_000),
    "channels in names": alias_free(lambda name: re.sub(r"(L[01]_\d+)_\d+", rf"\1_{WIDE}", name)),
    "layers without colours": orig_generator(
        **{"b4.conv1.affine.weight": torch.zeros(1, 50_000), "b8.conv1.weight": torch.zeros(50_000, 1, 1, 1)}
    ),
}


@pytest.mark.parametrize("title", CLAIMS)
def test_sizes_that_claim_gigabytes_are_refused_at_once(title: str, tmp_path: Path) -> None:
    torch.save(CLAIMS[title], tmp_path / "a.pt")
    start = time.process_time()
    with at_most(ADDED_MIB), pytest.raises(CheckpointError, match=r"^[ -~]{20,400}$"):
        open_checkpoint(tmp_path / "a.pt").networks()
    assert time.process_time() - start < 10


def test_a_margin_that_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    tree = test_nvidia.record(test_stylegan3.random_state(), synthesis__margin_size=100_000)
    networks = snapshot_networks({"G_ema": tree})
    with pytest.raises(CheckpointError, match="margin must be at most 100 samples; got 100000"):
        Checkpoint(tmp_path / "a.pkl", PICKLE, networks["generator"], None, None, {}).networks()


def test_a_bias_of_a_conditional_mapping_that_does_not_fit() -> None:
    state = test_nvidia.generator_tensors(classes=3) | {"mapping.fc0.bias": torch.zeros(6)}
    with pytest.raises(CheckpointError, match=r"the generator's tensor mapping\.fc0\.bias must hold 8 numbers"):
        read_nvidia_generator(state, 0)


def good_networks() -> list[tuple[str, dict[str, State]]]:
    """One of every layout and architecture; those of a pickle are read as its records."""
    good = [("common", common())]
    for architecture in ("skip", "orig", "resnet"):
        for classes in (0, 3):
            generator = test_nvidia.generator_tensors(architecture, classes)
            discriminator = test_nvidia_discriminator.discriminator_tensors(architecture, classes)
            good += [(kind, {"G_ema": generator, "D": discriminator}) for kind in ("names", "pickle")]
    for kernel in (1, 3):
        state = test_stylegan3.random_state(kernel, kernel == 1)
        good += [
            (kind, {"G_ema": state, "D": test_nvidia_discriminator.discriminator_tensors()}) for kind in ("names",)
        ]
    return good


def changed(state: State, rng: random.Random) -> State:
    """One to three tensors left out, renamed, swapped, or given another shape, type or value."""
    state = dict(state)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        name, other = rng.choice(list(state)), rng.choice(list(state))
        tensor, kind = state[name], rng.randrange(10)
        if kind == 0 and len(state) > 2:
            del state[name]
        elif kind == 1:
            state[name.replace(*rng.choice((("0", "1"), ("8", "32"), ("weight", "bias"))))] = state.pop(name)
        elif kind == 2:
            state[other] = tensor
        elif kind == 3:
            state[name] = tensor[None] if rng.random() < 0.5 else tensor.reshape(-1)
        elif kind == 4:
            state[name] = tensor.to(rng.choice((torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool)))
        elif kind == 5:
            state[name] = torch.full(tensor.shape, rng.choice((float("nan"), float("inf"), 1e38, 0.0, -1.0)))
        elif kind == 6:
            state[name] = torch.zeros([max(0, side + rng.randrange(-2, 3)) for side in tensor.shape])
        elif kind == 7:
            sides = [rng.choice((0, 1, 2, 3, 5)) for _ in range(rng.randrange(5))]
            state[name] = torch.zeros([*sides, 3000] if rng.random() < 0.3 else sides)
        elif kind == 8:
            state[name] = tensor.transpose(0, -1) if tensor.ndim > 1 else tensor
        else:
            state = {one: kept for one, kept in state.items() if one.rpartition(".")[0] != name.rpartition(".")[0]}
    return state or {"a": torch.zeros(1)}


def opened(kind: str, networks: dict[str, State], rng: random.Random, file: Path) -> Checkpoint:
    if kind != "pickle":
        torch.save(networks, file)
        return open_checkpoint(file)
    names = (
        "synthesis__margin_size",
        "synthesis__num_critical",
        "mapping__fc0__bias_gain",
        "synthesis__b8__activation",
    )
    settings = {name: rng.choice((1e9, -1, float("nan"), 3.5, "x", None, True)) for name in names if rng.random() < 0.1}
    tree = {
        name: test_nvidia.record(state, **(settings if name == "G_ema" else {})) for name, state in networks.items()
    }
    found = snapshot_networks(tree)
    generator = found["generator"]
    return Checkpoint(file, PICKLE, generator, found.get("discriminator"), latent_average(generator), {})


def fuzz(folder: Path, count: int, seed: int) -> int:
    """Read changed networks, and paint with some of those that are accepted; returns how many were."""
    rng, good, accepted = random.Random(seed), good_networks(), 0
    lines: set[int] = set()
    for _ in range(count):
        kind, networks = rng.choice(good)
        which = rng.choice(list(networks))
        try:
            checkpoint = opened(kind, networks | {which: changed(networks[which], rng)}, rng, folder / "a.pt")
            built = checkpoint.networks(0 if checkpoint.classes else None)
        except CheckpointError as error:
            lines.add(len(str(error).splitlines()))
            continue
        accepted += 1
        assert describe(checkpoint, built)["resolution"] == built.generator.resolution
        if rng.random() < 0.1:
            built.generator.synthesize(torch.zeros(1, built.generator.latent_dim))
    assert lines == {1}
    return accepted


def test_changed_networks_are_read_or_refused(tmp_path: Path) -> None:
    with at_most(2 * ADDED_MIB):
        assert 20 < fuzz(tmp_path, 300, seed=1) < 200


@pytest.mark.slow
def test_twenty_thousand_changed_networks_are_read_or_refused(tmp_path: Path) -> None:
    with at_most(4 * ADDED_MIB):
        assert 2000 < fuzz(tmp_path, 20_000, seed=2) < 14_000
