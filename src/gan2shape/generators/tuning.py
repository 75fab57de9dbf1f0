"""Tune a copy of a generator until the latent of a photo makes exactly that photo.

Pivotal tuning (Roich et al., "Pivotal Tuning for Latent-based Editing of Real Images", 2021): the latent stays where
inversion found it, among typical ones, and the weights of the synthesis network move a little instead. A locality term
holds the pictures of neighbouring latents where the untouched generator has them. The mapping network stays, and with
it latents, their mean, and the offsets of the reconstruction.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gan2shape.generators.descent import has_stalled
from gan2shape.generators.invert import map_distances, signed_psnr
from gan2shape.generators.protocol import FeatureExtractor
from gan2shape.generators.stylegan2 import StyleGAN2Generator

_LEAST_SIDE_PX = 8
_SPREAD_SAMPLES = 256


@dataclass(frozen=True)
class TuningConfig:
    """How a generator is tuned to a photo."""

    steps: int = 200
    """Count of steps."""
    learning_rate: float = 5e-4
    """Learning rate of Adam."""
    feature_weight: float = 1.0
    """Weight of the feature difference beside the mean absolute difference."""
    locality_weight: float = 0.1
    """Weight of the same two differences between tuned and untouched generator near the latent (0: none)."""
    locality_radius: float = 1.0
    """How far from the latent they are compared, in typical distances of a sample from the mean latent."""
    noise_weight: float = 1e5
    """Weight of the correlation of the noise maps with themselves, which are tuned where the generator uses noise; 0
    leaves them as they are."""
    patience: int = 60
    """Steps without a gain of a thousandth after which tuning ends; 0 never ends early."""

    def __post_init__(self) -> None:
        numbers = (self.locality_weight, self.locality_radius, self.noise_weight, self.patience, self.feature_weight)
        if self.steps < 1 or self.learning_rate <= 0 or min(numbers) < 0:
            raise ValueError("steps and learning_rate must be positive, the other numbers not negative")


@dataclass(frozen=True, eq=False)
class Tuned:
    """A generator that was tuned to a photo."""

    generator: StyleGAN2Generator
    """The tuned copy, noise maps among its weights."""
    image: Tensor
    """Its picture (1, 3, R, R) of the pivot, signed, clamped to [-1, 1]."""
    psnr: float
    """Of that picture against the photo, in dB."""
    steps: int
    """Count of steps taken."""


def tune(
    generator: StyleGAN2Generator,
    features: FeatureExtractor | None,
    image: Tensor,
    pivot: Tensor,
    *,
    rng: torch.Generator,
    config: TuningConfig | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tuned:
    """Tune a copy of `generator` so that `pivot` makes `image`.

    Args:
        generator: the trainable generator; it stays as it is.
        features: in which pictures are compared besides their colours; None for colours alone.
        image: signed picture (1, 3, R, R).
        pivot: its latent, (1, w_dim) or (1, num_ws, w_dim).
        rng: draws the neighbours of the locality term.
        config: steps and weights.
        on_progress: called with the count of steps done and of all steps, after each.

    Raises:
        ValueError: the picture has another size than the generator's.
    """
    config = TuningConfig() if config is None else config
    side = generator.resolution
    if tuple(image.shape) != (1, 3, side, side):
        raise ValueError(f"image must be (1, 3, {side}, {side}); got {tuple(image.shape)}")
    tuned = copy.deepcopy(generator).eval().requires_grad_(True)
    tuned.style.requires_grad_(False)
    noise = [noise_map.clone() for noise_map in tuned.fixed_noise()]
    moving = _used_noise(tuned, noise) if config.noise_weight else []
    for noise_map in moving:
        noise_map.requires_grad_(True)
    weights = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
    adam = torch.optim.Adam([*weights, *moving], config.learning_rate)
    neighbours = _Neighbours(generator, pivot, config.locality_radius, rng)
    photo = _Target.of(features, image)
    losses: list[float] = []
    for step in range(config.steps):
        loss = _difference(features, tuned.synthesize(pivot, noise=noise), photo, config.feature_weight)
        fit = float(loss.detach())
        if config.locality_weight:
            near, untouched = neighbours.draw()
            target = _Target.of(features, untouched)
            held = _difference(features, tuned.synthesize(near, noise=noise), target, config.feature_weight)
            loss = loss + config.locality_weight * held
        for noise_map in moving:
            loss = loss + config.noise_weight * self_correlation(noise_map)
        _move(adam, loss, [*weights, *moving])
        for noise_map in moving:
            _normalise(noise_map)
        losses.append(min([fit, *losses[-1:]]))
        ended = has_stalled(losses, config.patience)
        if on_progress is not None:
            on_progress(config.steps if ended else step + 1, config.steps)
        if ended:
            break
    return _finished(tuned.requires_grad_(False), noise, pivot, image, len(losses))


def self_correlation(noise: Tensor) -> Tensor:
    """Sum over a pyramid of halved maps of the squared correlations with the neighbour to the right and below.

    Zero for white noise in the mean: signals that a map of noise is bent into have neighbours alike (Karras et al.,
    CVPR 2020, appendix D).

    Args:
        noise: (1, 1, S, S), S a power of two.

    Returns:
        A scalar.
    """
    total = noise.new_zeros(())
    level = noise
    while True:
        for axis in (2, 3):
            total = total + (level * level.roll(1, axis)).mean().square()
        if level.shape[-1] <= _LEAST_SIDE_PX:
            return total
        # Twice the mean of four values has the variance of one.
        level = 2 * F.avg_pool2d(level, 2)


class _Neighbours:
    """Latents at a fixed distance from the pivot, and the untouched generator's pictures of them."""

    def __init__(self, generator: StyleGAN2Generator, pivot: Tensor, radius: float, rng: torch.Generator) -> None:
        self.generator = generator
        self.pivot = pivot
        self.rng = rng
        samples = self._samples(_SPREAD_SAMPLES)
        self.radius = radius * float((samples - samples.mean(0)).square().sum(1).mean().sqrt())

    @torch.no_grad()
    def draw(self) -> tuple[Tensor, Tensor]:
        """A latent like the pivot, towards a random sample, and its picture (1, 3, R, R)."""
        sample = self._samples(1)
        way = sample - self.pivot if self.pivot.ndim == 2 else sample[:, None] - self.pivot
        near = self.pivot + self.radius * F.normalize(way, dim=-1)
        return near, self.generator.synthesize(near)

    @torch.no_grad()
    def _samples(self, count: int) -> Tensor:
        z = torch.randn(count, self.generator.config.z_dim, generator=self.rng, device=self.rng.device)
        return self.generator.map(z.to(self.pivot))


