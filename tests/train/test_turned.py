"""Training from turned views: its pictures, its terms on rendered views of known yaw, exact resume, its weights."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gan2shape.errors import InputError
from gan2shape.networks.trained import read_about
from gan2shape.networks.turned import load_turned
from gan2shape.priors.ellipsoid import EllipsoidPrior
from gan2shape.train.run import Schedule, run_training
from gan2shape.train.settings import WEIGHTS_FILE
from gan2shape.train.turned import TurnedViews
from tests.train.turnable import SMALL, Heads, LinearEncoder, masker, task, views_of

KEYS = {"image", "mask", "ellipsoid", "turn", "view", "view_turn"}


@pytest.fixture(scope="module")
def encoder() -> LinearEncoder:
    return LinearEncoder(Heads())


@pytest.fixture(scope="module")
def views(encoder: LinearEncoder) -> TurnedViews:
    return views_of(encoder)


def test_keys_shapes_and_ranges(views: TurnedViews) -> None:
    batch = views(0, 12)
    shapes = {name: tuple(values.shape) for name, values in batch.items()}
    assert shapes == {
        "image": (12, 3, 16, 16),
        "mask": (12, 1, 16, 16),
        "ellipsoid": (12, 1, 16, 16),
        "turn": (12,),
        "view": (12, 3, 3, 16, 16),
        "view_turn": (12, 3),
    }
    assert max(batch[name].abs().max() for name in ("image", "view")) <= 1
    for image, mask, crude in zip(batch["image"], batch["mask"], batch["ellipsoid"], strict=True):
        assert torch.equal(masker(image[None])[0], mask)
        assert torch.equal(EllipsoidPrior().depth(mask[None])[0], crude)
    assert (views.size, views.count) == (16, 12)
    assert views.description == "12 pictures of heads with 3 turned views each, seed 5"


def test_every_epoch_is_another_order_of_the_same_pictures(encoder: LinearEncoder, views: TurnedViews) -> None:
    again, other = views_of(encoder), views_of(encoder, seed=6)
    for name in KEYS:
        assert torch.equal(again(5, 20)[name], views(5, 20)[name])
    epochs = [views(12 * k, 12)["turn"].tolist() for k in range(3)]
    assert len(set(epochs[0])) == 12
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])
    assert epochs[0] != epochs[1] != epochs[2]
    assert views(7, 10)["turn"].tolist() == epochs[0][7:] + epochs[1][:5]  # Across two epochs.
    assert not set(other(0, 12)["turn"].tolist()) & set(epochs[0])


def test_views_show_the_same_heads_under_the_turns_that_are_told(encoder: LinearEncoder) -> None:
    """The encoder's guess of yaw and looks is nearly right for these pictures; the turns say that yaw."""
    stream = views_of(encoder, count=150, views=2)
    batch = stream(0, 150)
    view, turn = batch["view"].flatten(0, 1), batch["view_turn"].flatten()
    guess, own = encoder(view), encoder(batch["image"]).repeat_interleave(2, dim=0)
    for told, yaw in ((turn, guess[:, 0]), (batch["turn"], encoder(batch["image"])[:, 0])):
        assert np.corrcoef(told, yaw)[0, 1] > 0.97
        assert float(told @ yaw / (yaw @ yaw)) == pytest.approx(1, abs=0.2)
    assert abs(np.corrcoef(turn, batch["turn"].repeat_interleave(2))[0, 1]) < 0.2  # Drawn anew.
    assert float(turn.std()) == pytest.approx(1, abs=0.2)
    for k in (2, 3, 4):  # Looks.
        assert np.corrcoef(guess[:, k], own[:, k])[0, 1] > 0.95


def test_pictures_without_an_object_are_left_out(encoder: LinearEncoder) -> None:
    seen: list[int] = []

    def third(image: Tensor) -> Tensor:
        seen.append(len(seen))
        if len(seen) % 3 == 1:
            raise InputError("nothing there")
        if len(seen) % 3 == 2:  # One pixel: no crude shape stands on it.
            return F.pad(image.new_ones(1, 1, 1, 1), (3, 12, 3, 12))
        return masker(image)

    assert len(views_of(encoder, masker=third, count=4)(0, 4)["image"]) == 4
    assert len(seen) == 12

    def none(image: Tensor) -> Tensor:
        raise InputError("nothing there")

    with pytest.raises(InputError, match=r"in the pictures of heads; the masker found 0 in 16 pictures"):
        views_of(encoder, masker=none, count=4)


