"""What a generator covers: how its pictures are distributed, beside true ones, as a trained probe sees both.

A probe that is unsure shrinks its guesses towards the mean. So its readings of generated pictures are compared with its
readings of true ones, never with the truth itself: both sides have the same bias.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.errors import InputError
from gan2shape.generators import LoadedGenerator, latent_rng
from gan2shape.networks.probe import NUMBERS, Probe

GOALS = ("yaw", "pitch", "light x")
"""What a generator that is to teach shape must cover."""
LEAST_RATIO, MOST_DISTANCE = 0.8, 0.15
"""Goals: of the standard deviation of yaw, and of the Kolmogorov-Smirnov distance of each of `GOALS`."""
_RATIO_GOALS = ("yaw",)
_AT_ONCE = 50
_ROUNDING = 1e-6
"""A standard deviation that is no larger a part of the values is that of single precision: they do not vary."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What the probe sees in N pictures, float64.

    Attributes:
        features: (N, F).
        numbers: (N, 8), in the order of `NUMBERS`; degrees for angles.
    """

    features: np.ndarray
    numbers: np.ndarray

    def part(self, chosen: slice) -> Seen:
        """Some of the pictures."""
        return Seen(self.features[chosen], self.numbers[chosen])

    def number(self, name: str) -> np.ndarray:
        """One of `NUMBERS`, (N,)."""
        return self.numbers[:, NUMBERS.index(name)]


@dataclass(frozen=True)
class Quantity:
    """One of `NUMBERS` in generated pictures beside true ones."""

    name: str
    """Which."""
    true_mean: float
    """Of the true pictures, as the probe reads them."""
    true_std: float
    """Standard deviation of the same."""
    mean: float
    """Of the generated pictures."""
    std: float
    """Standard deviation of the same."""
    ratio: float | None
    """Standard deviation of generated over that of true pictures; None where the true ones do not vary."""
    distance: float
    """Kolmogorov-Smirnov, from 0 to 1."""
    floor: float
    """The same between two sets of true pictures, each as large as the generated one."""
    met: bool | None
    """Whether the goals are met; None where there is none."""

    @property
    def ratio_text(self) -> str:
        """The ratio for a table."""
        return "–" if self.ratio is None else f"{self.ratio:.2f}"


@dataclass(frozen=True)
class Comparison:
    """A comparison of generated with true pictures."""

    count: int
    """Generated pictures, and true ones in each of two sets."""
    frechet: float
    """Squared Fréchet distance of the probe's features between generated pictures and one set of true ones."""
    floor: float
    """The same between the two sets of true pictures."""
    collapse: float
    """The same for a generator that always shows the mean of one set: the trace of its features' covariance."""
    quantities: tuple[Quantity, ...]
    """In the order of `NUMBERS`."""

    @property
    def met(self) -> bool:
        """Whether all goals are met."""
        return all(quantity.met is not False for quantity in self.quantities)


@torch.no_grad()
def see(probe: Probe, batches: Iterable[Tensor]) -> Seen:
    """What the probe sees in batches of signed pictures (B, 3, S, S), S its size or a multiple of it.

    Raises:
        InputError: smaller pictures, or sizes that do not divide.
        ValueError: no pictures.
    """
    features, numbers = [], []
    device = next(probe.parameters()).device
    for images in batches:
        code, read = probe.read(_fitted(images.to(device).float().clamp(-1, 1), probe.image_size))
        features.append(code.double().cpu().numpy())
        numbers.append(read.double().cpu().numpy())
    if not features:
        raise ValueError("expected pictures; got none")
    return Seen(np.concatenate(features), np.concatenate(numbers))


@torch.no_grad()
def generated_pictures(loaded: LoadedGenerator, count: int, *, seed: int, truncation: float = 1.0) -> Iterator[Tensor]:
    """Batches of ``count`` pictures (B, 3, R, R) of random latents, drawn on the CPU: the same on every device.

    Raises:
        InputError: the generator has no prior to draw from.
    """
    rng = latent_rng(seed)
    for start in range(0, count, _AT_ONCE):
        w = loaded.sample_latents(min(_AT_ONCE, count - start), rng=rng, truncation=truncation)
        yield loaded.generator.synthesize(w)


