"""The loop of trainings, on a linear regression whose every state can be compared bit for bit."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan2shape.errors import CheckpointError, InputError, OutputError
from gan2shape.io.files import FolderLock
from gan2shape.train.run import DivergedError, Schedule, iteration_rng, run_training


@pytest.fixture(autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """A shell that starts the tests in the background has them ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Line:
    """Fits a line to random points; counts its snapshots and keeps a running mean beside its module."""

    kind = "line"

    def __init__(self, seed: int = 0, rate: float = 0.05, stop_at: int = -1, signals: int = 1) -> None:
        self.config: dict[str, Any] = {"seed": seed, "rate": rate}
        self.net = nn.Linear(2, 1)
        nn.init.ones_(self.net.weight)
        nn.init.zeros_(self.net.bias)
        self.adam = torch.optim.Adam(self.net.parameters(), lr=rate)
        self.mean = torch.zeros(1)
        self.stop_at, self.signals, self.snapshots = stop_at, signals, list[int]()

    def step(self, index: int) -> dict[str, float]:
        rng = iteration_rng(self.config["seed"], index, torch.device("cpu"))
        points = torch.randn(8, 2, generator=rng)
        loss = (self.net(points) - points.sum(1, keepdim=True) * 3).square().mean()
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        if index == self.stop_at:
            for _ in range(self.signals):
                signal.raise_signal(signal.SIGINT)
        self.mean = 0.9 * self.mean + 0.1 * loss.detach()
        return {"loss": float(loss.detach())}

    def modules(self) -> dict[str, nn.Module]:
        return {"net": self.net}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"adam": self.adam}

    def extra_state(self) -> dict[str, Tensor]:
        return {"mean": self.mean}

    def load_extra_state(self, tensors: dict[str, Tensor]) -> None:
        self.mean = tensors["mean"]

    def snapshot(self, folder: Path, index: int) -> dict[str, float]:
        self.snapshots.append(index)
        return {"bias": float(self.net.bias.detach())}


def state(line: Line) -> list[Tensor]:
    moments = [value for entry in line.adam.state_dict()["state"].values() for _, value in sorted(entry.items())]
    return [line.net.weight.detach(), line.net.bias.detach(), line.mean, *moments]


def same(a: Line, b: Line) -> bool:
    return all(torch.equal(x, y) for x, y in zip(state(a), state(b), strict=True))


