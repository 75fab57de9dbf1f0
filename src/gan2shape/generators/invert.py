"""Find the latent whose picture is closest to a given one, by optimisation.

Many random latents are scored; the best few and the mean start together as one batch, and the worse ones are given up
on the way. Pictures are compared by their mean absolute difference and that of their discriminator features. The scale
of a step is the spread of the generator's own latents, so that no constant depends on a particular GAN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from gan2shape.generators.load import LoadedGenerator

_CHUNK = 32


@dataclass(frozen=True)
class InvertConfig:
    """How a picture is inverted to one latent w (not to one per layer)."""

    samples: int = 256
    """Count of random latents that are scored as possible starts."""
    restarts: int = 4
    """Count of starts that are optimised together: the mean latent and the best-scored samples."""
    survey_steps: int = 60
    """Steps with all restarts; then the better half goes on."""
    narrow_steps: int = 80
    """Steps with the better half; then the best one goes on."""
    final_steps: int = 240
    """Steps with the best one."""
    learning_rate: float = 0.3
    """Highest learning rate of Adam, in standard deviations of the generator's latents."""
    feature_weight: float = 1.0
    """Weight of the feature difference beside the mean absolute difference."""
    truncation: float = 0.7
    """Truncation of the samples that are scored."""

    def __post_init__(self) -> None:
        if self.restarts < 1 or self.samples < 1:
            raise ValueError(f"samples and restarts must be positive; got {self.samples} and {self.restarts}")
        if min(self.survey_steps, self.narrow_steps, self.final_steps) < 0 or self.steps < 1:
            raise ValueError("the counts of steps must not be negative, and one must be positive")

    @property
    def steps(self) -> int:
        """Count of all steps."""
        return self.survey_steps + self.narrow_steps + self.final_steps


@dataclass(frozen=True, eq=False)
class Inversion:
    """A latent for a picture, and how well it fits."""

    latent: Tensor
    """The latent (1, latent_dim)."""
    image: Tensor
    """The generator's picture (1, 3, R, R), signed, clamped to [-1, 1]."""
    psnr: float
    """Peak signal-to-noise ratio of that picture in dB."""
    loss: float
    """The loss that was minimised, at the latent."""


@dataclass(frozen=True, eq=False)
class _Search:
    """The state of Adam for a batch of latents (B, latent_dim), and the best latent of each so far, losses (B,)."""

    latents: Tensor
    mean: Tensor
    square: Tensor
    best: Tensor
    losses: Tensor

    def seen(self, losses: Tensor) -> _Search:
        """The search after its latents turned out to have `losses` (B,); one that is not a number is never better."""
        better = losses < self.losses
        best = torch.where(better[:, None], self.latents, self.best)
        return replace(self, best=best, losses=torch.where(better, losses, self.losses))

    def narrowed(self, count: int) -> _Search:
        """The `count` members of the lowest losses."""
        chosen = self.losses.argsort()[:count]
        return _Search(*(getattr(self, part.name)[chosen] for part in fields(self)))


