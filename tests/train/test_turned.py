"""Training from fronts and views: what is chosen and seen, its terms, exact resume, its weights, what it predicts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from gan2shape.networks.agreement import disagreement
from gan2shape.networks.trained import read_about
from gan2shape.networks.turned import load_turned
from gan2shape.networks.turning import TURN_DEG, load_turning, pose_of_moves
from gan2shape.priors.distributions import GENERIC_LIGHTING
from gan2shape.train.run import Schedule, run_training
from gan2shape.train.settings import WEIGHTS_FILE
from gan2shape.train.turned import AS_DRAWN, TurnedTask, drawn_lights
from gan2shape.train.turned_views import TurnedViews
from tests.train.turnable import (
    EVEN,
    LATENTS,
    SMALL,
    FittedEncoder,
    Heads,
    Says,
    head,
    places,
    rendered,
    task,
    views_of,
)

TERMS = {"views", "pose", "light", "roughness", "mean light"}


@pytest.fixture(scope="module")
def encoder() -> FittedEncoder:
    return FittedEncoder(Heads())


@pytest.fixture(scope="module")
def views(encoder: FittedEncoder) -> TurnedViews:
    return views_of(encoder)


@pytest.mark.parametrize(("count", "used"), [(1, 1), (2, 2), (4, 2)])
def test_chosen_views_come_with_their_owners_and_turns(views: TurnedViews, count: int, used: int) -> None:
    numbers = torch.arange(3 * count, dtype=torch.float32).reshape(3, count)
    batch = {
        "view": numbers[:, :, None, None, None].expand(3, count, 3, 4, 4),
        "view_turn": numbers / 10,
        "view_nod": 7 * numbers,
        "turn": torch.tensor([0.5, -0.5, 2.0]),
        "front": torch.rand(3, 3, 4, 4),
        "mask": torch.ones(3, 1, 4, 4),
    }
    run, seen = task(views), set()
    for index in range(10):
        shown = run._choose(batch, index)
        assert shown.owner.tolist() == [k for k in range(3) for _ in range(used)]
        which = shown.view[:, 0, 0, 0]
        assert torch.equal((which // count).long(), shown.owner)
        assert len(set(which.tolist())) == 3 * used
        assert torch.equal(shown.front_pose, pose_of_moves(batch["turn"]))
        assert torch.equal(shown.front, batch["front"])
        assert torch.equal(shown.mask, batch["mask"])
        torch.testing.assert_close(shown.view_pose, pose_of_moves(which / 10, 7 * which))
        seen |= set(which.tolist())
    assert len(seen) == 3 * count


def test_the_depth_network_sees_drawn_pictures_and_any_view(views: TurnedViews) -> None:
    numbers = torch.arange(12.0).reshape(3, 4)
    batch = {"view": numbers[:, :, None, None, None].expand(3, 4, 3, 2, 2), "view_turn": numbers}
    run = task(views)
    seen = torch.stack([run._seen(batch, index)[:, 0, 0, 0] for index in range(300)])
    assert torch.equal(seen // 4, torch.arange(3.0).expand(300, 3))  # Each sees its own.
    share = torch.bincount((seen % 4).long().flatten(), minlength=4) / seen.numel()
    expected = torch.tensor([AS_DRAWN + (1 - AS_DRAWN) / 4] + [(1 - AS_DRAWN) / 4] * 3)
    torch.testing.assert_close(share, expected, rtol=0, atol=0.05)
    assert torch.equal(run._seen(batch, 7), task(views)._seen(batch, 7))


def test_settling_learns_the_crude_shape_drawn_lights_and_turns(views: TurnedViews) -> None:
    run = task(views, replace(SMALL, width_multiplier=1 / 16, learning_rate=8e-3), settle=1000)
    batch = views(0, 12)

    def terms() -> dict[str, float]:
        parts = [run.settling(batch, 5000 + k) for k in range(4)]
        assert all(torch.equal(part["total"], part["shape"] + part["light"] + part["pose"]) for part in parts)
        return {name: float(np.mean([part[name].item() for part in parts])) for name in parts[0]}

    with torch.no_grad():
        before = terms()
        parts = [run.network.depth(run._seen(batch, 5000 + k)) - batch["ellipsoid"] for k in range(4)]
        assert before["shape"] == pytest.approx(100 * float(torch.stack(parts).abs().mean()), rel=1e-4)
    for index in range(100):
        assert set(run.step(index)) == {"total", "shape", "light", "pose"}
    with torch.no_grad():
        after = terms()
    assert after["shape"] < 0.5 * before["shape"]
    assert after["light"] < 0.95 * before["light"]
    assert after["pose"] < 0.9 * before["pose"]


def test_losses_are_finite_and_fall(views: TurnedViews) -> None:
    run = task(views, replace(SMALL, learning_rate=3e-3), settle=20)
    for index in range(20):
        run.step(index)
    batch = views(0, 12)

    @torch.no_grad()
    def means() -> tuple[float, float]:
        parts = [run.losses(batch, 5000 + k) for k in range(4)]
        return float(np.mean([part["total"] for part in parts])), float(np.mean([part["views"] for part in parts]))

    before = means()
    for index in range(20, 85):
        terms = run.step(index)
        assert {"total", *TERMS} == set(terms)
        assert all(math.isfinite(value) for value in terms.values())
        assert terms["total"] == pytest.approx(sum(terms.values()) - terms["total"], rel=1e-4)
    after = means()
    assert after[0] < 0.85 * before[0]
    assert after[1] < 0.97 * before[1]


def test_four_and_four_iterations_are_eight(views: TurnedViews, tmp_path: Path) -> None:
    settings = replace(SMALL, final_rate=0.1, falling_steps=8)
    whole, first, second = (task(views, settings, settle=3) for _ in range(3))
    run_training(whole, tmp_path / "whole", Schedule(8), resume=False)
    run_training(first, tmp_path / "parts", Schedule(4), resume=False)
    run_training(second, tmp_path / "parts", Schedule(8), resume=True)
    for a, b in zip(whole.networks.state_dict().values(), second.networks.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    middle, end = (run.networks["turned"].depth_net.decoder[-1].weight for run in (first, whole))
    assert not torch.equal(middle, end)
    assert json.loads(json.dumps(whole.config)) == whole.config
    assert whole.config["generator"] == "0" * 64
    assert (whole.config["settle"], whole.config["turn_deg"]) == (3, TURN_DEG)


def test_pose_and_light_learn_slower(views: TurnedViews) -> None:
    """Adam's first step moves every weight with a gradient by the learning rate."""
    run = task(views, settle=0)
    before = {name: value.clone() for name, value in run.networks.named_parameters()}
    groups = run.optimizer.param_groups
    assert sorted(id(p) for g in groups for p in g["params"]) == sorted(id(p) for p in run.networks.parameters())
    run.step(0)
    moves: dict[bool, list[float]] = {}
    for name, value in run.networks.named_parameters():
        moved = (value - before[name]).abs().max().item()
        moves.setdefault(name.startswith("turned.depth_net"), []).append(moved)
    assert moves[True] == pytest.approx([2e-3] * len(moves[True]), rel=1e-2)
    assert moves[False] == pytest.approx([moves[False][0]] * len(moves[False]), rel=1e-2)
    assert moves[False][0] < 0.7 * 2e-3