def compare(generated: Seen, true: Seen) -> Comparison:
    """Compare N generated pictures with 2N true ones.

    The first N true pictures are what the generated ones are compared with, the others give the floors: the distances
    of a generator without a fault. A Fréchet distance depends on how many pictures it is taken of, so all sets are
    equally large.

    Raises:
        ValueError: there are not twice as many true as generated pictures, or fewer than two generated ones.
    """
    count = len(generated.features)
    if count < 2 or len(true.features) != 2 * count:
        raise ValueError(f"expected twice as many true pictures as generated ones; got {len(true.features)}, {count}")
    first, second = true.part(slice(0, count)), true.part(slice(count, None))
    quantities = []
    for name in NUMBERS:
        a, b, other = generated.number(name), first.number(name), second.number(name)
        ratio, distance = std_ratio(a, b), ks_distance(a, b)
        met = None
        if name in GOALS:
            wide = name not in _RATIO_GOALS or (ratio is not None and ratio >= LEAST_RATIO)
            met = distance <= MOST_DISTANCE and wide
        means = float(b.mean()), float(b.std()), float(a.mean()), float(a.std())
        quantities.append(Quantity(name, *means, ratio, distance, ks_distance(other, b), met))
    return Comparison(
        count,
        frechet_distance(generated.features, first.features),
        frechet_distance(second.features, first.features),
        float(np.trace(np.atleast_2d(np.cov(first.features, rowvar=False)))),
        tuple(quantities),
    )


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Fréchet distance of the normal distributions with the moments of two sets of features.

    ``|μa - μb|² + tr(Σa + Σb - 2 (Σa Σb)^½)`` (Dowson and Landau, 1982; Heusel et al., NeurIPS 2017), in float64. The
    trace of the root is the sum of the roots of the eigenvalues of ``Σa^½ Σb Σa^½``, which is symmetric.

    Args:
        a, b: (N, F) and (M, F), two rows at least.

    Raises:
        ValueError: other shapes, or values that are not finite.
    """
    for features in (a, b):
        if features.ndim != 2 or len(features) < 2 or features.shape[1:] != a.shape[1:]:
            raise ValueError(f"expected two sets of features (N, F), N at least 2; got {a.shape} and {b.shape}")
        if not np.isfinite(features).all():
            raise ValueError("expected finite features; got NaN or infinity")
    a, b = a.astype(np.float64), b.astype(np.float64)
    covariance_a, covariance_b = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (a, b))
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    product = root @ covariance_b @ root
    roots = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(min=0))
    apart = np.square(a.mean(0) - b.mean(0)).sum()
    return max(0.0, float(apart + np.trace(covariance_a) + np.trace(covariance_b) - 2 * roots.sum()))


def ks_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance of two samples (N,) and (M,): the largest difference of their distributions, 0 to 1.

    Raises:
        ValueError: an empty sample.
    """
    if not len(a) or not len(b):
        raise ValueError("expected two samples; got an empty one")
    a, b = np.sort(a), np.sort(b)
    places = np.concatenate([a, b])
    shares = [np.searchsorted(sample, places, side="right") / len(sample) for sample in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


def std_ratio(a: np.ndarray, b: np.ndarray) -> float | None:
    """Standard deviation of ``a`` over that of ``b``, samples (N,) and (M,); None where the second does not vary."""
    below = float(b.std())
    return float(a.std()) / below if below > _ROUNDING * float(np.abs(b).max()) else None


def _fitted(images: Tensor, size: int) -> Tensor:
    """Pictures (B, 3, R, R) at the probe's size (B, 3, S, S), by means over squares."""
    side = images.shape[-1]
    if side % size:
        raise InputError(f"expected pictures of {size} px, the probe's size, or a multiple of it; got {side} px")
    return images if side == size else F.adaptive_avg_pool2d(images, size)
