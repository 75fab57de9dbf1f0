"""How typical a latent is of its generator, and how well the generator makes a picture: numbers with a meaning.

A generator draws its latents from a distribution; a latent far outside makes pictures that the generator never learned
to make, and its neighbours say little about other views of the object. A photo that is none of the generator's kind is
told by its inversion: the picture stays as different from the photo as pictures of other objects are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gan2shape.generators.invert import InvertConfig, feature_distances, invert, map_distances, signed_psnr
from gan2shape.generators.loaded import LoadedGenerator, latent_rng

EXPLAINED = 0.99
"""Part of the latents' variance that the axes cover; the pictures do not depend on the rest."""
POOR_SHARE = 0.2
"""Feature distance, as a part of that between unrelated pictures of the generator, from which an inversion is poor.

With the bundled generator its own pictures come to 0.02, other renderings of heads to about 0.1, photographs of a cat,
a cup and an astronaut to 0.3 to 0.6.
"""
POOR_PSNR_DB = 20.0
"""PSNR below which an inversion is poor, whatever its features are."""
_SAMPLES = 4096
_PICTURES = 16
_SEED = 0


@dataclass(frozen=True, eq=False)
class LatentStatistics:
    """The distribution of a generator's own latents."""

    mean: Tensor
    """(D,)."""
    whitening: Tensor
    """(D, K): principal axes, each divided by its standard deviation; they cover `EXPLAINED` of the variance."""
    distances: Tensor
    """(N,), ascending: distances of held-out samples."""

    def distance(self, latent: Tensor) -> float:
        """Mahalanobis distance of a latent (1, D) or (1, L, D) per axis (root mean square), over all rows together.

        The generator's own samples have about 1.
        """
        return float(((latent.to(self.mean) - self.mean) @ self.whitening).square().mean().sqrt())

    def percentile(self, latent: Tensor) -> float:
        """Percentage of the generator's own samples that lie nearer to the mean than the latent does, 0 to 100."""
        nearer = torch.searchsorted(self.distances, torch.tensor(self.distance(latent)).to(self.distances))
        return 100.0 * int(nearer) / len(self.distances)


@torch.no_grad()
def latent_statistics(loaded: LoadedGenerator, *, count: int = _SAMPLES, seed: int = _SEED) -> LatentStatistics:
    """Axes from one half of `count` untruncated samples, distances of the other half; float64, on the CPU.

    Raises:
        InputError: the generator has no prior to draw from.
    """
    rng = latent_rng(seed, loaded.w_mean.device)
    first, second = loaded.sample_latents(count, rng=rng).double().cpu().chunk(2)
    mean = first.mean(0)
    variances, axes = torch.linalg.eigh(torch.cov((first - mean).T))
    order = variances.argsort(descending=True)
    variances, axes = variances[order].clamp_min(0), axes[:, order]
    kept = int((variances.cumsum(0) < EXPLAINED * variances.sum()).sum()) + 1
    whitening = axes[:, :kept] / variances[:kept].sqrt()
    distances = ((second - mean) @ whitening).square().mean(1).sqrt()
    return LatentStatistics(mean, whitening, distances.sort().values)


@dataclass(frozen=True)
class OwnInversions:
    """What inversion reaches on pictures that the generator made itself: medians."""

    count: int
    """Count of pictures."""
    psnr: float
    """In dB."""
    feature_distance: float | None
    """As of `Inversion`."""


def invert_own(
    loaded: LoadedGenerator,
    count: int,
    *,
    config: InvertConfig | None = None,
    propose: Callable[[Tensor], Tensor] | None = None,
    seed: int = _SEED,
) -> OwnInversions:
    """Invert `count` untruncated pictures of the generator's own: the scale on which other inversions are judged.

    `propose` makes starts (K, latent_dim) of a picture (1, 3, R, R), as an encoder does.
    """
    rng = latent_rng(seed, loaded.w_mean.device)
    latents = loaded.sample_latents(count, rng=rng)
    with torch.no_grad():
        pictures = loaded.generator.synthesize(latents).clamp(-1, 1)
    found = []
    for picture in pictures.split(1):
        starts = None if propose is None else propose(picture)
        found.append(invert(loaded, picture, rng=rng, config=config, start_latents=starts))
    distances = [one.feature_distance for one in found if one.feature_distance is not None]
    psnr = float(torch.tensor([one.psnr for one in found]).median())
    return OwnInversions(count, psnr, float(torch.tensor(distances).median()) if distances else None)


