"""What a reconstruction tells while it runs: values that a progress bar, a log or a test may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gan2shape.reconstruct.optimize import Record


@dataclass(frozen=True)
class StepStarted:
    """A step begins: its name (``"stage 1: albedo"``) and its number of iterations."""

    name: str
    iterations: int


@dataclass(frozen=True)
class IterationDone:
    """One iteration of the current step is over."""

    name: str
    iteration: int
    record: Record


@dataclass(frozen=True)
class StepFinished:
    """A step is over. ``resumed`` says that its result came from an earlier run."""

    name: str
    resumed: bool = False


@dataclass(frozen=True)
class Stopped:
    """The reconstruction ends early, with the last good state; ``reason`` says why."""

    name: str
    reason: str


Event = StepStarted | IterationDone | StepFinished | Stopped
OnEvent = Callable[[Event], None]
OnIteration = Callable[[int, Record], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
