"""`minimize`: the only place of the reconstruction where gradients are taken and parameters move."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gan2shape.distributed import any_process, average_gradients

Losses = Mapping[str, Tensor]
"""Named scalar terms; ``"total"`` is the one that is minimised."""

Record = dict[str, float]
"""The terms of one iteration as plain numbers."""

_SNAPSHOT_EVERY = 25
_EXPLOSION = 25.0
"""A loss this many times the median of what went before is not a bad batch but a divergence."""
_WARM = 10
"""Iterations before an explosion can be told from an ordinary start."""


class DivergedError(RuntimeError):
    """An optimisation ran away; the parameters were put back to the last good ones.

    Attributes:
        history: the iterations up to the failure.
    """

    def __init__(self, message: str, history: list[Record]) -> None:
        super().__init__(message)
        self.history = history


@dataclass(frozen=True)
class Adam:
    """Settings of one optimisation."""

    learning_rate: float
    """At the first iteration."""
    weight_decay: float = 0.0
    """Coupled L2 weight decay."""
    final: float = 1.0
    """Learning rate of the last iteration as a fraction of the first; it falls exponentially. 1 keeps it."""

    def rate(self, iteration: int, steps: int) -> float:
        """The learning rate of iteration 0 … steps-1."""
        return self.learning_rate * self.final ** (iteration / max(steps - 1, 1))


def minimize(
    modules: Iterable[nn.Module],
    losses: Callable[[int], Losses],
    *,
    steps: int,
    adam: Adam,
    on_iteration: Callable[[int, Record], None] = lambda iteration, record: None,
) -> list[Record]:
    """Move the parameters of ``modules`` for ``steps`` iterations of a fresh Adam down ``losses(i)["total"]``.

    Args:
        modules: their parameters move; nothing else does.
        losses: the loss terms of iteration ``i`` (0 … steps-1).
        steps: number of iterations.
        adam: learning rate and its schedule, weight decay.
        on_iteration: called after each iteration with its index and terms.

    Returns:
        The terms of every iteration, of this process's share where several train together (`gan2shape.distributed`).

    Raises:
        DivergedError: a loss or the last gradient was not finite, or the loss exploded; the parameters are then those
            of the last good snapshot.
    """
    parameters = [p for module in modules for p in module.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=adam.learning_rate, weight_decay=adam.weight_decay)
    good, good_at = [p.detach().clone() for p in parameters], 0
    history: list[Record] = []
    for iteration in range(steps):
        terms = losses(iteration)
        record = {name: float(value.detach()) for name, value in terms.items()}
        trouble = _trouble(record["total"], history)
        if any_process(trouble is not None):
            _restore(parameters, good)
            trouble = trouble or "another process failed"
            raise DivergedError(f"{trouble} at iteration {iteration + 1}; went back to iteration {good_at}", history)
        if iteration % _SNAPSHOT_EVERY == 0:
            good, good_at = [p.detach().clone() for p in parameters], iteration
        for group in optimizer.param_groups:
            group["lr"] = adam.rate(iteration, steps)
        optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()
        average_gradients(parameters)
        optimizer.step()
        history.append(record)
        on_iteration(iteration, record)
    # No later loss tells whether the last update was sound: a finite loss can have a gradient that is not.
    if not all(bool(torch.isfinite(parameter).all()) for parameter in parameters):
        _restore(parameters, good)
        raise DivergedError(f"the last gradient was not finite; went back to iteration {good_at}", history)
    return history


@torch.no_grad()
def _restore(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def _trouble(total: float, history: list[Record]) -> str | None:
    """What is wrong with a loss value, or None."""
    if not math.isfinite(total):
        return f"the loss became {total}"
    if len(history) >= _WARM:
        usual = statistics.median(record["total"] for record in history[-50:])
        if total > _EXPLOSION * max(abs(usual), 1e-6):
            return f"the loss jumped from about {usual:.3g} to {total:.3g}"
    return None
