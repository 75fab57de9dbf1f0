"""Pictures that a generator makes by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from gan2shape.cli import main
from gan2shape.cli.sample import grid
from gan2shape.generators import latent_rng, load_generator
from tests.cli.conftest import RESOLUTION, leftovers


def test_pictures_latents_and_a_grid(tmp_path: Path, checkpoint: Path) -> None:
    flags = ["--generator", str(checkpoint), "--count", "18", "--seed", "4", "--threads", "1"]
    assert main(["sample", "-o", str(tmp_path / "a"), *flags]) == 0
    names = {f"{index:03d}{ending}" for index in range(18) for ending in (".png", ".safetensors")}
    assert {file.name for file in (tmp_path / "a").iterdir()} == names | {"grid.png"}
    loaded = load_generator(checkpoint)
    drawn = loaded.sample_latents(18, rng=latent_rng(4), truncation=0.7)
    for index in (0, 17):  # The last one is of the second batch.
        latent = load_file(tmp_path / "a" / f"{index:03d}.safetensors")["latent"]
        torch.testing.assert_close(latent[0], drawn[index])
        picture = ((loaded.generator.synthesize(latent)[0].clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0).numpy()
        assert np.abs(np.asarray(Image.open(tmp_path / "a" / f"{index:03d}.png")) - picture).max() < 3
    assert Image.open(tmp_path / "a" / "grid.png").size == (5 * RESOLUTION, 4 * RESOLUTION)
    assert main(["sample", "-o", str(tmp_path / "b"), *flags]) == 0
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert leftovers(tmp_path) == []


def test_no_truncation_left_is_the_mean_picture(tmp_path: Path, checkpoint: Path) -> None:
    flags = ["--generator", str(checkpoint), "--count", "2", "--truncation", "0", "--threads", "1"]
    assert main(["sample", "-o", str(tmp_path), *flags]) == 0
    latent = load_file(tmp_path / "001.safetensors")["latent"]
    assert torch.allclose(latent[0], load_generator(checkpoint).w_mean)


def test_the_grid_goes_row_by_row() -> None:
    values = torch.linspace(-1, 0.5, 5)
    picture = grid(values[:, None, None, None].expand(5, 3, 2, 2))
    assert picture.shape == (3, 4, 6)
    assert torch.equal(picture[0, ::2, ::2].flatten(), torch.cat([values, torch.ones(1)]))


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--count", "0"], "--count must be from 1 to"),
        (["--truncation", "nan"], "--truncation must be from 0 to 10; got nan"),
        (["--seed", str(2**64)], "--seed must be a whole number of at most 64 bits"),
    ],
)
def test_impossible_numbers(flags: list[str], said: str, tmp_path: Path, mistake: Callable[..., str]) -> None:
    assert said in mistake("sample", "-o", tmp_path / "out", *flags)
    assert not (tmp_path / "out").exists()
