"""Flags that all verbs of ``gan2shape train`` share, and the progress bar of a training."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from tyro.conf import FlagCreatePairsOff, arg

from gan2shape.cli.runtime import Compute, check_seed, say
from gan2shape.errors import UserError

if TYPE_CHECKING:
    import torch

    from gan2shape.train.pictures import Pictures
    from gan2shape.train.run import Task
    from gan2shape.train.settings import TrainSettings

_MOST = 10**9


@dataclass(frozen=True)
class RunFlags:
    """How long a network is trained, and where to."""

    output: Annotated[Path, arg(aliases=("-o",), metavar="FOLDER")] = Path("training")
    """Run folder: settings, checkpoint, history and snapshots."""
    resume: FlagCreatePairsOff[bool] = False
    """Go on from the folder's checkpoint, exactly as if there had been no interruption."""
    steps: Annotated[int, arg(metavar="COUNT")] = 20_000
    """Iterations in all, those of earlier runs included."""
    minutes: Annotated[float, arg(metavar="MINUTES")] = 0.0
    """Stop after this long, with a checkpoint to go on from (0: no limit)."""
    save_every: Annotated[int, arg(metavar="COUNT")] = 500
    """Iterations between checkpoints."""
    snapshot_every: Annotated[int, arg(metavar="COUNT")] = 1000
    """Iterations between snapshots: pictures to look at, weights to use."""
    tensorboard: FlagCreatePairsOff[bool] = False
    """Also write the history for TensorBoard (needs the extra "track")."""

    def check(self) -> None:
        """Refuse numbers that no training can have.

        Raises:
            UserError: naming the flag.
        """
        for flag, value in (
            ("--steps", self.steps),
            ("--save-every", self.save_every),
            ("--snapshot-every", self.snapshot_every),
        ):
            if not 1 <= value <= _MOST:
                raise UserError(f"{flag} must be from 1 to {_MOST}; got {value}")
        if not 0 <= self.minutes <= _MOST:
            raise UserError(f"--minutes must be 0 (no limit) or more; got {self.minutes}")

    def train(self, task: Task) -> None:
        """Run the training with a progress bar, and say where its files are.

        Raises:
            UserError: the run folder cannot be used, or the training ran away.
        """
        from gan2shape.distributed import world
        from gan2shape.train.run import DivergedError, Schedule, run_training

        # A training is often ended by a batch system or "kill", and should keep its state then as after Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        schedule = Schedule(self.steps, self.save_every, self.snapshot_every, self.minutes)
        with _Bar(task.kind) as bar:
            try:
                done = run_training(
                    task,
                    self.output,
                    schedule,
                    resume=self.resume,
                    on_progress=bar.show,
                    tensorboard=self.tensorboard,
                )
            except DivergedError as error:
                raise UserError(f"{error}; the last checkpoint is kept in {self.output}") from None
        if world()[0] != 0:
            return
        say(f"{done} of {self.steps} iterations: {self.output}")
        if done < self.steps:
            say("to go on: the same command with --resume")


@dataclass(frozen=True)
class AdamFlags(RunFlags):
    """Flags of the trainings with one Adam."""

    resumable: ClassVar[bool] = True
    memory_advice: ClassVar[str] = "close other programs, or start anew with a smaller --batch-size or --width"

    batch_size: Annotated[int, arg(metavar="COUNT")] = 64
    """Pictures in an iteration."""
    width: Annotated[float, arg(metavar="FACTOR")] = 1.0
    """Factor on the widths of all networks."""
    learning_rate: Annotated[float, arg(metavar="RATE")] = 1e-4
    """Adam's learning rate at the first iteration."""
    final_rate: Annotated[float, arg(metavar="FACTOR")] = 1.0
    """Learning rate of the last iteration as a fraction of the first; it falls exponentially over --steps, which
    cannot be changed after the start unless this is 1."""
    bfloat16: FlagCreatePairsOff[bool] = False
    """Compute the large networks in bfloat16: faster on processors that have it."""

    def settings(self, seed: int, *, weight_decay: float = 0.0) -> TrainSettings:
        """The flags as settings of a training.

        Raises:
            UserError: a number that no training can have.
        """
        from gan2shape.train.settings import TrainSettings

        self.check()
        for flag, value, least, most in (
            ("--batch-size", self.batch_size, 1, 1 << 20),
            ("--width", self.width, 1 / 64, 16),
            ("--learning-rate", self.learning_rate, 1e-8, 1),
            ("--final-rate", self.final_rate, 1e-6, 1),
        ):
            if not least <= value <= most:
                raise UserError(f"{flag} must be from {least:g} to {most:g}; got {value}")
        return TrainSettings(
            width_multiplier=self.width,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            final_rate=self.final_rate,
            falling_steps=0 if self.final_rate == 1 else self.steps,
            weight_decay=weight_decay,
            bfloat16=self.bfloat16,
            seed=seed,
        )

    def check_share(self) -> None:
        """Refuse processes that cannot share a batch evenly.

        Raises:
            UserError: the batch size is no multiple of their number.
        """
        from gan2shape.distributed import world

        if self.batch_size % world()[1]:
            raise UserError(f"--batch-size must be a multiple of the {world()[1]} processes; got {self.batch_size}")


@dataclass(frozen=True)
class TrainingFlags(Compute, RunFlags):
    """From what, how long and where to a network is trained."""

    data: Annotated[Path, arg(metavar="SOURCE")] = Path("pictures")
    """Pictures: a folder or zip file of pictures, a packed .npz file, or a head model (its packed file or its folder),
    which is rendered on the fly."""
    seed: int = 0
    """Seed of everything random."""
    size: Annotated[int, arg(metavar="PIXELS")] = 64
    """Side of the pictures, a power of two."""
    views: Annotated[int, arg(metavar="COUNT")] = 1
    """With a head model as source: how many successive pictures show one head."""

    def check(self) -> None:
        """Refuse numbers that no training can have.

        Raises:
            UserError: naming the flag.
        """
        super().check()
        check_seed(self.seed, "--seed")
        if not 1 <= self.views <= _MOST:
            raise UserError(f"--views must be from 1 to {_MOST}; got {self.views}")
        check_side(self.size)

    def open(self, device: torch.device) -> Pictures:
        """The stream of pictures.

        Raises:
            UserError: the source is missing, damaged or empty.
        """
        from gan2shape.data import open_pictures

        return open_pictures(self.data, size=self.size, seed=self.seed, device=device, views=self.views)


def check_side(size: int) -> None:
    """Refuse a ``--size`` that the networks cannot have.

    Raises:
        UserError: no power of two from 16 to 1024.
    """
    if not (16 <= size <= 1024 and size & (size - 1) == 0):
        raise UserError(f"--size must be a power of two from 16 to 1024; got {size}")


class _Bar:
    """Progress of a training, with the time left and its numbers."""

    def __init__(self, kind: str) -> None:
        from rich.progress import TextColumn

        from gan2shape.cli.progress import new_bars, new_console

        self.bars = new_bars(new_console(), TextColumn("{task.fields[numbers]}"))
        self.task = self.bars.add_task(f"training {kind}", total=None, numbers="")

    def __enter__(self) -> _Bar:
        self.bars.start()
        return self

    def __exit__(self, *failure: Any) -> None:
        self.bars.stop()

    def show(self, done: int, steps: int, numbers: Mapping[str, float]) -> None:
        """After iteration ``done`` of ``steps``."""
        text = " ".join(f"{name} {value:.3g}" for name, value in list(numbers.items())[:3])
        self.bars.update(self.task, completed=done, total=steps, numbers=text)
