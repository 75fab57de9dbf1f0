"""The mapping-tail offset against the slow mapping, for every F1."""

from __future__ import annotations

import pytest
import torch

from gan2shape.generators.offsets import DirectOffset, MappingTailOffset
from gan2shape.generators.rosinality import read_generator
from tests.generators import common_layout as slow


@pytest.mark.parametrize("layers", [1, 2, 8])
@pytest.mark.parametrize("tail_layers", [0, 1, 2, 7, 8, 99])
def test_offset_equals_its_definition(layers: int, tail_layers: int, rng: torch.Generator) -> None:
    state = slow.generator_state({4: 2, 8: 2}, z_dim=5, w_dim=7, layers=layers)
    offset = MappingTailOffset(read_generator(state).double().style, tail_layers)
    cut = min(tail_layers, layers)
    code = torch.randn(3, 5 if cut >= layers - 1 else 7, generator=rng, dtype=torch.float64)
    start = slow.slow_mapping(state, torch.zeros(1, 5), 0, layers - 1 - cut)
    assert offset.code_dim == code.shape[1]

    def tail(h: torch.Tensor) -> torch.Tensor:
        return slow.slow_mapping(state, h, layers - cut, layers)

    torch.testing.assert_close(offset(code), tail(code + start) - tail(start))
    if cut == layers:
        assert not start.any()


@pytest.mark.parametrize("tail_layers", [0, 2, 8])
def test_code_zero_gives_offset_zero(tail_layers: int) -> None:
    mapping = read_generator(slow.generator_state({4: 2, 8: 2}, z_dim=6, w_dim=6, layers=8)).style
    offset = MappingTailOffset(mapping, tail_layers)
    # Matrix products of other batch sizes may round differently, so zero is zero up to float32 round-off.
    torch.testing.assert_close(offset(torch.zeros(2, offset.code_dim)), torch.zeros(2, 6), rtol=0.0, atol=1e-6)


def test_direct_offset_is_the_code() -> None:
    code = torch.arange(6.0).view(2, 3)
    assert torch.equal(DirectOffset(3)(code), code)
    assert DirectOffset(3).code_dim == 3


def test_wrong_codes_and_depths_are_named() -> None:
    mapping = read_generator(slow.generator_state({4: 2, 8: 2}, z_dim=6, w_dim=6, layers=2)).style
    with pytest.raises(ValueError, match="tail_layers"):
        MappingTailOffset(mapping, -1)
    for offset in (MappingTailOffset(mapping, 1), DirectOffset(6)):
        with pytest.raises(ValueError, match=r"code must be \(B, 6\)"):
            offset(torch.zeros(2, 5))