def test_a_snapshot_is_a_sheet_weights_and_scores(views: TurnedViews, tmp_path: Path) -> None:
    image = views(3, 2)["front"]
    run = task(views, validate=lambda predict: {"mean": float(predict(image)[0].mean())})
    scores = run.snapshot(tmp_path, 7)
    depth, _ = run.predict(image)
    assert scores == {"mean": pytest.approx(float(depth.mean()))}
    assert Image.open(tmp_path / "0000007.png").size == (7 * 16 * 2, 6 * 16 * 2)
    about = read_about(tmp_path / WEIGHTS_FILE)
    assert (about["steps"], about["validation"], about["pictures"]) == (7, scores, views.description)
    weights = load_file(tmp_path / WEIGHTS_FILE)
    for name, tensor in views.turning.tensors().items():
        assert torch.equal(weights[name], tensor)  # In full precision, beside the networks.
    with torch.no_grad():
        scene, kept = load_turned(tmp_path / WEIGHTS_FILE)(image), run.network(image)
    torch.testing.assert_close(scene.depth, kept.depth, rtol=0, atol=2e-3)
    torch.testing.assert_close(scene.pose.rotation, kept.pose.rotation, rtol=0, atol=2e-3)


def test_the_directions_of_a_snapshot_move_objects_as_before(
    encoder: FittedEncoder, views: TurnedViews, tmp_path: Path
) -> None:
    task(views).snapshot(tmp_path, 1)
    again, found = load_turning(tmp_path / WEIGHTS_FILE, encoder), views.turning
    latents, by = torch.randn(5, LATENTS, generator=torch.Generator().manual_seed(2)), torch.linspace(-1, 1, 5)
    moves = (by, -by, 9 * by, 0.5 * by)
    assert torch.equal(again.moved(latents, *moves), found.moved(latents, *moves))
    assert torch.equal(again.coordinate(views(0, 5)["front"]), found.coordinate(views(0, 5)["front"]))


