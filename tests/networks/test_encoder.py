"""Encoders against functional re-derivations from their description."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan2shape.networks import Encoder, NetworkConfig, ResidualEncoder
from gan2shape.networks.widths import full_base_width, group_count, level_widths


def _encoder_reference(weights: list[Tensor], x: Tensor) -> Tensor:
    *down, to_vector, last = weights
    for weight in down:
        x = F.relu(F.conv2d(x, weight, stride=2, padding=1))
    assert x.shape[-1] == 4
    x = F.relu(F.conv2d(x, to_vector))
    return torch.tanh(F.conv2d(x, last))[:, :, 0, 0]


@pytest.mark.parametrize("size", [32, 64, 128])
def test_encoder_equals_its_description(size: int, rng: torch.Generator) -> None:
    torch.manual_seed(0)
    net = Encoder(3, 6, size, base_width=6)
    image = torch.randn(2, 3, size, size, generator=rng)
    assert torch.allclose(net(image), _encoder_reference(list(net.parameters()), image), atol=1e-6)


def test_encoder_widths_of_the_paper() -> None:
    shapes = [tuple(p.shape) for p in Encoder(3, 6, 128).parameters()]
    assert shapes == [
        (32, 3, 4, 4),
        (64, 32, 4, 4),
        (128, 64, 4, 4),
        (256, 128, 4, 4),
        (512, 256, 4, 4),
        (512, 512, 4, 4),
        (6, 512, 1, 1),
    ]


def _residual_reference(state: dict[str, Tensor], x: Tensor, blocks: int) -> Tensor:
    x = F.conv2d(x, state["stem.weight"], stride=2, padding=1)
    for index in range(blocks):
        name = f"blocks.{index}."
        torch.relu_(x)  # in place, hence the shortcut sees it too
        y = F.conv2d(x, state[name + "reduce.weight"], stride=2, padding=1)
        y = F.conv2d(F.relu(y), state[name + "refine.weight"], padding=1)
        pooled = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
        x = y + F.conv2d(pooled, state[name + "shortcut.weight"], state[name + "shortcut.bias"])
    x = F.relu(F.conv2d(F.relu(x), state["head.1.weight"]))
    return F.conv2d(x, state["head.3.weight"])[:, :, 0, 0]


@pytest.mark.parametrize("size", [32, 64])
def test_residual_encoder_equals_its_description(size: int, rng: torch.Generator) -> None:
    torch.manual_seed(0)
    net = ResidualEncoder(10, size, base_width=4)
    image = torch.randn(2, 3, size, size, generator=rng)
    with torch.no_grad():
        expected = _residual_reference(net.state_dict(), image, blocks=size.bit_length() - 4)
        assert torch.allclose(net(image), expected, atol=1e-6)


def test_residual_encoder_widths_of_the_paper() -> None:
    state = ResidualEncoder(512, 64).state_dict()
    assert state["stem.weight"].shape == (32, 3, 4, 4)
    assert state["head.1.weight"].shape == (512, 256, 4, 4)  # 8 nf -> 16 nf
    assert state["head.3.weight"].shape == (512, 512, 1, 1)
    assert {name for name in state if name.endswith("bias")} == {f"blocks.{i}.shortcut.bias" for i in range(3)}


def test_widths_and_groups_of_the_paper() -> None:
    assert [full_base_width(size) for size in (32, 64, 128, 256, 512)] == [128, 64, 32, 16, 16]
    assert level_widths(64, 64) == [64, 128, 256, 512]
    assert [group_count(width, 64) for width in (64, 128, 256)] == [16, 32, 64]
    assert [group_count(width, 128) for width in (32, 64, 128, 256)] == [8, 16, 32, 64]


@pytest.mark.parametrize("size", [32, 64, 128, 256])
@pytest.mark.parametrize("multiplier", [1.0, 0.5, 0.25, 0.3])
def test_groups_divide_narrow_widths(size: int, multiplier: float) -> None:
    config = NetworkConfig(width_multiplier=multiplier)
    for width in level_widths(size, config.map_width(size)):
        assert width % group_count(width, size) == 0


def test_explicit_base_width_wins() -> None:
    config = NetworkConfig(width_multiplier=0.5, map_base_width=12)
    assert (config.map_width(64), config.vector_width(64)) == (12, 32)


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="power of two"):
        Encoder(3, 6, 48)
    with pytest.raises(ValueError, match=r"image must be \(B, C, 32, 32\)"):
        Encoder(3, 6, 32, 4)(torch.zeros(1, 3, 64, 64))
