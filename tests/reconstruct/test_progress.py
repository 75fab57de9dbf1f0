"""Progress: saved and loaded bit for bit, refused when it is another job's; the runner's bookkeeping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan2shape.errors import InputError, UserError
from gan2shape.io.checkpoints import write_tensors
from gan2shape.reconstruct.progress import (
    Progress,
    StepRunner,
    gather_weights,
    identity_hash,
    load_progress,
    load_weights,
    save_progress,
    step_rng,
)
from gan2shape.reconstruct.step2_projection import ProjectedSamples
from gan2shape.reconstruct.watch import Event, IterationDone, StepFinished, StepStarted, Stopped
from gan2shape.render import Scene
from tests.reconstruct.small import bumpy_scene, true_renders

CPU = torch.device("cpu")
IDENTITY = {"picture": "ab", "seed": 3, "configuration": {"stages": (1, 2)}}


def some_progress() -> Progress:
    torch.manual_seed(0)
    return Progress(
        finished=("shape prior", "stage 1: albedo", "stage 1: projection"),
        networks=gather_weights({"factors": nn.Linear(2, 3), "encoder": nn.Linear(4, 1)}),
        values={
            "shape prior": None,
            "stage 1: albedo": bumpy_scene(),
            "stage 1: projection": true_renders(bumpy_scene(), 3),
        },
        history=({"step": "shape prior", "iteration": 0, "total": 0.1},),
    )


def tensors_of(value: Scene | ProjectedSamples) -> list[Tensor]:
    maps = [value.depth, value.albedo] if isinstance(value, Scene) else [value.images, value.masks]
    light = value.lighting
    return [*maps, value.pose.rotation, value.pose.translation, light.ambient, light.diffuse, light.direction]


def test_progress_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    before = some_progress()
    save_progress(tmp_path / "progress", before, identity=IDENTITY)
    after = load_progress(tmp_path / "progress", IDENTITY, CPU)
    assert after.finished == before.finished
    assert after.history == before.history
    assert after.networks.keys() == before.networks.keys()
    assert all(torch.equal(after.networks[name], before.networks[name]) for name in before.networks)
    assert list(after.values) == list(before.values)
    for name, value in before.values.items():
        loaded = after.values[name]
        assert type(loaded) is type(value)
        if value is not None:
            assert loaded is not None
            assert all(torch.equal(a, b) for a, b in zip(tensors_of(loaded), tensors_of(value), strict=True))


@pytest.mark.parametrize(
    ("key", "value"), [("picture", "cd"), ("seed", 4), ("configuration", {"stages": (1, 3)}), ("mask", "new")]
)
def test_progress_of_another_job_is_refused_in_one_line_that_names_the_difference(
    tmp_path: Path, key: str, value: Any
) -> None:
    save_progress(tmp_path / "progress", some_progress(), identity=IDENTITY)
    with pytest.raises(InputError) as caught:
        load_progress(tmp_path / "progress", {**IDENTITY, key: value}, CPU)
    assert f"another {key}; repeat that run's command with --resume" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_progress_are_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "other.safetensors", {"a": torch.zeros(1)}, {"x": "y"})
    with pytest.raises(InputError, match="expected the saved progress of a reconstruction"):
        load_progress(tmp_path / "other.safetensors", IDENTITY, CPU)
    save_progress(tmp_path / "cut.safetensors", some_progress(), identity=IDENTITY)
    whole = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError) as caught:
        load_progress(tmp_path / "cut.safetensors", IDENTITY, CPU)
    assert "cut.safetensors" in str(caught.value)


def test_weights_go_out_and_in_again() -> None:
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    weights = gather_weights({"net": first})
    assert set(weights) == {"net.weight", "net.bias"}
    load_weights({"net": second}, {**weights, "other.weight": torch.zeros(1)})
    assert torch.equal(first.weight, second.weight)
    with torch.no_grad():
        first.weight.add_(1)
    assert not torch.equal(first.weight, weights["net.weight"]), "what was gathered must be a copy"


@pytest.mark.parametrize("wrong", [{}, {"net.weight": torch.zeros(9, 9), "net.bias": torch.zeros(2)}])
def test_weights_of_another_network_are_refused(wrong: dict[str, Tensor]) -> None:
    with pytest.raises(InputError, match="weights of the net network do not fit") as caught:
        load_weights({"net": nn.Linear(3, 2)}, wrong)
    assert "\n" not in str(caught.value)


def test_every_step_and_seed_has_random_numbers_of_its_own() -> None:
    def draw(seed: int, name: str) -> float:
        return float(torch.rand((), generator=step_rng(seed, name, CPU)))

    assert draw(0, "a") == draw(0, "a")
    assert len({draw(0, "a"), draw(1, "a"), draw(0, "b")}) == 3


def test_the_identity_of_pictures_and_texts() -> None:
    image = torch.rand(1, 3, 4, 4)
    assert identity_hash(image) == identity_hash(image.clone())
    assert identity_hash(image) != identity_hash(image.flip(3))
    assert identity_hash(image.transpose(2, 3)) == identity_hash(image.transpose(2, 3).contiguous())
    assert identity_hash("a") != identity_hash("b")


def runner(events: list[Event], kept: list[Progress], resume: Progress | None = None) -> StepRunner:
    modules = {"net": nn.Linear(1, 1)}
    return StepRunner(modules, seed=0, device=CPU, on_event=events.append, keep=kept.append, resume=resume)


def step(value: Any, *, steps: int, on_iteration: Any) -> Any:
    for iteration in range(steps):
        on_iteration(iteration, {"total": float(iteration)})
    return value


def test_the_runner_tells_keeps_and_forgets() -> None:
    events, kept = list[Event](), list[Progress]()
    run, scene = runner(events, kept), bumpy_scene()
    assert run("one", 2, step, scene) is scene
    run("two", 1, step, None, forget=True)
    names = [type(event).__name__ for event in events]
    assert names == [
        "StepStarted",
        *["IterationDone"] * 2,
        "StepFinished",
        "StepStarted",
        "IterationDone",
        "StepFinished",
    ]
    assert events[0] == StepStarted("one", 2)
    assert events[2] == IterationDone("one", 1, {"total": 1.0})
    assert [progress.finished for progress in kept] == [("one",), ("one", "two")]
    assert list(kept[0].values) == ["one"]
    assert list(kept[1].values) == [], "the next stage needs nothing of this one"
    assert run.history == [
        {"step": "one", "iteration": 0, "total": 0.0},
        {"step": "one", "iteration": 1, "total": 1.0},
        {"step": "two", "iteration": 0, "total": 0.0},
    ]


def test_a_resumed_runner_takes_finished_steps_over() -> None:
    events, kept = list[Event](), list[Progress]()
    first, scene = runner([], kept), bumpy_scene()
    first("one", 1, step, scene)
    again = runner(events, kept, resume=kept[-1])
    assert torch.equal(gather_weights(again.modules)["net.weight"], kept[-1].networks["net.weight"])

    def never(**_: Any) -> Any:
        raise AssertionError("this step was finished")

    assert again("one", 1, never) is scene
    assert events == [StepFinished("one", resumed=True)]
    assert again.history == first.history


def test_an_early_end_names_the_step_under_way() -> None:
    events: list[Event] = []
    run = runner(events, [])
    run("one", 1, step, None)

    def failing(**_: Any) -> Any:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run("two", 1, failing)
    run.stop("the loss became nan")
    assert events[-1] == Stopped("two", "the loss became nan")
    assert run.warnings == ["stopped early in two: the loss became nan"]
