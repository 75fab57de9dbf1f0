"""Objects of a generator that are refined one by one: what is kept of each, going on, and those that run away."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gan2shape.distributed import world
from gan2shape.errors import InputError
from gan2shape.io.checkpoints import read_metadata
from gan2shape.networks.one_pass import TurnedStart
from gan2shape.reconstruct import teacher, turned_refinement
from gan2shape.reconstruct.config import Turned
from gan2shape.reconstruct.optimize import DivergedError
from gan2shape.reconstruct.teacher import refined_object, refined_objects
from gan2shape.render.units import PoseRange, pose_from_units
from tests.reconstruct.known_turns import NOD, SIZE, TURN, known_gan, known_start
from tests.train.turnable import LATENTS, YAW_DEG

QUICK = Turned(views=5, refine=3, hold=1, batch_size=2)


@pytest.fixture(scope="module")
def start() -> TurnedStart:
    return known_start()


def objects(folder: Path, start: TurnedStart, **changed: Any) -> list[dict[str, torch.Tensor]]:
    flags = {"count": 3, "settings": QUICK, "truncation": 0.7, "seed": 4}
    told: list[int] = changed.pop("told", [])
    return refined_objects(folder, known_gan(), start, **{**flags, **changed}, on_done=told.append)


def test_an_object_has_its_views_their_poses_and_one_depth(start: TurnedStart) -> None:
    gan = known_gan()
    found = refined_object(gan, start, 2, settings=QUICK, truncation=1.0, seed=0)
    assert found["view"].dtype == found["front"].dtype == torch.uint8
    shapes = {"view": (6, 3, SIZE, SIZE), "pose": (6, 6), "front": (3, SIZE, SIZE), "front_pose": (6,)}
    shapes |= {"depth": (1, SIZE, SIZE), "mask": (1, SIZE, SIZE)}
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == shapes
    assert found["mask"].dtype == torch.bool
    again = refined_object(gan, start, 2, settings=QUICK, truncation=1.0, seed=0)
    other = refined_object(gan, start, 3, settings=QUICK, truncation=1.0, seed=0)
    assert all(torch.equal(again[name], value) for name, value in found.items())
    assert not any(torch.equal(other[name], found[name]) for name in ("view", "pose", "depth"))


def test_the_poses_are_those_of_the_views(start: TurnedStart) -> None:
    """Hardly refined, they are the turns that the known encoder reads and the nods that were asked for."""
    gan = known_gan()
    still = Turned(views=12, refine=1, hold=1, learning_rate=0.0)
    found = refined_object(gan, start, 0, settings=still, truncation=1.0, seed=0)
    made = gan.generator.made  # type: ignore[attr-defined]
    angles = pose_from_units(found["pose"], PoseRange()).euler().rad2deg()[1:]
    assert float((angles[:, 1] - YAW_DEG * made[:, TURN]).abs().mean()) < 6
    assert float(torch.corrcoef(torch.stack([angles[:, 0], made[:, NOD]]))[0, 1]) > 0.9
    facing = pose_from_units(found["front_pose"][None], PoseRange()).euler().rad2deg()
    assert float(facing[:, 1].abs()) < 4


def test_an_object_begins_with_the_shape_that_is_told(start: TurnedStart) -> None:
    still = Turned(views=4, refine=1, hold=1, learning_rate=0.0)
    shape = torch.zeros(LATENTS + 1, SIZE * SIZE)
    shape[-1] = 0.97
    telling = TurnedStart(start.networks, replace(start.turning, shape=shape))
    found = refined_object(known_gan(), telling, 0, settings=still, truncation=1.0, seed=0)
    inside = found["depth"][found["mask"]]
    assert float((inside - 0.97).abs().median()) < 1e-6


def test_objects_are_not_compared_with_their_mirror_images(start: TurnedStart, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their shapes would lean."""

    asked: list[Any] = []
    monkeypatch.setattr(turned_refinement, "mirror_disagreement", lambda *all_of_it: asked.append(all_of_it))
    refined_object(known_gan(), start, 0, settings=Turned(views=4, refine=1, hold=0), truncation=1.0, seed=0)
    assert not asked