def test_low_precision_is_the_depth_networks_alone(views: TurnedViews) -> None:
    exact, low = (task(views, replace(SMALL, bfloat16=bfloat16)) for bfloat16 in (False, True))
    batch = views(0, 4)
    with torch.no_grad():
        a, b = (run.settling(batch, 0) for run in (exact, low))
    assert torch.equal(a["light"], b["light"])
    assert torch.equal(a["pose"], b["pose"])
    assert not torch.equal(a["shape"], b["shape"])
    torch.testing.assert_close(a["shape"], b["shape"], rtol=0.05, atol=0)
    assert all(math.isfinite(value) for index in (0, 2) for value in low.step(index).values())


def test_drawn_lights(rng: torch.Generator) -> None:
    lights = drawn_lights(torch.zeros(500, 3, 2, 2), rng)
    torch.testing.assert_close(lights.ambient + lights.diffuse, torch.ones(500, 1))
    torch.testing.assert_close(lights.direction.norm(dim=1), torch.ones(500))
    slopes = lights.direction[:, :2] / lights.direction[:, 2:]
    prior = GENERIC_LIGHTING
    for values, least, most in ((slopes[:, 0], prior.x_min, prior.x_max), (slopes[:, 1], prior.y_min, prior.y_max)):
        assert least - 1e-6 <= values.min() < least + 0.05
        assert most - 0.05 < values.max() <= most + 1e-6
    assert 0.2 < lights.diffuse.min() < lights.diffuse.max() < 1  # Strong ones, that leave no side black.


def knowing(pictures: TurnedViews, depth: Callable[[Tensor], Tensor], pose: Says | None = None) -> TurnedTask:
    """A training whose networks say what is planted: this depth, these poses, and light from the camera."""
    run = task(pictures)
    run.network.depth = depth
    run.network.view_net = pose or Says((0.0,) * 6)
    run.network.light_net = Says(EVEN)
    return run


POSES_DEG = ((2.0, -6.0), (-7.0, 12.0))
"""Pitch and yaw of the planted front and view."""
LEFT = (0.0, 0.0, 0.6, 0.0)


def said(sign: int = 1) -> Says:
    """The planted poses as a network says them; with -1 those in a mirror."""
    return Says(*((pitch / 60, sign * yaw / 60, 0.0, 0.0, 0.0, 0.0) for pitch, yaw in POSES_DEG))


def planted_batch(light: tuple[float, ...] = EVEN) -> tuple[dict[str, Tensor], Tensor]:
    """A head with one view under a light, and its depth, which is not its own mirror image."""
    depth, mask = head(Heads().camera)
    depth = depth + 0.02 * places(16)[1]
    pictures, masks = rendered(POSES_DEG, (EVEN, light), depth, mask)
    turns = torch.tensor([yaw for _, yaw in POSES_DEG]) / TURN_DEG
    kept = {"front": pictures[:1], "mask": masks[:1], "turn": turns[:1], "ellipsoid": depth}
    nods = torch.tensor([[POSES_DEG[1][0]]])
    return {**kept, "view": pictures[None, 1:], "view_turn": turns[None, 1:], "view_nod": nods}, depth


@pytest.mark.parametrize("light", [EVEN, LEFT])
def test_losses_are_how_badly_the_seen_depth_and_poses_explain_the_views(
    views: TurnedViews, light: tuple[float, ...]
) -> None:
    """The light network says light from the camera whatever the view's is: the light is solved for."""
    batch, depth = planted_batch(light)
    right = knowing(views, lambda image: depth, said())
    terms, units = right.losses(batch, 0), said().rows
    for name, value in disagreement(right.network, depth, right._choose(batch, 0), units).items():
        assert name == "total" or torch.equal(terms[name], value)
    torch.testing.assert_close(terms["total"], sum(terms[name] for name in TERMS))
    assert terms["views"] < 0.04

    def others(shape: Tensor, pose: Says) -> float:
        return float(knowing(views, lambda image: shape, pose).losses(batch, 0)["views"])

    assert others(torch.full_like(depth, 1.02), said()) > 2 * terms["views"]
    assert others(depth.flip(-1), said()) > 1.2 * terms["views"]
    assert others(depth, Says((0.0,) * 6)) > 2 * terms["views"]


