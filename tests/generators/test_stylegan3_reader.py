"""Reading StyleGAN3: classes, and tensors that do not fit."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gan2shape.errors import CheckpointError
from gan2shape.generators.nvidia_records import NvidiaNetwork, network_of
from gan2shape.generators.stylegan3_reader import is_stylegan3, read_stylegan3
from tests.generators.test_stylegan3 import W, Z, random_state


def conditional(classes: int = 3) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(9)
    state = random_state()
    state["mapping.fc0.weight"] = 100 * torch.randn(W, Z + W, generator=rng)
    state["mapping.embed.weight"] = torch.randn(W, classes, generator=rng)
    state["mapping.embed.bias"] = torch.randn(W, generator=rng)
    return state


def test_one_class_of_a_conditional_generator() -> None:
    state = conditional()
    z = torch.randn(2, Z, generator=torch.Generator().manual_seed(1))
    label = state["mapping.embed.weight"][:, 1] / math.sqrt(3) + state["mapping.embed.bias"]
    label = label / label.square().mean().sqrt()
    y = torch.cat([z / z.square().mean(1, keepdim=True).sqrt(), label.expand(2, -1)], 1)
    for index in range(2):
        weight, bias = state[f"mapping.fc{index}.weight"], state[f"mapping.fc{index}.bias"]
        y = y @ weight.T * 0.01 / math.sqrt(weight.shape[1]) + 0.01 * bias
        y = torch.where(y > 0, y, 0.2 * y) * math.sqrt(2)
    torch.testing.assert_close(read_stylegan3(state, 1).map(z), y, rtol=1e-4, atol=1e-5)
    with pytest.raises(CheckpointError, match="choose a class from 0 to 2"):
        read_stylegan3(state)


def test_settings_of_the_modules_are_followed() -> None:
    network = network_of(random_state())
    assert is_stylegan3(network)
    w = torch.zeros(1, W)
    plain = read_stylegan3(network).synthesize(w)
    doubled = read_stylegan3(NvidiaNetwork(network.tensors, {"synthesis.output_scale": 0.5})).synthesize(w)
    torch.testing.assert_close(doubled, 2 * plain)
    clamped = NvidiaNetwork(network.tensors, {"synthesis.L0_36_6.conv_clamp": 0.01})
    assert read_stylegan3(clamped).synthesize(w).abs().max() <= 0.01 * 0.25


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"synthesis.L1_52_5.magnitude_ema": torch.tensor(-1.0)}, "must be positive"),
        ({"synthesis.L1_52_5.bias": torch.zeros(4)}, "must be"),
        ({"synthesis.L1_52_5.up_filter": None}, "lacks the tensor synthesis.L1_52_5.up_filter"),
        ({"synthesis.L1_52_5.weight": None}, "no StyleGAN3 generator"),
        ({"synthesis.L5_64_3.weight": torch.zeros(3, 3, 1, 1)}, "published schedule"),
        ({"synthesis.extra": torch.zeros(1)}, "unknown tensors"),
        ({"synthesis.input.freqs": torch.full((6, 2), math.inf)}, "finite"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(change: dict[str, Tensor | None], message: str) -> None:
    state = {name: tensor for name, tensor in (random_state() | change).items() if tensor is not None}
    with pytest.raises(CheckpointError, match=message):
        read_stylegan3(state)
    with pytest.raises(CheckpointError, match="first cutoff"):
        read_stylegan3(NvidiaNetwork(random_state(), {"synthesis.input.bandwidth": 3.0}))