def test_finished_objects_are_not_made_again(
    start: TurnedStart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    first = objects(tmp_path, start, count=2, told=told)
    assert told == [1, 2]
    made: list[int] = []
    real = refined_object

    def counted(loaded: Any, begun: TurnedStart, number: int, **flags: Any) -> dict[str, torch.Tensor]:
        made.append(number)
        return real(loaded, begun, number, **flags)

    monkeypatch.setattr(teacher, "refined_object", counted)
    every = objects(tmp_path, start)
    assert made == [2]
    assert len(every) == 3
    for kept, before in zip(every, first, strict=False):
        assert all(torch.equal(kept[name], value) for name, value in before.items())
    assert json.loads(read_metadata(tmp_path / "000002.safetensors")["settings"])["truncation"] == 0.7


@pytest.mark.parametrize("changed", [{"truncation": 0.5}, {"seed": 5}, {"settings": replace(QUICK, views=4)}])
def test_objects_of_other_settings_are_refused_before_more_are_made(
    start: TurnedStart, tmp_path: Path, changed: dict[str, Any]
) -> None:
    objects(tmp_path, start, count=1)
    with pytest.raises(InputError, match=r"000000\.safetensors: expected an object of the same settings"):
        objects(tmp_path, start, count=2, **changed)
    assert [file.name for file in tmp_path.iterdir()] == ["000000.safetensors"]


def test_objects_of_other_networks_are_refused(start: TurnedStart, tmp_path: Path) -> None:
    objects(tmp_path, start, count=1)
    other = deepcopy(start)
    with torch.no_grad():
        next(other.networks.parameters()).add_(0.1)
    with pytest.raises(InputError, match="same settings, generator, networks and encoder"):
        objects(tmp_path, other, count=1)


def test_processes_share_the_objects_and_make_the_same_ones(
    start: TurnedStart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes one after the other, each finding what the other had made, against one."""
    whole = objects(tmp_path / "whole", start)
    (tmp_path / "parts").mkdir()
    for number in (0, 2):  # What the first process makes.
        shutil.copy(tmp_path / "whole" / f"{number:06d}.safetensors", tmp_path / "parts")
    told: list[int] = []
    monkeypatch.setattr(teacher, "world", lambda: (1, 2))
    parts = objects(tmp_path / "parts", start, told=told)
    assert told == [2, 3]
    for one, other in zip(whole, parts, strict=True):
        assert all(torch.equal(one[name], value) for name, value in other.items())


def test_a_process_refines_its_objects_by_itself(
    start: TurnedStart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else gradients would be averaged with those of another process's object."""
    for name, value in (("is_initialized", True), ("get_rank", 0), ("get_world_size", 2)):
        monkeypatch.setattr(torch.distributed, name, lambda value=value: value)
    monkeypatch.setattr(teacher, "any_process", lambda said: said)
    seen: list[tuple[int, int]] = []

    def watched(*_: Any, **__: Any) -> dict[str, torch.Tensor]:
        seen.append(world())
        raise DivergedError("enough", [])

    monkeypatch.setattr(teacher, "refined_object", watched)
    with pytest.raises(InputError, match="ran away"):
        objects(tmp_path, start, count=1)
    assert seen == [(0, 1)]
    assert world() == (0, 2)


def test_an_object_that_runs_away_is_left_out_for_good(
    start: TurnedStart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = refined_object

    def unlucky(loaded: Any, begun: TurnedStart, number: int, **flags: Any) -> dict[str, torch.Tensor]:
        if number != 1:
            raise DivergedError("the loss became nan", [])
        return real(loaded, begun, number, **flags)

    monkeypatch.setattr(teacher, "refined_object", unlucky)
    assert len(objects(tmp_path, start)) == 1
    assert "view" not in load_file(tmp_path / "000000.safetensors")
    with pytest.raises(InputError, match="all 1 refinements ran away"):
        objects(tmp_path, start, count=1)
