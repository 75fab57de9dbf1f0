"""The supervised depth network: its loss against numpy, exact resume, and that it learns the depth of spheres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan2shape.networks.trained import load_depth_network, read_about
from gan2shape.render import normals_from_depth
from gan2shape.train.run import Schedule, run_training
from gan2shape.train.settings import WEIGHTS_FILE, TrainSettings
from gan2shape.train.supervised import SupervisedTask, inside
from tests.train.faces import Spheres

SMALL = TrainSettings(width_multiplier=1 / 32, batch_size=4, learning_rate=2e-3)


def task(**changed: object) -> SupervisedTask:
    return SupervisedTask(**{"pictures": Spheres(), "settings": SMALL, "device": torch.device("cpu"), **changed})


@torch.no_grad()
def test_terms_equal_their_description() -> None:
    run = task(normal_weight=2.0)
    batch = run.pictures(0, 3)
    predicted = run.network(batch["image"])
    terms = run.losses(batch["image"], batch["depth"], batch["mask"])
    object_pixels = batch["mask"].numpy() > 0
    ratio = np.log(predicted.numpy()[object_pixels] / batch["depth"].numpy()[object_pixels])
    assert float(terms["depth"]) == pytest.approx(100 * np.abs(ratio).mean(), rel=1e-4)
    mask = batch["mask"][:, 0]
    lengths = []
    true, guess = (normals_from_depth(d, run.camera) for d in (batch["depth"].clamp(min=0.5), predicted))
    for b, row, column in mask.nonzero().tolist():
        around = mask[b, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        if bool(around.all()):
            lengths.append(float((true - guess)[b, :, row, column].norm()))
    assert float(terms["normals"]) == pytest.approx(np.mean(lengths), rel=1e-4)
    assert float(terms["total"]) == pytest.approx(float(terms["depth"] + 2 * terms["normals"]), rel=1e-5)


def test_what_is_outside_the_mask_does_not_count() -> None:
    run = task()
    batch = run.pictures(0, 2)
    anything = torch.where(batch["mask"] > 0, batch["depth"], 7.0)
    a, b = (run.losses(batch["image"], depth, batch["mask"])["total"] for depth in (batch["depth"], anything))
    assert torch.equal(a, b)
    assert torch.isfinite(a)


def test_the_inside_of_a_mask() -> None:
    mask = torch.zeros(1, 1, 8, 8)
    mask[:, :, 2:7, 1:6] = 1
    expected = torch.zeros(8, 8)
    expected[3:6, 2:5] = 1
    assert torch.equal(inside(mask)[0, 0], expected)


def test_ten_and_ten_iterations_are_twenty(tmp_path: Path) -> None:
    whole, first, second = task(), task(), task()
    run_training(whole, tmp_path / "whole", Schedule(20), resume=False)
    run_training(first, tmp_path / "parts", Schedule(10), resume=False)
    run_training(second, tmp_path / "parts", Schedule(20), resume=True)
    for a, b in zip(whole.networks.state_dict().values(), second.networks.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_snapshot_is_a_sheet_weights_and_scores(tmp_path: Path) -> None:
    run = task(validate=lambda predict: {"mean": float(predict(Spheres()(0, 2)["image"])[0].mean())})
    scores = run.snapshot(tmp_path, 3)
    assert set(scores) == {"mean"}
    assert Image.open(tmp_path / "0000003.png").size == (7 * 16 * 2, 6 * 16 * 2)
    assert read_about(tmp_path / WEIGHTS_FILE)["normal_weight"] == 1
    image = Spheres()(5, 1)["image"]
    with torch.no_grad():
        assert torch.allclose(load_depth_network(tmp_path / WEIGHTS_FILE)(image), run.predict(image)[0], atol=2e-3)


def test_the_depth_of_unseen_spheres_is_learnt() -> None:
    run = task()
    batch = run.pictures(100_000, 16)

    def error() -> float:
        predicted, hit = run.predict(batch["image"])
        assert bool(hit.all())
        difference = (predicted.log() - batch["depth"].clamp(min=0.5).log()).squeeze(1)
        return float(np.mean([d[m > 0].std() for d, m in zip(difference, batch["mask"][:, 0], strict=True)]))

    for index in range(100):
        run.step(index)
    flat = (batch["depth"].clamp(min=0.5).log()).squeeze(1)
    constant = float(np.mean([d[m > 0].std() for d, m in zip(flat, batch["mask"][:, 0], strict=True)]))
    assert error() < 0.7 * constant
