"""The parts of the classical segmentation, each against something known."""

from __future__ import annotations

import numpy as np
import pytest

from gan2shape.priors.mixtures import Mixture, fit_mixture
from gan2shape.priors.segmentation import SegmentationConfig, fit_border, lab, quadratic_basis, smooth


def test_lab_of_known_colours() -> None:
    """Published values of sRGB primaries under D65."""
    colours = np.array([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    assert lab(colours) * 100 == pytest.approx(np.array(expected), abs=0.05)


def test_border_fit_ignores_the_object() -> None:
    rng = np.random.default_rng(0)
    truth = quadratic_basis(48, 48) @ rng.uniform(-0.1, 0.1, (6, 3))
    colour = truth + rng.normal(0, 0.005, truth.shape)
    colour[20:, 10:38] += 0.5  # touches three fifths of the bottom border
    surface, deviation = fit_border(colour, SegmentationConfig())
    assert np.abs(surface - truth).max() < 0.03
    assert deviation < 0.03


def test_smoothing_solves_its_equations() -> None:
    """Against a dense solve of the same quadratic energy."""
    rng = np.random.default_rng(1)
    height, width = 6, 7
    odds, colour = rng.normal(0, 2, (height, width)), rng.uniform(0, 1, (height, width, 3))
    pairs, squared = [], []
    for i in range(height):
        for j in range(width):
            for di, dj in ((0, 1), (1, 0), (1, 1), (1, -1)):
                if i + di < height and 0 <= j + dj < width:
                    pairs.append((i * width + j, (i + di) * width + j + dj, np.hypot(di, dj)))
                    squared.append(((colour[i, j] - colour[i + di, j + dj]) ** 2).sum())
    certainty = (0.5 * np.abs(np.tanh(odds / 2)) + 0.02).ravel()
    matrix = np.diag(certainty)
    for (a, b, length), value in zip(pairs, squared, strict=True):
        weight = (np.exp(-value / (2 * (np.mean(squared) + 1e-8))) + 0.02) / length
        matrix[a, a] += weight
        matrix[b, b] += weight
        matrix[a, b] -= weight
        matrix[b, a] -= weight
    expected = np.linalg.solve(matrix, certainty * (odds > 0).ravel()).reshape(height, width)
    assert smooth(odds, colour, 1.0) == pytest.approx(expected, abs=1e-4)


def test_mixture_density_of_one_gaussian() -> None:
    mixture = Mixture(np.array([1.0]), np.array([[1.0, 2.0]]), np.diag([4.0, 0.25])[None])
    # -(1/2)(2²/4 + 1²/0.25) - (1/2) log(4 · 0.25), without the constant of the dimension
    assert mixture.log_density(np.array([[3.0, 3.0]])) == pytest.approx([-2.5])


def test_mixture_finds_separate_clusters() -> None:
    rng = np.random.default_rng(2)
    centres = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 1]])
    points = np.concatenate(
        [centre + rng.normal(0, 0.05, (n, 3)) for centre, n in zip(centres, (100, 200, 300), strict=True)]
    )
    mixture = fit_mixture(points, np.ones(len(points)), 3, blur=0.01)
    order = [int(np.linalg.norm(mixture.means - centre, axis=1).argmin()) for centre in centres]
    assert sorted(order) == [0, 1, 2]
    assert mixture.means[order] == pytest.approx(centres, abs=0.03)
    assert mixture.weights[order] == pytest.approx([1 / 6, 1 / 3, 1 / 2], abs=0.01)
