"""`run_training`: the loop of every training, with checkpoints from which it goes on exactly.

The whole state of a training is the number of iterations done, its modules, its optimisers and a few tensors beside
them. Everything random at iteration ``i`` is drawn from a generator seeded by the training's seed and ``i``
(`iteration_rng`), and pictures are asked for by number, so nothing else has to be kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gan2shape.distributed import any_process, world
from gan2shape.errors import InputError, OutputError
from gan2shape.io.checkpoints import read_metadata, read_tensors, write_tensors
from gan2shape.io.files import FolderLock, translated_output_errors, write_json, write_text

CONFIG_FILE, STATE_FILE, HISTORY_FILE, SNAPSHOTS = "config.json", "state.safetensors", "history.jsonl", "snapshots"
_FORMAT = "1"


class Task(Protocol):
    """One training: owns its networks and optimisers.

    Attributes:
        kind: name of what is trained.
        config: all settings, as JSON; a run folder is only continued with the same.
    """

    kind: str
    config: dict[str, Any]

    def step(self, index: int) -> dict[str, float]:
        """Iteration ``index``, from 0; returns numbers for the log."""
        ...

    def modules(self) -> dict[str, nn.Module]:
        """What is kept exactly: parameters and buffers."""
        ...

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers, by name."""
        ...

    def extra_state(self) -> dict[str, Tensor]:
        """Tensors beside modules and optimisers that the next iteration needs."""
        ...

    def load_extra_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `extra_state` gave."""
        ...

    def snapshot(self, folder: Path, index: int) -> dict[str, float]:
        """After ``index`` iterations: write pictures to look at and weights to hand on; returns validation numbers."""
        ...


@dataclass(frozen=True)
class Schedule:
    """How long a training runs and when it writes.

    Attributes:
        steps: iterations in all, those of earlier runs included.
        save_every: iterations between checkpoints.
        snapshot_every: iterations between snapshots.
        minutes: stop after this long, with a checkpoint; 0 = no limit.
        log_every: iterations between two lines of history, each the mean since the last.
    """

    steps: int
    save_every: int = 1000
    snapshot_every: int = 1000
    minutes: float = 0.0
    log_every: int = 50


OnProgress = Callable[[int, int, Mapping[str, float]], None]
"""Told how many iterations are done, of how many, and the last numbers."""


class DivergedError(RuntimeError):
    """A number of the log is not finite; the last checkpoint is from before that."""


def iteration_rng(seed: int, index: int, device: torch.device, name: str = "") -> torch.Generator:
    """The random generator of iteration ``index``; ``name`` tells several of one iteration apart."""
    digest = hashlib.blake2b(f"{seed}/{index}/{name}".encode(), digest_size=7).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little"))


def weights_seed(seed: int, name: str = "") -> int:
    """The seed of the initial weights of a generator and of what learns beside it.

    A hash: whoever draws normal numbers under ``seed`` itself must not draw the weights of the mapping network.
    """
    return iteration_rng(seed, 0, torch.device("cpu"), f"{name} weights".strip()).initial_seed()


def run_training(
    task: Task,
    folder: Path,
    schedule: Schedule,
    *,
    resume: bool,
    on_progress: OnProgress = lambda done, steps, numbers: None,
    tensorboard: bool = False,
) -> int:
    """Train until the schedule's end, its time limit or Ctrl-C; a checkpoint is written in each case.

    Args:
        task: what is trained.
        folder: run folder; gets config.json, state.safetensors, history.jsonl and snapshots/.
        schedule: how long, and when to write.
        resume: go on from the folder's checkpoint; without one the training starts anew.
        on_progress: told after every iteration.
        tensorboard: also write the history for TensorBoard (needs the extra ``track``).

    Returns:
        The number of iterations done, earlier runs included.

    Raises:
        InputError: the folder holds a training already and ``resume`` is not set, or one with other settings.
        CheckpointError: the checkpoint is damaged or does not fit.
        OutputError: the folder cannot be written.
        DivergedError: the training ran away.
    """
    if world()[0] != 0:
        return _Run(task, folder, schedule, lambda done, steps, numbers: None, None).go(_start(task, folder, resume))
    with FolderLock(folder):
        done = _start(task, folder, resume)
        write_json(folder / CONFIG_FILE, {"kind": task.kind, **task.config})
        _cut_history(folder / HISTORY_FILE, done)
        writer = _summary_writer(folder) if tensorboard else None
        return _Run(task, folder, schedule, on_progress, writer).go(done)


class _Run:
    """One call of `run_training`."""

    def __init__(self, task: Task, folder: Path, schedule: Schedule, on_progress: OnProgress, writer: Any) -> None:
        self.task, self.folder, self.schedule, self.on_progress = task, folder, schedule, on_progress
        self.writer, self.chief = writer, world()[0] == 0

    def go(self, done: int) -> int:
        """Iterate from ``done`` on."""
        end = time.monotonic() + 60 * self.schedule.minutes if self.schedule.minutes > 0 else math.inf
        saved, snapped, logged = done, done, done
        recent: list[dict[str, float]] = []
        came: list[int] = []
        whole = True
        try:
            with _held_interrupts(came):
                while done < self.schedule.steps and not any_process(bool(came) or time.monotonic() >= end):
                    whole = False
                    numbers = self.task.step(done)
                    done, whole = done + 1, True
                    self._check(numbers, done)
                    recent.append(numbers)
                    self.on_progress(done, self.schedule.steps, numbers)
                    if done - logged >= self.schedule.log_every:
                        self._log(done, _means(recent))
                        recent, logged = [], done
                    if done - snapped >= self.schedule.snapshot_every:
                        self._snapshot(done)
                        snapped = done
                    if done - saved >= self.schedule.save_every:
                        self._save(done)
                        saved = done
            if came and done < self.schedule.steps:
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            if whole:  # Half an iteration is no state to go on from exactly; the last checkpoint is.
                self._save(done)
            raise
        if recent:
            self._log(done, _means(recent))
        if snapped < done:
            self._snapshot(done)
        if saved < done:
            self._save(done)
        return done

    def _check(self, numbers: Mapping[str, float], done: int) -> None:
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise DivergedError(f"{name} became {value} in iteration {done}; try a smaller learning rate")

    def _log(self, done: int, numbers: Mapping[str, float]) -> None:
        if not self.chief:
            return
        with translated_output_errors(self.folder), open(self.folder / HISTORY_FILE, "a", encoding="utf-8") as file:
            file.write(json.dumps({"iteration": done, "time": round(time.time(), 1), **numbers}) + "\n")
        if self.writer is not None:
            for name, value in numbers.items():
                self.writer.add_scalar(name, value, done)
            self.writer.flush()

    def _snapshot(self, done: int) -> None:
        if not self.chief:
            return
        numbers = self.task.snapshot(self.folder / SNAPSHOTS, done)
        if numbers:
            self._log(done, {f"snapshot/{name}": value for name, value in numbers.items()})

    def _save(self, done: int) -> None:
        if self.chief:
            save_state(self.task, self.folder / STATE_FILE, done)


def save_state(task: Task, file: Path, done: int) -> None:
    """Write everything that the iterations after the first ``done`` need.

    Raises:
        OutputError: the place cannot be written.
    """
    tensors = {f"extra/{name}": tensor for name, tensor in task.extra_state().items()}
    for name, module in task.modules().items():
        tensors.update({f"module/{name}/{key}": value for key, value in module.state_dict().items()})
    for name, optimizer in task.optimizers().items():
        for index, values in optimizer.state_dict()["state"].items():
            tensors.update({f"optimizer/{name}/{index}/{key}": torch.as_tensor(v) for key, v in values.items()})
    settings = json.dumps(task.config, sort_keys=True)
    header = {"format": _FORMAT, "kind": task.kind, "done": str(done), "config": settings}
    write_tensors(file, tensors, header)


def load_state(task: Task, file: Path) -> int:
    """Restore what `save_state` wrote; returns the number of iterations done.

    Raises:
        InputError: a checkpoint of another kind of training, or of one with other settings.
        CheckpointError: damaged.
    """
    header, tensors = read_metadata(file), read_tensors(file)
    if header.get("format") != _FORMAT or header.get("kind") != task.kind:
        raise InputError(
            f"{file}: expected the state of a {task.kind} training; got {header.get('kind', 'another file')}"
        )
    _check_config(file, json.loads(header["config"]), json.loads(json.dumps(task.config)))
    for name, module in task.modules().items():
        try:
            module.load_state_dict(_below(tensors, f"module/{name}/"))
        except RuntimeError as error:
            raise InputError(
                f"{file}: its {name} does not fit this training ({str(error).splitlines()[-1].strip()})"
            ) from None
    for name, optimizer in task.optimizers().items():
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _below(tensors, f"optimizer/{name}/").items():
            index, _, entry = key.partition("/")
            state.setdefault(int(index), {})[entry] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    task.load_extra_state(_below(tensors, "extra/"))
    return int(header["done"])


def check_folder(folder: Path, *, resume: bool) -> None:
    """Refuse a folder that holds a training, unless it is to go on: raises `InputError`."""
    if (folder / STATE_FILE).exists() and not resume:
        raise InputError(f"{folder}: holds a training already; go on with it by --resume, or choose another folder")


def _start(task: Task, folder: Path, resume: bool) -> int:
    check_folder(folder, resume=resume)
    return load_state(task, folder / STATE_FILE) if (folder / STATE_FILE).exists() else 0


def _check_config(file: Path, kept: dict[str, Any], asked: dict[str, Any]) -> None:
    for key in sorted({*kept, *asked}):
        if kept.get(key) != asked.get(key):
            was, now = f"{key} = {kept.get(key)!r}", repr(asked.get(key))
            if key == "falling_steps":
                was, now = _falling(kept.get(key)), _falling(asked.get(key))
            raise InputError(f"{file}: was trained with {was}; got {now}; use the same settings, or another folder")


def _falling(steps: Any) -> str:
    """The setting that follows from two flags, by their names."""
    return f"a rate that falls over --steps {steps}" if steps else "a rate that stays (--final-rate 1)"


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _means(records: list[dict[str, float]]) -> dict[str, float]:
    """Means of what was logged; a number that not every iteration has is averaged over those that have it."""
    names = dict.fromkeys(name for record in records for name in record)
    values = {name: [record[name] for record in records if name in record] for name in names}
    return {name: sum(v) / len(v) for name, v in values.items()}


def _cut_history(file: Path, done: int) -> None:
    """Drop what an earlier run logged after its last checkpoint, or everything where the training starts anew."""
    if not file.exists():
        return
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    write_text(file, "".join(f"{line}\n" for line in lines if done and _iteration_of(line) <= done))


def _iteration_of(line: str) -> float:
    """Of a line of history; infinity for what a killed run or a full disk left of one."""
    try:
        return float(json.loads(line)["iteration"])
    except (ValueError, KeyError, TypeError):
        return math.inf


@contextlib.contextmanager
def _held_interrupts(came: list[int]) -> Iterator[None]:
    """Put Ctrl-C, and a signal that was set to act like it, into ``came`` instead of raising KeyboardInterrupt.

    So it cannot cut an iteration in two. A second one comes through at once. Python handles signals in the main thread
    alone; in others nothing is held.
    """

    def hold(number: int, frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    likely = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    held = [number for number in likely if signal.getsignal(number) is signal.default_int_handler]
    for number in held:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number in held:
            signal.signal(number, signal.default_int_handler)


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise OutputError('--tensorboard needs the extra "track": pip install "gan2shape[track]"') from None
    return SummaryWriter(str(folder / "tensorboard"))
