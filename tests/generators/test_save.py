"""A file of ours holds the generator that it was given: StyleGAN2 in test_load.py, StyleGAN3 here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gan2shape.generators import load_generator, save_generator
from gan2shape.generators.save import nvidia_names
from gan2shape.generators.stylegan3_reader import read_stylegan3
from gan2shape.io.checkpoints import read_metadata, read_tensors
from tests.generators.test_nvidia_discriminator import discriminator_tensors, read_nvidia_discriminator
from tests.generators.test_stylegan3 import W, random_state


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_stylegan3_with_its_discriminator(dtype: torch.dtype, tmp_path: Path) -> None:
    generator = read_stylegan3(random_state())
    discriminator = read_nvidia_discriminator(discriminator_tensors())
    file = tmp_path / "a.safetensors"
    save_generator(file, generator, discriminator, w_mean=torch.arange(6.0), metadata={"licence": "MIT"}, dtype=dtype)
    loaded = load_generator(file)
    w = torch.randn(2, W, generator=torch.Generator().manual_seed(1))
    expected, found = generator.synthesize(w), loaded.generator.synthesize(w)
    assert (found - expected).abs().max() <= (0 if dtype == torch.float32 else 5e-3) * expected.abs().max()
    assert torch.equal(loaded.w_mean, torch.arange(6.0))
    assert loaded.about["metadata"]["licence"] == "MIT"
    assert loaded.about["missing"] == []
    assert loaded.features is not None
    kinds = {name: tensor.dtype for name, tensor in read_tensors(file).items()}
    assert kinds["g_ema/synthesis.L0_36_6.weight"] == kinds["d/convs.0.0.weight"] == dtype
    assert kinds["g_ema/synthesis.input.freqs"] == kinds["g_ema/synthesis.L0_36_6.up_filter"] == torch.float32


def test_settings_of_a_stylegan3_go_beside_what_is_there(tmp_path: Path) -> None:
    generator, file = read_stylegan3(random_state()), tmp_path / "a.safetensors"
    with pytest.raises(ValueError, match="metadata's 'generator' must be a mapping; got str"):
        save_generator(file, generator, metadata={"generator": "text"})
    assert not file.exists()
    save_generator(file, generator, metadata={"generator": {"source": "b.pkl"}})
    said = json.loads(read_metadata(file)["generator"])
    assert said.pop("source") == "b.pkl"
    assert len(said) == 1


def test_names_are_those_that_were_read() -> None:
    state = random_state(1, True)
    named = nvidia_names(read_stylegan3(state))
    assert set(named) == set(state) - {"mapping.w_avg"}
    assert all(torch.equal(tensor, state[name]) for name, tensor in named.items())