def invert(
    loaded: LoadedGenerator,
    image: Tensor,
    *,
    rng: torch.Generator,
    config: InvertConfig | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Inversion:
    """Find a latent w whose picture is close to `image`.

    Args:
        loaded: a generator with a prior to draw latents from; its features are used where it has them.
        image: signed picture (1, 3, R, R) at the generator's resolution R.
        rng: draws the starts; the same seed gives the same result on a machine.
        config: counts of samples, restarts and steps.
        on_progress: called with the count of steps done and of all steps, after each.

    Raises:
        ValueError: the picture has another shape, or holds numbers that are not finite.
    """
    config = InvertConfig() if config is None else config
    side = loaded.generator.resolution
    if tuple(image.shape) != (1, 3, side, side):
        raise ValueError(f"image must be (1, 3, {side}, {side}); got {tuple(image.shape)}")
    if not bool(torch.isfinite(image).all()):
        raise ValueError("image holds NaN or infinite numbers")
    objective = _objective(loaded, image, config.feature_weight)
    search, scale = _start(loaded, objective, config, rng)
    keep = (config.restarts, (config.restarts + 1) // 2, 1)
    done = 0
    for steps, count in zip((config.survey_steps, config.narrow_steps, config.final_steps), keep, strict=True):
        search = search.narrowed(count)
        for _ in range(steps):
            rate = scale * config.learning_rate * _ramp(done / config.steps)
            search = _step(search, objective, rate, done + 1)
            done += 1
            if on_progress is not None:
                on_progress(done, config.steps)
    return _finish(loaded, objective, search, image)


def _objective(loaded: LoadedGenerator, image: Tensor, weight: float) -> Callable[[Tensor], Tensor]:
    """Latents (B, latent_dim) to losses (B,)."""
    features = loaded.features
    with torch.no_grad():
        target: Sequence[Tensor] = [] if features is None else features(image)

    def loss(latents: Tensor) -> Tensor:
        pictures = loaded.generator.synthesize(latents)
        total = (pictures - image).abs().mean((1, 2, 3))
        if features is not None:
            for ours, theirs in zip(features(pictures), target, strict=True):
                total = total + weight * (ours - theirs).abs().mean((1, 2, 3))
        return total

    return loss


@torch.no_grad()
def _start(
    loaded: LoadedGenerator, objective: Callable[[Tensor], Tensor], config: InvertConfig, rng: torch.Generator
) -> tuple[_Search, Tensor]:
    """The mean and the best of the random latents, and the standard deviation of latents (a scalar)."""
    samples = loaded.sample_latents(config.samples, rng=rng)
    scale = (samples - loaded.w_mean).square().mean().sqrt()
    candidates = loaded.w_mean + config.truncation * (samples - loaded.w_mean)
    scores = torch.cat([objective(chunk) for chunk in candidates.split(_CHUNK)])
    best = candidates[scores.argsort()[: config.restarts - 1]]
    latents = torch.cat([best, loaded.w_mean[None]])
    nothing = torch.zeros_like(latents)
    return _Search(latents, nothing, nothing, latents, objective(latents)), scale


def _step(search: _Search, objective: Callable[[Tensor], Tensor], rate: Tensor, step: int) -> _Search:
    """One step of Adam (Kingma and Ba, 2015), written out because its batch shrinks on the way."""
    beta1, beta2 = 0.9, 0.999
    latents = search.latents.detach().requires_grad_()
    losses = objective(latents)
    (gradient,) = torch.autograd.grad(losses.sum(), latents)
    mean = beta1 * search.mean + (1 - beta1) * gradient
    square = beta2 * search.square + (1 - beta2) * gradient.square()
    spread = (square / (1 - beta2**step)).sqrt() + torch.finfo(square.dtype).tiny
    moved = latents.detach() - rate * (mean / (1 - beta1**step)) / spread
    return replace(search.seen(losses.detach()), latents=moved, mean=mean, square=square)


def _ramp(progress: float) -> float:
    """Learning rate over the run, `progress` in [0, 1): up over the first 5 %, down to zero over the second half."""
    up = min(1.0, progress / 0.05 + 0.02)
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1.0 - progress) / 0.5))
    return up * down


@torch.no_grad()
def _finish(
    loaded: LoadedGenerator, objective: Callable[[Tensor], Tensor], search: _Search, image: Tensor
) -> Inversion:
    best = search.seen(objective(search.latents)).narrowed(1)
    picture = loaded.generator.synthesize(best.best).clamp(-1.0, 1.0)
    return Inversion(latent=best.best, image=picture, psnr=_psnr(picture, image), loss=float(best.losses))


def _psnr(picture: Tensor, image: Tensor) -> float:
    """Of signed pictures, whose range is 2."""
    error = (picture - image).square().mean().clamp_min(torch.finfo(picture.dtype).tiny)
    return float(10.0 * torch.log10(4.0 / error))
