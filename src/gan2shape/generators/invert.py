"""Find the latent whose picture is closest to a given one, by optimisation.

Many random latents are scored; the best few, the mean and whatever an encoder proposes start together as one batch, and
the worse ones are given up on the way. Pictures are compared by their mean absolute difference and that of their
discriminator features. The scale of a step is the spread of the generator's own latents, so that no constant depends on
a particular GAN. Then, by choice, every layer gets a latent of its own ("w+", Abdal et al., ICCV 2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.generators.descent import Pace, Search, descend
from gan2shape.generators.load import LoadedGenerator
from gan2shape.generators.protocol import FeatureExtractor

MOST_DB = 100.0
"""PSNR of equal pictures, and the most that any pair scores: reports and means need finite numbers."""
_CHUNK = 32


@dataclass(frozen=True)
class InvertConfig:
    """How a picture is inverted: to one latent w, and then, if `rows_steps` says so, to one latent per layer (w+)."""

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
    jitter: float = 0.0
    """Noise on the latents while their picture is judged, in standard deviations of the generator's latents; it falls
    to zero over the first three quarters of the steps (Karras et al., CVPR 2020, appendix D)."""
    rows_steps: int = 0
    """Further steps in which every layer has a latent of its own (w+); 0 keeps one latent for all layers."""
    row_weight: float = 0.01
    """Weight of the layers' mean squared distance from the one latent they came from, in variances of the latents."""
    patience: int = 0
    """Steps without a gain of a thousandth after which the learning rate falls at once, or, where it falls already, the
    run ends; 0 never stops early."""

    def __post_init__(self) -> None:
        if min(self.rows_steps, self.patience, self.jitter, self.row_weight) < 0:
            raise ValueError("rows_steps, patience, jitter and row_weight must not be negative")
        if self.restarts < 1 or self.samples < 1:
            raise ValueError(f"samples and restarts must be positive; got {self.samples} and {self.restarts}")
        if min(self.survey_steps, self.narrow_steps, self.final_steps) < 0 or self.shared_steps < 1:
            raise ValueError("the counts of steps must not be negative, and one must be positive")

    @property
    def steps(self) -> int:
        """Count of all steps, those with a latent per layer among them."""
        return self.shared_steps + self.rows_steps

    @property
    def shared_steps(self) -> int:
        """Count of the steps with one latent for all layers."""
        return self.survey_steps + self.narrow_steps + self.final_steps


@dataclass(frozen=True, eq=False)
class Inversion:
    """A latent for a picture, and how well it fits."""

    latent: Tensor
    """The latent (1, latent_dim), or (1, num_ws, latent_dim) where every layer has one of its own."""
    image: Tensor
    """The generator's picture (1, 3, R, R), signed, clamped to [-1, 1]."""
    psnr: float
    """Peak signal-to-noise ratio of that picture in dB."""
    loss: float
    """The loss that was minimised, at the latent, without its term on the layers."""
    feature_distance: float | None
    """Sum over the feature maps of their mean absolute differences; None for a generator without features."""


@dataclass(frozen=True, eq=False)
class _Judge:
    """What latents are judged by."""

    loaded: LoadedGenerator
    image: Tensor
    features: Sequence[Tensor]
    weight: float

    @staticmethod
    @torch.no_grad()
    def of(loaded: LoadedGenerator, image: Tensor, weight: float) -> _Judge:
        """Losses against `image`."""
        return _Judge(loaded, image, [] if loaded.features is None else loaded.features(image), weight)

    def __call__(self, latents: Tensor) -> Tensor:
        """Latents (B, ...) to losses (B,)."""
        pictures = self.loaded.generator.synthesize(latents)
        total = (pictures - self.image).abs().mean((1, 2, 3))
        if self.loaded.features is not None:
            total = total + self.weight * map_distances(self.loaded.features(pictures), self.features)
        return total