def test_the_light_network_is_compared_with_the_lights_that_were_solved_for(views: TurnedViews) -> None:
    batch, depth = planted_batch(LEFT)
    run = knowing(views, lambda image: depth, said())
    wrong = run.losses(batch, 0)["light"]
    run.network.light_net = Says(EVEN, LEFT)
    assert run.losses(batch, 0)["light"] < 0.5 * wrong


def test_the_view_network_learns_what_was_read_and_asked_for(views: TurnedViews) -> None:
    """In its first iterations; the pitch of a front is taken to be none."""
    batch, depth = planted_batch()
    known = Says((0.0, -0.1, 0, 0, 0, 0), (-7 / 60, 0.2, 0, 0, 0, 0))
    assert knowing(views, lambda image: depth, known).settling(batch, 0)["pose"].item() == pytest.approx(0, abs=1e-6)
    unnodding = Says((0.0, -0.1, 0, 0, 0, 0), (0.0, 0.2, 0, 0, 0, 0))
    error = knowing(views, lambda image: depth, unnodding).settling(batch, 0)["pose"].item()
    assert error == pytest.approx(0.1 * (7 / 60) / 2, rel=1e-4)


def test_mirrored_batches_have_opposite_turns_and_the_same_nods(views: TurnedViews) -> None:
    batch, tilted = planted_batch()
    # A second view that nods otherwise, so that an order that changes is seen.
    batch |= {"view": batch["view"].expand(-1, 2, -1, -1, -1), "view_turn": batch["view_turn"].expand(-1, 2)}
    batch["view_nod"] = torch.cat([batch["view_nod"], batch["view_nod"] + 1], 1)

    def as_seen(image: Tensor) -> bool:
        return torch.equal(image[-1:], batch["view"][:, 0])

    run = knowing(views, lambda image: tilted if as_seen(image) else tilted.flip(-1))
    posed = {same: Says(*said(1 if same else -1).rows[[0, 1, 1]].tolist()) for same in (True, False)}
    run.network.view_net.forward = lambda image: posed[as_seen(image)](image)
    run.pictures = lambda start, count: batch
    run.settle = 0
    taken: list[dict[str, Tensor]] = []

    def losses(batch: dict[str, Tensor], index: int) -> dict[str, Tensor]:
        taken.append({name: values.clone() for name, values in batch.items()})
        return TurnedTask.losses(run, batch, index)

    run.losses = losses
    run.update = lambda terms, index: {name: value.item() for name, value in terms.items()}
    numbers = [run.step(index) for index in range(12)]
    plain = [torch.equal(one["front"], batch["front"]) for one in taken]
    assert 2 <= sum(plain) <= 10
    for one, same, number in zip(taken, plain, numbers, strict=True):
        for name, values in batch.items():
            turned = values if name == "view_nod" else -values if values.ndim < 3 else values.flip(-1)
            assert torch.equal(one[name], values if same else turned)
        assert number["views"] < 0.04
        assert number["total"] == pytest.approx(numbers[0]["total"], rel=0.1)  # Triangles differ a little.


def test_predicted_is_the_depth_of_the_view(views: TurnedViews) -> None:
    camera = Heads().camera
    depth, _ = head(camera)
    run = knowing(views, lambda image: depth, Says((0.0, 0.3, 0.0, 0.0, 0.0, 0.0)))  # 18 degrees.
    seen, hit = run.predict(torch.zeros(1, 3, 16, 16))
    assert (seen.shape, hit.shape) == ((1, 1, 16, 16), (1, 1, 16, 16))
    cos, sin, pivot = math.cos(math.radians(18)), math.sin(math.radians(18)), camera.pivot_depth
    x, _, z = (depth[0, 0, :, :, None] * camera.rays(depth)).unbind(-1)
    across, far = cos * x + sin * (z - pivot), cos * (z - pivot) - sin * x + pivot
    columns = (across / far / math.tan(math.radians(5)) + 1) * 7.5
    errors = []
    for row in range(1, 15):  # Rows move up and down by less than a tenth of a pixel.
        expected = np.interp(np.arange(16), columns[row], far[row], left=np.nan, right=np.nan)
        got = np.where(hit[0, 0, row] > 0, seen[0, 0, row], np.nan)
        assert np.array_equal(np.isnan(got), np.isnan(expected))
        errors.append(np.abs(got - expected))
    assert np.isnan(errors).any()
    assert np.nanmedian(errors) < 5e-4
    assert np.nanquantile(errors, 0.9) < 5e-3
