"""Unsup3D: its loss against a slow re-derivation, exact resume, and that it learns from pictures alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from gan2shape.networks.trained import load_unsup3d, read_about
from gan2shape.render import mirror, normals_from_depth, render
from gan2shape.train.run import Schedule, run_training
from gan2shape.train.settings import WEIGHTS_FILE, TrainSettings
from gan2shape.train.unsup3d import ROUNDING, Unsup3DTask
from tests.train.faces import Spheres

SMALL = TrainSettings(width_multiplier=1 / 32, batch_size=4, learning_rate=1e-3)


def task(**changed: object) -> Unsup3DTask:
    options = {"pictures": Spheres(keys=("image",)), "settings": SMALL, "device": torch.device("cpu"), **changed}
    return Unsup3DTask(**options)


def quarters(image: Tensor) -> Tensor:
    """Stands in for VGG: five numbers for each 4×4 pixels."""
    mixed = torch.einsum("kc,bchw->bkhw", torch.arange(15, dtype=image.dtype).view(5, 3) / 15, image)
    return torch.nn.functional.avg_pool2d(mixed, 4)


@torch.no_grad()
def test_terms_equal_their_description() -> None:
    run = task(features=quarters)
    image = run.pictures(0, 3)["image"]
    scene = run.factors(image)
    fine, coarse = run.networks["confidence"](image)
    seen = render(scene, run.camera), render(mirror(scene), run.camera)
    both = seen[0].mask * seen[1].mask
    expected = []
    for which, rendering in enumerate(seen):
        numerator = denominator = 0.0
        for b, row, column in both[:, 0].nonzero().tolist():
            sigma = float(fine[b, which, row, column]) + ROUNDING
            for c in range(3):
                off = abs(float(rendering.image[b, c, row, column] - image[b, c, row, column]))
                numerator += math.sqrt(2) * off / sigma + math.log(sigma)
                denominator += 1
        expected.append(numerator / denominator)
    soft = both.view(3, 1, 4, 4, 4, 4).mean((3, 5))
    for which, rendering in enumerate(seen):
        sigma = coarse[:, which : which + 1]
        each = (quarters(rendering.image) - quarters(image)) ** 2 / (2 * sigma**2) + sigma.log()
        expected.append(float((each * soft).sum() / (5 * soft.sum())))
    terms = run.losses(image)
    got = [float(terms[name]) for name in ("picture", "flipped", "features", "flipped_features")]
    assert got == pytest.approx(expected, rel=1e-4)
    picture, flipped, features, flipped_features = expected
    total = picture + 0.5 * flipped + features + 0.5 * flipped_features
    assert float(terms["total"]) == pytest.approx(total, rel=1e-4)


def test_every_network_learns_and_smoothness_is_optional() -> None:
    run = task(depth_smoothness=0.1)
    terms = run.losses(run.pictures(0, 2)["image"])
    terms["total"].backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in run.factors.parameters())
    assert any(bool(p.grad.any()) for p in run.networks["confidence"].parameters() if p.grad is not None)
    paper = task()
    same = paper.losses(run.pictures(0, 2)["image"])
    assert "roughness" not in same
    added = (terms["total"] - same["total"]).detach()
    assert float(added) == pytest.approx(0.1 * float(terms["roughness"].detach()), rel=1e-3)


def test_a_flat_start_is_flat() -> None:
    image = Spheres(64)(0, 2)["image"]
    angles = []
    for flat in (False, True):
        run = task(pictures=Spheres(64), settings=TrainSettings(width_multiplier=1 / 8), flat_start=flat)
        with torch.no_grad():
            normals = normals_from_depth(run.factors.depth(image), run.camera)[:, 2, 5:-5, 5:-5]
        angles.append(float(torch.rad2deg(torch.acos(normals)).mean()))
    assert angles[0] > 60
    assert angles[1] < 10


def test_ten_and_ten_iterations_are_twenty(tmp_path: Path) -> None:
    settings = TrainSettings(1 / 32, 4, 1e-3, final_rate=0.1, falling_steps=20, bfloat16=True)
    whole, first, second = (task(settings=settings) for _ in range(3))
    run_training(whole, tmp_path / "whole", Schedule(20), resume=False)
    run_training(first, tmp_path / "parts", Schedule(10), resume=False)
    run_training(second, tmp_path / "parts", Schedule(20), resume=True)
    for a, b in zip(whole.networks.state_dict().values(), second.networks.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(next(first.networks.parameters()), next(second.networks.parameters()))


def test_a_snapshot_is_a_sheet_weights_and_scores(tmp_path: Path) -> None:
    run = task(validate=lambda predict: {"mean": float(predict(Spheres()(0, 2)["image"])[0].mean())})
    scores = run.snapshot(tmp_path, 3)
    depth, hit = run.predict(Spheres()(0, 2)["image"])
    assert scores == {"mean": float(depth.mean())}
    assert hit.shape == depth.shape == (2, 1, 16, 16)
    assert Image.open(tmp_path / "0000003.png").size == (8 * 16 * 2, 6 * 16 * 2)
    about = read_about(tmp_path / WEIGHTS_FILE)
    assert (about["steps"], about["validation"], about["perceptual_term"]) == (3, scores, False)
    image = Spheres()(5, 1)["image"]
    with torch.no_grad():
        assert torch.allclose(load_unsup3d(tmp_path / WEIGHTS_FILE).depth(image), run.factors.depth(image), atol=2e-3)


@pytest.mark.slow
def test_pictures_are_explained_better_and_better() -> None:
    run = task(flat_start=True, depth_smoothness=0.03)
    first = [run.step(index)["difference"] for index in range(5)]
    last = [run.step(index)["difference"] for index in range(5, 155)][-5:]
    assert sum(last) < 0.5 * sum(first)