@pytest.mark.parametrize(("count", "used"), [(1, 1), (2, 2), (4, 2)])
def test_chosen_views_come_with_their_owners_and_turns(views: TurnedViews, count: int, used: int) -> None:
    numbers = torch.arange(3 * count, dtype=torch.float32).reshape(3, count)
    batch = {
        "view": numbers[:, :, None, None, None].expand(3, count, 3, 4, 4),
        "view_turn": numbers / 10,
        "turn": torch.tensor([0.5, -0.5, 2.0]),
    }
    run, seen = task(views), set()
    for index in range(10):
        owner, view, turn, view_turn = run._choose(batch, index)
        assert owner.tolist() == [k for k in range(3) for _ in range(used)]
        which = view[:, 0, 0, 0]
        assert torch.equal((which // count).long(), owner)
        assert len(set(which.tolist())) == 3 * used
        assert torch.equal(turn, batch["turn"])
        torch.testing.assert_close(view_turn, which / 10)
        seen |= set(which.tolist())
    assert len(seen) == 3 * count


def test_settling_learns_the_crude_shape_drawn_lights_and_turns(views: TurnedViews) -> None:
    run = task(views, replace(SMALL, width_multiplier=1 / 16, learning_rate=8e-3), settle=1000)
    batch = views(0, 12)

    def terms() -> dict[str, float]:
        parts = [run.settling(batch, 5000 + k) for k in range(4)]
        assert all(torch.equal(part["total"], part["shape"] + part["light"] + part["pose"]) for part in parts)
        return {name: float(np.mean([part[name].item() for part in parts])) for name in parts[0]}

    with torch.no_grad():
        before = terms()
        expected = 100 * (run.network.depth(batch["image"]) - batch["ellipsoid"]).abs().mean()
        assert before["shape"] == pytest.approx(float(expected), rel=1e-5)
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
        assert set(terms) == {"total", "views", "pose", "roughness"}
        assert all(math.isfinite(value) for value in terms.values())
        assert terms["total"] == pytest.approx(terms["views"] + terms["pose"] + terms["roughness"], rel=1e-4)
    after = means()
    assert after[0] < 0.85 * before[0]
    assert after[1] < 0.9 * before[1]


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
    assert (whole.config["settle"], whole.config["yaw_std_deg"]) == (3, 20)


def test_pose_and_light_learn_slower(views: TurnedViews) -> None:
    """Adam's first step moves every weight with a gradient by the learning rate."""
    run = task(views, settle=0)
    before = {name: value.clone() for name, value in run.networks.named_parameters()}
    groups = run.optimizer.param_groups
    assert sorted(id(p) for g in groups for p in g["params"]) == sorted(id(p) for p in run.networks.parameters())
    run.step(0)
    for name, value in run.networks.named_parameters():
        moved = (value - before[name]).abs().max().item()
        share = 1 if name.startswith("turned.depth_net") else 0.4
        assert moved == pytest.approx(share * 2e-3, rel=1e-2), name


def test_a_snapshot_is_a_sheet_weights_and_scores(views: TurnedViews, tmp_path: Path) -> None:
    image = views(3, 2)["image"]
    run = task(views, validate=lambda predict: {"mean": float(predict(image)[0].mean())})
    scores = run.snapshot(tmp_path, 7)
    depth, _ = run.predict(image)
    assert scores == {"mean": pytest.approx(float(depth.mean()))}
    assert Image.open(tmp_path / "0000007.png").size == (7 * 16 * 2, 6 * 16 * 2)
    about = read_about(tmp_path / WEIGHTS_FILE)
    assert (about["steps"], about["validation"], about["pictures"]) == (7, scores, views.description)
    with torch.no_grad():
        scene, kept = load_turned(tmp_path / WEIGHTS_FILE)(image), run.network(image)
    torch.testing.assert_close(scene.depth, kept.depth, rtol=0, atol=2e-3)
    torch.testing.assert_close(scene.pose.rotation, kept.pose.rotation, rtol=0, atol=2e-3)


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
