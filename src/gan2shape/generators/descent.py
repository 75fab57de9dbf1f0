"""The descent of latents: Adam over a batch that shrinks, its learning rate, its noise, and when it ends early."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Judge = Callable[[Tensor], Tensor]
"""Latents (B, ...) to losses (B,)."""

FALL = 0.5
"""Part of a run after which its learning rate falls."""
LEAST_GAIN = 1e-3
"""Part of the loss that has to be gained within `Pace.patience` steps."""


@dataclass(frozen=True)
class Pace:
    """How fast and how long latents descend."""

    steps: int
    """Count of steps of the whole run, over which rate and noise change."""
    learning_rate: float
    """Highest learning rate of Adam, in units of the latents."""
    jitter: float = 0.0
    """Standard deviation of the noise at the start, in units of the latents."""
    patience: int = 0
    """Steps without a gain after which a run is cut short; 0 never does it."""


@dataclass(frozen=True, eq=False)
class Search:
    """The state of Adam for a batch of latents (B, ...), and the best latent of each so far, losses (B,)."""

    latents: Tensor
    mean: Tensor
    square: Tensor
    best: Tensor
    losses: Tensor
    taken: int = 0
    """Count of updates so far, by which Adam corrects its means; steps that are left out are none."""

    @staticmethod
    def at(latents: Tensor, losses: Tensor) -> Search:
        """The search that begins at `latents`."""
        nothing = torch.zeros_like(latents)
        return Search(latents, nothing, nothing, latents, losses)

    def seen(self, judged: Tensor, losses: Tensor) -> Search:
        """The search after latents like its own turned out to have `losses` (B,); one that is not a number is never
        better."""
        better = losses < self.losses
        best = torch.where(better.view(-1, *[1] * (self.best.ndim - 1)), judged, self.best)
        return replace(self, best=best, losses=torch.where(better, losses, self.losses))

    def narrowed(self, count: int) -> Search:
        """The `count` members of the lowest losses."""
        chosen = self.losses.argsort()[:count]
        members = (self.latents, self.mean, self.square, self.best, self.losses)
        latents, mean, square, best, losses = (member[chosen] for member in members)
        return Search(latents, mean, square, best, losses, self.taken)


def descend(
    search: Search,
    judge: Judge,
    pace: Pace,
    span: tuple[int, int],
    *,
    rng: torch.Generator,
    tell: Callable[[int], None],
) -> Search:
    """Take the steps from `span[0]` up to `span[1]` of a run of `pace.steps`.

    Where the best loss gains no more, the falling part of the learning rate comes early; where the rate falls already,
    the run ends.

    Args:
        search: where the run is.
        judge: what is to become small.
        pace: rate, noise and patience.
        span: the first step and the one after the last, counted from the start of the run.
        rng: draws the noise, where there is some.
        tell: called after each step with the count of steps that are done or left out.

    Returns:
        The search; its last latents are judged too.
    """
    step, last = span
    losses: list[float] = []
    while step < last:
        progress = step / pace.steps
        noise = jitter(search.latents, pace.jitter, progress, rng)
        search = step_of_adam(search, judge, pace.learning_rate * ramp(progress), noise)
        step += 1
        losses.append(float(search.losses.min()))
        if has_stalled(losses, pace.patience):
            losses.clear()
            step = last if step >= FALL * pace.steps else max(step, math.ceil(FALL * pace.steps))
        tell(step)
    with torch.no_grad():
        return search.seen(search.latents, judge(search.latents))


def step_of_adam(search: Search, judge: Judge, rate: float, noise: Tensor | None = None) -> Search:
    """The next step of Adam (Kingma and Ba, 2015), written out because its batch shrinks on the way."""
    beta1, beta2 = 0.9, 0.999
    step = search.taken + 1
    latents = search.latents.detach().requires_grad_()
    judged = latents if noise is None else latents + noise
    losses = judge(judged)
    (gradient,) = torch.autograd.grad(losses.sum(), latents)
    mean = beta1 * search.mean + (1 - beta1) * gradient
    square = beta2 * search.square + (1 - beta2) * gradient.square()
    spread = (square / (1 - beta2**step)).sqrt() + torch.finfo(square.dtype).tiny
    moved = latents.detach() - rate * (mean / (1 - beta1**step)) / spread
    return replace(search.seen(judged.detach(), losses.detach()), latents=moved, mean=mean, square=square, taken=step)


def ramp(progress: float) -> float:
    """Learning rate over a run, `progress` in [0, 1): up over the first 5 %, down to zero over the second half."""
    up = min(1.0, progress / 0.05 + 0.02)
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1.0 - progress) / (1.0 - FALL)))
    return up * down


def jitter(latents: Tensor, deviation: float, progress: float, rng: torch.Generator) -> Tensor | None:
    """Noise like `latents`: its deviation falls to zero, squared, over the first three quarters of a run."""
    strength = deviation * max(0.0, 1.0 - progress / 0.75) ** 2
    if strength == 0:
        return None
    return strength * torch.randn(latents.shape, generator=rng, device=rng.device, dtype=latents.dtype).to(latents)


def has_stalled(losses: list[float], patience: int) -> bool:
    """Whether the last `patience` of the falling `losses` gained less than `LEAST_GAIN` together."""
    return 0 < patience < len(losses) and losses[-1] > (1 - LEAST_GAIN) * losses[-1 - patience]
