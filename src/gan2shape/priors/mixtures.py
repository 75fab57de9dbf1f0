"""Mixtures of Gaussians over colours, deterministic: no random start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of K Gaussians in C dimensions."""

    weights: np.ndarray
    """(K,) shares, summing to 1."""
    means: np.ndarray
    """(K, C)."""
    covariances: np.ndarray
    """(K, C, C)."""

    def log_parts(self, points: np.ndarray) -> np.ndarray:
        """(N, K) logarithms of each share's density at points (N, C), without the constant of the dimension."""
        parts = []
        for weight, mean, covariance in zip(self.weights, self.means, self.covariances, strict=True):
            offset = points - mean
            distance = np.einsum("ni,ij,nj->n", offset, np.linalg.inv(covariance), offset)
            parts.append(np.log(weight) - distance / 2 - np.linalg.slogdet(covariance)[1] / 2)
        return np.stack(parts, axis=1)

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """(N,) logarithm of the density at points (N, C), without the constant of the dimension."""
        return np.logaddexp.reduce(self.log_parts(points), axis=1)


def fit_mixture(points: np.ndarray, weights: np.ndarray, count: int, *, blur: float, iterations: int = 6) -> Mixture:
    """Fit by expectation maximisation from a k-means start.

    Args:
        points: (N, C), N ≥ 1.
        weights: (N,) how much each point counts, ≥ 0.
        count: number of Gaussians.
        blur: standard deviation added to every Gaussian, so that none collapses onto one colour.
        iterations: rounds of expectation maximisation.
    """
    shares = np.eye(count)[_cluster(points, count)]  # (N, K)
    ridge = np.eye(points.shape[1]) * blur**2
    for _ in range(iterations):
        counted = shares * weights[:, None]
        totals = counted.sum(axis=0) + 1e-6  # empty clusters keep a share too small to matter
        means = counted.T @ points / totals[:, None]
        offsets = points[None] - means[:, None]  # (K, N, C)
        covariances = np.einsum("nk,kni,knj->kij", counted, offsets, offsets) / totals[:, None, None] + ridge
        mixture = Mixture(totals / totals.sum(), means, covariances)
        logs = mixture.log_parts(points)
        shares = np.exp(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True))
    return mixture


def _cluster(points: np.ndarray, count: int, iterations: int = 10) -> np.ndarray:
    """k-means labels (N,), started from the point nearest the mean and then the farthest ones, outliers left out."""
    first = points[np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1))]
    centres = [first]
    nearest = ((points - first) ** 2).sum(axis=1)
    for _ in range(count - 1):
        centres.append(points[np.argmax(np.minimum(nearest, np.quantile(nearest, 0.95)))])
        nearest = np.minimum(nearest, ((points - centres[-1]) ** 2).sum(axis=1))
    means = np.array(centres)
    for _ in range(iterations):
        labels = ((points[:, None] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
        for index in range(count):
            if (labels == index).any():
                means[index] = points[labels == index].mean(axis=0)
    return labels
