"""The descent of latents: Adam over a batch that shrinks, its learning rate, its noise, and when it ends early."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

_FIRST_FALL = 0.5
"""Part of a run after which its learning rate falls."""
_LEAST_GAIN = 1e-3
"""Part of the loss that has to be gained within `InvertConfig.patience` steps."""


@dataclass(frozen=True, eq=False)
class Search:
    """The state of Adam for a batch of latents (B, ...), and the best latent of each so far, losses (B,)."""

    latents: Tensor
    mean: Tensor
    square: Tensor
    best: Tensor
    losses: Tensor

    @staticmethod
    def at(latents: Tensor, losses: Tensor) -> Search:
        """The search that begins at `latents`."""
        nothing = torch.zeros_like(latents)
        return Search(latents, nothing, nothing, latents, losses)

    def seen(self, losses: Tensor) -> Search:
        """The search after its latents turned out to have `losses` (B,); one that is not a number is never better."""
        better = losses < self.losses
        best = torch.where(better.view(-1, *[1] * (self.best.ndim - 1)), self.latents, self.best)
        return replace(self, best=best, losses=torch.where(better, losses, self.losses))

    def narrowed(self, count: int) -> Search:
        """The `count` members of the lowest losses."""
        chosen = self.losses.argsort()[:count]
        return Search(*(getattr(self, part.name)[chosen] for part in fields(self)))


@dataclass(frozen=True, eq=False)
class Run:
    """What the descent of one latent is told."""

    judge: Callable[[Tensor], Tensor]
    scale: Tensor
    config: InvertConfig
    watch: Watch
    rng: torch.Generator


def descend(search: Search, run: Run, first: int, last: int) -> Search:
    """Steps `first` to `last` of a search of one; where it stalls, the falling part of the learning rate comes early."""
    before, step = run.watch.done - first, first
    while step < last:
        noise = jitter(search.latents, run.config.jitter * run.scale, step / last, run.rng)
        rate = run.scale * run.config.learning_rate * ramp(step / last)
        search = step_of_adam(search, run.judge, rate, step + 1, noise)
        step += 1
        if run.watch.stalled(float(search.losses)):
            step = last if step >= _FIRST_FALL * last else math.ceil(_FIRST_FALL * last)
        run.watch.tell(before + step)
    with torch.no_grad():
        return search.seen(run.judge(search.latents))


class Watch:
    """Counts steps, tells them, and says when a run gains no more."""

    def __init__(self, config: InvertConfig, on_progress: Callable[[int, int], None] | None) -> None:
        self.config = config
        self.on_progress = on_progress
        self.done = 0
        self.best: list[float] = []

    def tell(self, done: int) -> None:
        """All steps up to `done` are done, or left out."""
        self.done = done
        if self.on_progress is not None:
            self.on_progress(done, self.config.steps)

    def stalled(self, loss: float) -> bool:
        """Whether the best loss, now `loss`, has fallen too little for too long; if so, the count starts anew."""
        self.best.append(loss)
        patience = self.config.patience
        if patience and len(self.best) > patience and loss > (1 - _LEAST_GAIN) * self.best[-1 - patience]:
            self.best.clear()
            return True
        return False


def jitter(latents: Tensor, scale: Tensor, progress: float, rng: torch.Generator) -> Tensor | None:
    """Noise for latents, of a deviation that falls with the square of what is left of the first three quarters."""
    strength = max(0.0, 1.0 - progress / 0.75) ** 2
    if not strength or not bool(scale):
        return None
    return scale * strength * torch.randn(latents.shape, generator=rng, device=rng.device).to(latents)


def step_of_adam(
    search: Search, objective: Callable[[Tensor], Tensor], rate: Tensor, step: int, noise: Tensor | None = None
) -> Search:
    """One step of Adam (Kingma and Ba, 2015), written out because its batch shrinks on the way."""
    beta1, beta2 = 0.9, 0.999
    latents = search.latents.detach().requires_grad_()
    losses = objective(latents if noise is None else latents + noise)
    (gradient,) = torch.autograd.grad(losses.sum(), latents)
    mean = beta1 * search.mean + (1 - beta1) * gradient
    square = beta2 * search.square + (1 - beta2) * gradient.square()
    spread = (square / (1 - beta2**step)).sqrt() + torch.finfo(square.dtype).tiny
    moved = latents.detach() - rate * (mean / (1 - beta1**step)) / spread
    # A loss with noise on it says nothing of the latent without it.
    judged = search.seen(losses.detach()) if noise is None else search
    return replace(judged, latents=moved, mean=mean, square=square)


def ramp(progress: float) -> float:
    """Learning rate over the run, `progress` in [0, 1): up over the first 5 %, down to zero over the second half."""
    up = min(1.0, progress / 0.05 + 0.02)
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1.0 - progress) / (1.0 - _FIRST_FALL)))
    return up * down