@dataclass(frozen=True, eq=False)
class _Target:
    """A picture that another is to become, and its feature maps."""

    image: Tensor
    maps: Sequence[Tensor]

    @staticmethod
    @torch.no_grad()
    def of(features: FeatureExtractor | None, image: Tensor) -> _Target:
        """`image` (1, 3, R, R) as a target."""
        return _Target(image, [] if features is None else features(image))


def _difference(features: FeatureExtractor | None, picture: Tensor, target: _Target, weight: float) -> Tensor:
    """The loss of inversion: mean absolute difference and that of the features, a scalar."""
    loss = (picture - target.image).abs().mean()
    return loss if features is None else loss + weight * map_distances(features(picture), target.maps).mean()


def _used_noise(generator: StyleGAN2Generator, noise: Sequence[Tensor]) -> list[Tensor]:
    """The noise maps of the layers that use them, as far as they have room for noise of several scales."""
    strengths = [parameter for name, parameter in generator.named_parameters() if name.endswith("noise.weight")]
    pairs = zip(strengths, noise, strict=True)
    return [each for strength, each in pairs if bool(strength.any()) and each.shape[-1] >= _LEAST_SIDE_PX]


def _move(adam: torch.optim.Optimizer, loss: Tensor, moving: Sequence[Tensor]) -> None:
    """One step of the optimiser down the gradient of a loss; weights that it does not depend on stay."""
    for tensor, gradient in zip(moving, torch.autograd.grad(loss, moving, allow_unused=True), strict=True):
        tensor.grad = gradient
    adam.step()


@torch.no_grad()
def _normalise(noise: Tensor) -> None:
    """Give a noise map mean 0 and variance 1 again, in place."""
    noise.sub_(noise.mean()).mul_(noise.square().mean().rsqrt())


@torch.no_grad()
def _finished(tuned: StyleGAN2Generator, noise: Sequence[Tensor], pivot: Tensor, image: Tensor, steps: int) -> Tuned:
    for own, noise_map in zip(tuned.fixed_noise(), noise, strict=True):
        own.copy_(noise_map)
    picture = tuned.synthesize(pivot).clamp(-1, 1)
    return Tuned(tuned, picture, signed_psnr(picture, image), steps)
