"""The probe's training: its targets by hand, exact resume, and that it reads the place and the light of spheres."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.networks.probe import LOOKS, NUMBERS, load_probe
from gan2shape.networks.trained import read_about
from gan2shape.train.probe import ProbeTask, sample_soft, targets
from gan2shape.train.run import Schedule, run_training
from gan2shape.train.settings import WEIGHTS_FILE, TrainSettings
from tests.train.faces import Spheres

SMALL = TrainSettings(width_multiplier=1 / 4, batch_size=16, learning_rate=5e-3, weight_decay=0.0)


class TrueSpheres(Spheres):
    """Spheres whose view is their place in the picture (degrees of nothing) and whose light is known."""

    description = "spheres"

    def __call__(self, start: int, count: int) -> dict[str, Tensor]:
        known = super().__call__(start, count)
        draws = [torch.rand(4, generator=torch.Generator().manual_seed(n)) for n in range(start, start + count)]
        x, y, _, light = torch.stack(draws).unbind(1)
        zero = torch.zeros(count)
        direction = torch.stack([light - 0.5, zero + 0.3, zero + 1], 1)
        return known | {
            "view": torch.stack([20 * y, 50 * x, zero], 1),
            "light": direction / direction.norm(dim=1, keepdim=True),
            "ambient": torch.full((count, 1), 0.4),
            "diffuse": torch.full((count, 1), 0.6),
        }


def task(**changed: object) -> ProbeTask:
    return ProbeTask(**{"pictures": TrueSpheres(), "settings": SMALL, "device": torch.device("cpu"), **changed})


def test_targets_by_loops_over_cells() -> None:
    batch = TrueSpheres()(0, 2)
    found = targets(batch).numpy()
    assert found.shape == (2, len(NUMBERS) + LOOKS)
    for b in range(2):
        numbers = [*batch["view"][b], *batch["light"][b], *batch["ambient"][b], *batch["diffuse"][b]]
        np.testing.assert_allclose(found[b, :8], numbers, rtol=1e-6)
        image, mask, depth = (batch[name][b].numpy() for name in ("image", "mask", "depth"))
        looks = []
        for values in (mask[0], np.where(mask[0] > 0, 10 * (1 - depth[0]), 0)):
            looks += [values[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].mean() for r in range(8) for c in range(8)]
        for channel in (image + 1) / 2 * mask:
            looks += [channel[4 * r : 4 * r + 4, 4 * c : 4 * c + 4].mean() for r in range(4) for c in range(4)]
        np.testing.assert_allclose(found[b, 8:], looks, rtol=1e-4, atol=1e-6)


def test_means_and_spreads_are_the_streams_own() -> None:
    network = task().network
    wanted = targets(TrueSpheres()(0, 1024))
    torch.testing.assert_close(network.mean, wanted.mean(0))
    index = NUMBERS.index("yaw")
    assert network.spread[index].item() == pytest.approx(50 / 12**0.5, rel=0.05)  # Uniform over 50.
    assert network.spread[NUMBERS.index("ambient")].item() == pytest.approx(0.05)  # Never varies.


def test_loss_is_in_units_of_the_spread() -> None:
    run = task()
    run.networks.eval()
    batch = run.pictures(5, 3)
    with torch.no_grad():
        terms = run.losses(batch["image"], targets(batch))
        predicted = (run.network(batch["image"]) * run.network.spread + run.network.mean).numpy()
    error = (predicted - targets(batch).numpy()) / run.network.spread.numpy()
    assert terms["numbers"].item() == pytest.approx(np.square(error[:, :8]).mean(), rel=1e-4)
    assert terms["looks"].item() == pytest.approx(np.square(error[:, 8:]).mean(), rel=1e-4)
    assert terms["total"].item() == pytest.approx(3 * terms["numbers"].item() + terms["looks"].item(), rel=1e-6)


def test_half_of_the_pictures_are_blurred(rng: torch.Generator) -> None:
    point = torch.zeros(400, 1, 9, 9)
    point[:, :, 4, 4] = 9.0
    soft = sample_soft(point, rng=rng)
    middle = soft[:, 0, 4, 4]
    blurred = (middle - 1).abs() < 0.2
    assert bool((blurred | ((middle - 9).abs() < 0.2)).all())
    assert 150 < int(blurred.sum()) < 250
    assert soft[:, 0, 0].std().item() == pytest.approx(0.03, rel=0.1)


def test_ten_and_ten_iterations_are_twenty(tmp_path: Path) -> None:
    whole, first, second = task(), task(), task()
    run_training(whole, tmp_path / "whole", Schedule(20), resume=False)
    run_training(first, tmp_path / "parts", Schedule(10), resume=False)
    run_training(second, tmp_path / "parts", Schedule(20), resume=True)
    for a, b in zip(whole.networks.state_dict().values(), second.networks.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_it_reads_unseen_spheres_and_says_how_well(tmp_path: Path) -> None:
    class Others(TrueSpheres):
        def __call__(self, start: int, count: int) -> dict[str, Tensor]:
            return super().__call__(100_000 + start, count)

    run = task(settings=replace(SMALL, final_rate=0.1, falling_steps=150), held_out=Others(), held_out_count=200)
    for index in range(150):
        run.step(index)
    scores = run.snapshot(tmp_path, 150)
    batch = Others()(0, 200)
    for name, key, column in (("yaw", "view", 1), ("light x", "light", 0)):
        assert scores[name] < 0.5 * batch[key][:, column].std().item()
    probe = load_probe(tmp_path / WEIGHTS_FILE)
    with torch.no_grad():
        yaw = probe.read(batch["image"])[1][:, 1]
    assert (yaw - batch["view"][:, 1]).square().mean().sqrt().item() == pytest.approx(scores["yaw"], rel=0.05)
    assert read_about(tmp_path / WEIGHTS_FILE)["validation"] == scores
    assert run.networks.training


def test_pictures_without_truth() -> None:
    with pytest.raises(InputError, match=r"spheres: expected pictures with image, view.*; view is missing"):
        task(pictures=Spheres())
    with pytest.raises(InputError, match="view is missing"):
        task(held_out=Spheres())
