"""Records of pickled modules as flat names."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from gan2shape.errors import CheckpointError
from gan2shape.generators.nvidia_records import NvidiaNetwork, Source, network_of


def test_tensors_and_settings_have_dotted_names() -> None:
    inner = SimpleNamespace(
        state={"_parameters": {"weight": torch.ones(2), "bias": None}, "_buffers": {"f": torch.zeros(3)}, "up": 2}
    )
    outer = SimpleNamespace(state={"_modules": {"conv": inner, "gone": None}, "name": "net", "list": [1], "_x": 1})
    network = network_of(outer)
    assert set(network.tensors) == {"conv.weight", "conv.f"}
    assert network.settings == {"conv.up": 2, "name": "net"}
    assert network.setting("conv.up", 7) == 2
    assert network.setting("conv.down", 7) == 7
    assert network_of(network) is network
    for number in (math.inf, math.nan, 10**400):
        with pytest.raises(CheckpointError, match="setting up cannot be"):
            NvidiaNetwork({}, {"up": number}).setting("up", 1)


def test_a_source_notices_what_is_left() -> None:
    source = Source(network_of({"a": torch.ones(2), "b": torch.ones(1, 2), "c": torch.ones(1).long()}), "generator")
    assert source.width("b", 1) == 2
    assert source.take("a", 1).tolist() == [1, 1]
    assert "a" not in source
    with pytest.raises(CheckpointError, match="unknown tensors: b, c"):
        source.finish()
    with pytest.raises(CheckpointError, match="lacks the tensor a"):
        source.take("a", 1)
    with pytest.raises(CheckpointError, match="must have 3 dimensions"):
        source.take("b", 3)
    with pytest.raises(CheckpointError, match="floating-point"):
        source.take("c", 1)