def invert(
    loaded: LoadedGenerator,
    image: Tensor,
    *,
    rng: torch.Generator,
    config: InvertConfig | None = None,
    start_latents: Tensor | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Inversion:
    """Find a latent whose picture is close to `image`.

    Args:
        loaded: a generator with a prior to draw latents from; its features are used where it has them.
        image: signed picture (1, 3, R, R) at the generator's resolution R.
        rng: draws the starts; the same seed gives the same result on a machine.
        config: counts of samples, restarts and steps.
        start_latents: (K, latent_dim), starts beside the mean and the best samples, as an encoder proposes them.
        on_progress: called with the count of steps done and of all steps, after each.

    Raises:
        ValueError: the picture or the starts have another shape or hold numbers that are not finite.
        InputError: a latent per layer is asked of a generator that has no layers to tell apart.
    """
    config = InvertConfig() if config is None else config
    _check(loaded, image, start_latents, config)
    judge = _Judge.of(loaded, image, config.feature_weight)
    search, spread = _start(loaded, judge, config, start_latents, rng)
    pace = Pace(config.shared_steps, spread * config.learning_rate, spread * config.jitter)

    def tell(done: int) -> None:
        if on_progress is not None:
            on_progress(done, config.steps)

    members = len(search.losses)
    first = 0
    for steps, count in ((config.survey_steps, members), (config.narrow_steps, (members + 1) // 2)):
        search = descend(search.narrowed(count), judge, pace, (first, first + steps), rng=rng, tell=tell)
        first += steps
    patient = replace(pace, patience=config.patience)
    search = descend(search.narrowed(1), judge, patient, (first, config.shared_steps), rng=rng, tell=tell)
    if config.rows_steps:
        count = loaded.generator.num_ws  # type: ignore[attr-defined]
        rows = search.best[:, None].expand(-1, count, -1).contiguous()
        pull = _Pull(judge, rows, config.row_weight / spread**2)
        patient = replace(patient, steps=config.rows_steps)
        search = descend(
            Search.at(rows, search.losses),
            pull,
            patient,
            (0, config.rows_steps),
            rng=rng,
            tell=lambda done: tell(config.shared_steps + done),
        )
    return _finish(judge, search)


@dataclass(frozen=True, eq=False)
class _Pull:
    """A loss that holds the latents of the layers near the one they came from."""

    judge: _Judge
    origin: Tensor
    weight: float

    def __call__(self, latents: Tensor) -> Tensor:
        """Latents (B, num_ws, latent_dim) to losses (B,)."""
        return self.judge(latents) + self.weight * (latents - self.origin).square().mean((1, 2))


def _check(loaded: LoadedGenerator, image: Tensor, start_latents: Tensor | None, config: InvertConfig) -> None:
    side, width = loaded.generator.resolution, loaded.generator.latent_dim
    if tuple(image.shape) != (1, 3, side, side):
        raise ValueError(f"image must be (1, 3, {side}, {side}); got {tuple(image.shape)}")
    if start_latents is not None and (start_latents.ndim != 2 or start_latents.shape[1] != width):
        raise ValueError(f"start_latents must be (K, {width}); got {tuple(start_latents.shape)}")
    for name, tensor in (("image", image), ("start_latents", start_latents)):
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} holds NaN or infinite numbers")
    if config.rows_steps and not hasattr(loaded.generator, "num_ws"):
        raise InputError(f"the generator {loaded.name} has no layers to tell apart, and so no latent for each of them")


@torch.no_grad()
def _start(
    loaded: LoadedGenerator, judge: _Judge, config: InvertConfig, proposed: Tensor | None, rng: torch.Generator
) -> tuple[Search, float]:
    """The proposals, the best of the random latents and the mean; and the standard deviation of latents."""
    samples = loaded.sample_latents(config.samples, rng=rng)
    spread = float((samples - loaded.w_mean).square().mean().sqrt())
    candidates = loaded.w_mean + config.truncation * (samples - loaded.w_mean)
    scores = torch.cat([judge(chunk) for chunk in candidates.split(_CHUNK)])
    known = loaded.w_mean.new_zeros(0, candidates.shape[1]) if proposed is None else proposed.to(candidates)
    best = candidates[scores.argsort()[: max(0, config.restarts - 1 - len(known))]]
    latents = torch.cat([known, best, loaded.w_mean[None]])
    return Search.at(latents, judge(latents)), spread


@torch.no_grad()
def _finish(judge: _Judge, search: Search) -> Inversion:
    features = judge.loaded.features
    picture = judge.loaded.generator.synthesize(search.best).clamp(-1.0, 1.0)
    return Inversion(
        latent=search.best,
        image=picture,
        psnr=signed_psnr(picture, judge.image),
        loss=float(judge(search.best)),
        feature_distance=None if features is None else float(map_distances(features(picture), judge.features)),
    )


def map_distances(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """Sum over feature maps (B, C, h, w) of their mean absolute differences: (B,)."""
    pairs = zip(ours, theirs, strict=True)
    return torch.stack([(one - other).abs().mean((1, 2, 3)) for one, other in pairs]).sum(0)


def feature_distances(features: FeatureExtractor, pictures: Tensor, image: Tensor) -> Tensor:
    """`map_distances` of the features of pictures (B, 3, H, W) and of one or B others, signed: (B,)."""
    return map_distances(features(pictures), features(image))


def signed_psnr(picture: Tensor, image: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of signed pictures, whose range is 2; at most `MOST_DB`."""
    error = float((picture - image).square().mean()) / 4
    return -10.0 * math.log10(max(error, 10 ** (-MOST_DB / 10)))
