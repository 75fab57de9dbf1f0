"""NVIDIA's pickles through `load_generator`, written as their programs write them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gan2shape.errors import CheckpointError
from gan2shape.generators import load_generator
from gan2shape.generators.nvidia import read_nvidia_generator
from gan2shape.generators.stylegan3_reader import read_stylegan3
from tests.generators import test_nvidia, test_nvidia_discriminator, test_stylegan3
from tests.io import hostile


def persistent(node: SimpleNamespace) -> hostile.Persistent:
    """A record as an object of NVIDIA's networks, with attributes as theirs."""
    state = dict(node.state)
    state["_parameters"] = {name: torch.nn.Parameter(tensor) for name, tensor in state["_parameters"].items()}
    state["_modules"] = {name: persistent(child) for name, child in state["_modules"].items()}
    return hostile.Persistent("Network", state | {"weight_gain": np.float64(0.1), "padding": [1, 1]}, "import os")


def stored(folder: Path, tree: dict[str, SimpleNamespace]) -> Path:
    file = folder / "network.pkl"
    with hostile.nvidia_modules():
        file.write_bytes(hostile.network_pickle({name: persistent(node) for name, node in tree.items()}))
    return file


def test_a_snapshot_of_stylegan2(tmp_path: Path) -> None:
    state = test_nvidia.generator_tensors(classes=3)
    discriminator = test_nvidia_discriminator.discriminator_tensors(classes=3)
    tree = {"G_ema": test_nvidia.record(state), "D": test_nvidia.record(discriminator)}
    file = stored(tmp_path, tree)
    loaded = load_generator(file, compute_dtype=torch.float32, class_index=1)
    w = loaded.sample_latents(2, rng=torch.Generator().manual_seed(0))
    expected = read_nvidia_generator(state, 1).synthesize(w)
    torch.testing.assert_close(loaded.generator.synthesize(w), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(loaded.w_mean, state["mapping.w_avg"])
    assert loaded.features is not None
    with pytest.raises(CheckpointError, match="choose a class"):
        load_generator(file)


def test_a_stylegan3(tmp_path: Path) -> None:
    state = test_stylegan3.random_state()
    loaded = load_generator(stored(tmp_path, {"G_ema": test_nvidia.record(state)}))
    assert loaded.about["kind"] == "StyleGAN3-T"
    w = loaded.sample_latents(1, rng=torch.Generator().manual_seed(0), truncation=0.5)
    torch.testing.assert_close(loaded.generator.synthesize(w), read_stylegan3(state).synthesize(w))
    torch.testing.assert_close(loaded.w_mean, state["mapping.w_avg"])
    assert loaded.offset(torch.zeros(1, loaded.offset.code_dim)).abs().max() == 0


def test_other_files_know_no_classes() -> None:
    with pytest.raises(CheckpointError, match="knows no classes"):
        load_generator(class_index=3)