def history(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_a_resumed_training_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, first, second = Line(), Line(), Line()
    run_training(whole, tmp_path / "whole", Schedule(20), resume=False)
    assert run_training(first, tmp_path / "parts", Schedule(10), resume=False) == 10
    assert not same(whole, first)
    assert run_training(second, tmp_path / "parts", Schedule(20), resume=True) == 20
    assert same(whole, second)


def test_ctrl_c_waits_for_the_iteration_and_keeps_it(tmp_path: Path) -> None:
    whole, stopped, again = Line(), Line(stop_at=6), Line()
    run_training(whole, tmp_path / "whole", Schedule(12), resume=False)
    with pytest.raises(KeyboardInterrupt):
        run_training(stopped, tmp_path / "parts", Schedule(12), resume=False)
    seen: list[int] = []
    run_training(
        again, tmp_path / "parts", Schedule(12), resume=True, on_progress=lambda done, steps, n: seen.append(done)
    )
    assert seen == [8, 9, 10, 11, 12]
    assert same(whole, again)


def test_a_second_ctrl_c_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    whole, again = Line(), Line()
    run_training(whole, tmp_path / "whole", Schedule(12), resume=False)
    with pytest.raises(KeyboardInterrupt):
        run_training(Line(stop_at=6, signals=2), tmp_path / "parts", Schedule(12, save_every=4), resume=False)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    seen: list[int] = []
    run_training(
        again, tmp_path / "parts", Schedule(12), resume=True, on_progress=lambda done, steps, n: seen.append(done)
    )
    assert seen[0] == 5
    assert same(whole, again)


def test_a_time_limit_leaves_a_checkpoint(tmp_path: Path) -> None:
    done = run_training(Line(), tmp_path, Schedule(10**9, minutes=0.02), resume=False)
    assert 0 < done < 10**9
    assert run_training(Line(), tmp_path, Schedule(done + 1), resume=True) == done + 1


def test_the_history_has_every_iteration_once(tmp_path: Path) -> None:
    """A run that died after its last checkpoint logged iterations that are trained again."""
    schedule = Schedule(10, log_every=2)
    run_training(Line(), tmp_path, schedule, resume=False)
    with open(tmp_path / "history.jsonl", "a") as file:
        file.write('{"iteration": 12, "loss": 99.0}\n{"iteration": 13, "lo')
    run_training(Line(), tmp_path, Schedule(14, log_every=2), resume=True)
    losses = [record for record in history(tmp_path) if "loss" in record]
    assert [record["iteration"] for record in losses] == [2, 4, 6, 8, 10, 12, 14]
    assert all(record["loss"] < 99 for record in losses)


def test_the_history_holds_means_and_validation(tmp_path: Path) -> None:
    numbers: list[float] = []
    run_training(
        Line(),
        tmp_path,
        Schedule(5, snapshot_every=3, log_every=5),
        resume=False,
        on_progress=lambda done, steps, n: numbers.append(n["loss"]),
    )
    records = history(tmp_path)
    assert [r["iteration"] for r in records if "snapshot/bias" in r] == [3, 5]
    (mean,) = [r["loss"] for r in records if "loss" in r]
    assert mean == pytest.approx(sum(numbers) / 5)


def test_an_existing_training_is_not_overwritten(tmp_path: Path) -> None:
    run_training(Line(), tmp_path, Schedule(2), resume=False)
    with pytest.raises(InputError, match="holds a training already"):
        run_training(Line(), tmp_path, Schedule(4), resume=False)
    with pytest.raises(InputError, match=r"rate = 0.05; got 0.1"):
        run_training(Line(rate=0.1), tmp_path, Schedule(4), resume=True)


def test_a_rate_that_falls_over_other_steps_is_told_by_its_flags(tmp_path: Path) -> None:
    def falling(steps: int) -> Line:
        line = Line()
        line.config["falling_steps"] = steps
        return line

    run_training(falling(2), tmp_path, Schedule(2), resume=False)
    for steps, now in ((4, "falls over --steps 4"), (0, r"stays \(--final-rate 1\)")):
        with pytest.raises(InputError, match=rf"a rate that falls over --steps 2; got a rate that {now}; use the same"):
            run_training(falling(steps), tmp_path, Schedule(4), resume=True)


def test_another_kind_and_damage_are_told(tmp_path: Path) -> None:
    run_training(Line(), tmp_path, Schedule(2), resume=False)
    other = Line()
    other.kind = "plane"
    with pytest.raises(InputError, match="expected the state of a plane training; got line"):
        run_training(other, tmp_path, Schedule(4), resume=True)
    file = tmp_path / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        run_training(Line(), tmp_path, Schedule(4), resume=True)


def test_networks_of_another_shape_are_told(tmp_path: Path) -> None:
    run_training(Line(), tmp_path, Schedule(2), resume=False)
    other = Line()
    other.net = nn.Linear(3, 1)
    with pytest.raises(InputError, match="its net does not fit"):
        run_training(other, tmp_path, Schedule(4), resume=True)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with FolderLock(tmp_path), pytest.raises(OutputError, match="no other run"):
        run_training(Line(), tmp_path, Schedule(2), resume=False)


def test_divergence_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    class Wild(Line):
        def step(self, index: int) -> dict[str, float]:
            return {"loss": float("nan")} if index == 5 else super().step(index)

    with pytest.raises(DivergedError, match="loss became nan in iteration 6"):
        run_training(Wild(), tmp_path, Schedule(10, save_every=2), resume=False)
    assert run_training(Line(), tmp_path, Schedule(4), resume=True) == 4


def test_random_numbers_differ_by_iteration_seed_and_name() -> None:
    device = torch.device("cpu")
    draws = [
        torch.rand(3, generator=iteration_rng(seed, index, device, name))
        for seed, index, name in ((0, 0, ""), (0, 1, ""), (1, 0, ""), (0, 0, "noise"), (0, 10, ""), (1, 1, ""))
    ]
    assert all(not torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])
    assert torch.equal(draws[0], torch.rand(3, generator=iteration_rng(0, 0, device)))
