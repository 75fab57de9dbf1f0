"""The latent encoder: its pictures by number, exact resume, and that it inverts a GAN whose pictures are spots."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan2shape.generators import LoadedGenerator
from gan2shape.generators.offsets import DirectOffset
from gan2shape.networks.latents import load_latent_encoder
from gan2shape.networks.trained import read_about
from gan2shape.train.latents import GeneratedPictures, LatentEncoderTask, sample_changed
from gan2shape.train.run import Schedule, run_training
from gan2shape.train.settings import WEIGHTS_FILE, TrainSettings

SMALL = TrainSettings(width_multiplier=1 / 4, batch_size=16, learning_rate=3e-3, weight_decay=0.0)
CENTRE = torch.tensor([0.1, -0.2])


class Spots:
    """Latents (B, 2) as pictures of a bright spot at that place."""

    resolution = 32
    latent_dim = 2

    def synthesize(self, w: Tensor) -> Tensor:
        """Pictures (B, 3, 32, 32)."""
        line = torch.linspace(-1, 1, 32)
        x, y = ((line - w[:, k, None]).square() for k in (0, 1))
        spot = torch.exp(-4 * (x[:, None, :] + y[:, :, None]))
        return (1.6 * spot - 0.8)[:, None].expand(-1, 3, -1, -1)


def spots() -> LoadedGenerator:
    return LoadedGenerator(
        generator=Spots(),
        offset=DirectOffset(2),
        features=None,
        w_mean=CENTRE,
        name="spots",
        sha256="0" * 64,
        draw_latents=lambda count, rng: CENTRE + 0.3 * torch.randn(count, 2, generator=rng),
    )


def task(**changed: object) -> LatentEncoderTask:
    settings = replace(SMALL, **changed)
    return LatentEncoderTask(spots(), settings, image_size=16, device=torch.device("cpu"))


def test_pictures_belong_to_their_latents_and_numbers() -> None:
    stream = GeneratedPictures(spots(), seed=3, block=8, passes=2)
    twice = [stream(0, 8)["latent"], stream(8, 8)["latent"]]
    assert {tuple(row) for row in twice[0].tolist()} == {tuple(row) for row in twice[1].tolist()}  # Two passes.
    assert not torch.equal(*twice)  # In another order.
    other = stream(16, 8)["latent"]
    assert not {tuple(row) for row in other.tolist()} & {tuple(row) for row in twice[0].tolist()}
    across = GeneratedPictures(spots(), seed=3, block=8, passes=2)(5, 15)  # Over three blocks, by a fresh stream.
    assert torch.equal(across["latent"], torch.cat([twice[0][5:], twice[1], other[:4]]))
    assert (across["image"] - Spots().synthesize(across["latent"])).abs().max() <= 1.01 / 255
    assert not torch.equal(GeneratedPictures(spots(), seed=4, block=8, passes=2)(0, 8)["latent"], twice[0])


def test_ten_and_ten_iterations_are_twenty(tmp_path: Path) -> None:
    whole, first, second = task(), task(), task()
    run_training(whole, tmp_path / "whole", Schedule(20), resume=False)
    run_training(first, tmp_path / "parts", Schedule(10), resume=False)
    run_training(second, tmp_path / "parts", Schedule(20), resume=True)
    for a, b in zip(whole.networks.state_dict().values(), second.networks.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_it_finds_the_places_of_spots(tmp_path: Path) -> None:
    run = task(final_rate=0.05, falling_steps=250)
    torch.testing.assert_close(run.network.mean, CENTRE, rtol=0, atol=0.03)
    assert run.network.spread.item() == pytest.approx(0.3, rel=0.03)
    for index in range(250):
        assert set(run.step(index)) == {"error"}
    error = run.snapshot(tmp_path, 250)["error"]
    about = read_about(tmp_path / WEIGHTS_FILE)
    assert (about["steps"], about["validation"], about["batch_size"]) == (250, {"error": error}, 16)
    assert error < 0.15  # 1 would be the mean for all.
    encoder, generator = load_latent_encoder(tmp_path / WEIGHTS_FILE)
    assert generator == "0" * 64
    latents = CENTRE + 0.3 * torch.randn(50, 2, generator=torch.Generator().manual_seed(9))
    pictures = Spots().synthesize(latents)
    assert (encoder(pictures) - latents).square().mean().item() < 0.2 * 0.3**2
    halves = torch.nn.functional.avg_pool2d(pictures, 2)
    torch.testing.assert_close(encoder(pictures), encoder(halves))  # Any size.


def test_changes_keep_the_range_but_for_noise(rng: torch.Generator) -> None:
    image = torch.rand(300, 3, 16, 16, generator=rng) * 2 - 1
    changed = sample_changed(image, rng=rng)
    assert changed.shape == image.shape
    assert changed.abs().max().item() < 1 + 6 * 0.03
    left = (changed[:, :, :, 0].abs().amax(1) < 0.2).all(-1)  # Cut off at the left: grey but for noise.
    right = (changed[:, :, :, -1].abs().amax(1) < 0.2).all(-1)
    assert 40 < int(left.sum()) < 110
    assert 40 < int(right.sum()) < 110
    assert not bool((left & right).any())