@dataclass(frozen=True)
class Likeness:
    """How well a latent's picture shows a photo, and how typical the latent is."""

    psnr: float
    """Of the picture against the photo, in dB."""
    feature_distance: float | None
    """Between both; None for a generator without features."""
    unrelated_distance: float | None
    """Median feature distance between unrelated pictures of the generator; None where it has no features or prior."""
    latent_distance: float | None
    """As `LatentStatistics.distance`; None for a generator without a prior."""
    percentile: float | None
    """As `LatentStatistics.percentile`; None for a generator without a prior."""

    @property
    def share(self) -> float | None:
        """Feature distance as a part of that between unrelated pictures: 0 is equal, 1 another object altogether."""
        if self.feature_distance is None or not self.unrelated_distance:
            return None
        return self.feature_distance / self.unrelated_distance

    @property
    def is_poor(self) -> bool:
        """Whether the generator does not make this picture."""
        return self.psnr < POOR_PSNR_DB or (self.share is not None and self.share > POOR_SHARE)

    def sentence(self) -> str:
        """The numbers, for people."""
        parts = [f"{self.psnr:.1f} dB PSNR"]
        if self.share is not None:
            parts.append(f"{100 * self.share:.0f} % of the feature distance between unrelated pictures of its own")
        if self.percentile is not None:
            parts.append(
                f"a latent farther out than {self.percentile:.1f} % of its own (distance {self.latent_distance:.1f}, "
                "theirs about 1)"
            )
        return ", ".join(parts)

    def warning(self) -> str | None:
        """One line for a picture that the generator does not make; None for one that it makes."""
        if not self.is_poor:
            return None
        return (
            f"the generator reproduces this picture poorly: {self.sentence()}; it may be none of its kind, or framed "
            "otherwise, and its views then say little about the object"
        )


@dataclass(frozen=True, eq=False)
class Scale:
    """What latents and pictures of one generator are judged by."""

    statistics: LatentStatistics | None
    """None for a generator without a prior."""
    unrelated_distance: float | None
    """As of `Likeness`."""


def scale_of(loaded: LoadedGenerator) -> Scale:
    """The scale of a generator, with these features; drawn from a fixed seed, so that it is always the same."""
    if loaded.draw_latents is None:
        return Scale(None, None)
    return Scale(latent_statistics(loaded), None if loaded.features is None else unrelated_distance(loaded))


@torch.no_grad()
def likeness_of(loaded: LoadedGenerator, image: Tensor, latent: Tensor, scale: Scale | None = None) -> Likeness:
    """Judge a latent (1, D) or (1, L, D) as that of a signed picture (1, 3, R, R).

    Args:
        loaded: the generator that is to make the picture.
        image: the picture.
        latent: its latent.
        scale: of `scale_of(loaded)`, for those who judge several pictures; None means that it is drawn here.
    """
    picture = loaded.generator.synthesize(latent).clamp(-1, 1)
    distance = None if loaded.features is None else float(feature_distances(loaded.features, picture, image))
    scale = scale_of(loaded) if scale is None else scale
    return Likeness(
        psnr=signed_psnr(picture, image),
        feature_distance=distance,
        unrelated_distance=scale.unrelated_distance,
        latent_distance=None if scale.statistics is None else scale.statistics.distance(latent),
        percentile=None if scale.statistics is None else scale.statistics.percentile(latent),
    )


@torch.no_grad()
def unrelated_distance(loaded: LoadedGenerator, *, count: int = _PICTURES, seed: int = _SEED) -> float:
    """Median feature distance between pairs of `count` untruncated pictures.

    Raises:
        InputError: the generator has no prior to draw from.
        ValueError: it has no features.
    """
    if loaded.features is None:
        raise ValueError(f"the generator {loaded.name} has no features to compare pictures in")
    rng = latent_rng(seed, loaded.w_mean.device)
    latents = loaded.sample_latents(count, rng=rng)
    features = [
        [feature.cpu() for feature in loaded.features(loaded.generator.synthesize(latent[None]).clamp(-1, 1))]
        for latent in latents
    ]
    pairs = torch.combinations(torch.arange(count), 2).tolist()
    distances = [map_distances(features[i], features[j]) for i, j in pairs]
    return float(torch.cat(distances).median())
