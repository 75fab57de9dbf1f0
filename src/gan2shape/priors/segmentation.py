"""Where the object is, by classical means: numpy only, deterministic, no learned weights.

The object is taken to stand before a background that is smooth up to a stationary texture and that shows along much
of the picture's border; the object may touch the border too, most likely the bottom. A smooth background colour is
fitted to the border robustly; pixels that differ from it start the object; then colour mixtures of object and
background and a random-walk smoothing, which stops at colour edges, refine the object in turn.

Sources of the parts: Rother et al., "GrabCut", SIGGRAPH 2004 (mixtures in turn with a segmentation);
Grady, "Random Walks for Image Segmentation", PAMI 2006 (the smoothing); Geman and McClure (the robust weights).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from gan2shape.priors.mixtures import fit_mixture


@dataclass(frozen=True)
class SegmentationConfig:
    """Numbers of the classical segmentation. Colours are Lab divided by 100, so 0.01 is about one just visible step."""

    rounds: int = 4
    """How often mixtures and smoothing are repeated."""
    bottom_weight: float = 0.3
    """How much a pixel of the bottom border counts as background beside one of the other borders."""
    background_share: float = 0.4
    """Part of the border, by weight, that is taken to be background at least."""
    difference: float = 4.0
    """Differences from the background, in its own standard deviations, from which a pixel starts as object."""
    least_deviation: float = 0.015
    """Smallest standard deviation that a background is believed to have, in colour units."""
    centre: float = 1.0
    """Log odds of object at the picture's centre; they fall to the corners and below the middle stay level."""
    object_colours: int = 5
    """Gaussians of the object's colour mixture."""
    background_colours: int = 3
    """Gaussians of the mixture of the background's differences from its smooth colour."""
    colour_blur: float = 0.02
    """Standard deviation added to every Gaussian, in colour units."""
    least_area: float = 0.02
    """Part of the picture that an object must fill; what is smaller counts as nothing found."""
    smoothing: float = 1.0
    """Weight of an edge between two pixels of like colour, beside the weight 0.5 of a certain pixel's own opinion."""


def segment(rgb: np.ndarray, config: SegmentationConfig | None = None) -> np.ndarray:
    """Probability-like map of the object.

    Args:
        rgb: (H, W, 3) in [0, 1], at least 8×8; meant for sides of up to about 128 px, above which it gets slow.
        config: the numbers.

    Returns:
        (H, W) in [0, 1], one connected region without holes above 0.5; all zero if no object was found.
    """
    config = config or SegmentationConfig()
    colour = lab(rgb)
    height, width, _ = colour.shape
    background, deviation = fit_border(colour, config)
    centre = _centre_odds(height, width, config.centre)
    difference = np.linalg.norm(colour - background, axis=-1)
    # Far beyond the threshold a difference says no more than at it, hence the cut.
    odds = 0.7 * np.clip(difference / deviation - config.difference, -6, 6) + centre
    for _ in range(config.rounds):
        soft = smooth(odds, colour, config.smoothing)
        if not config.least_area < (soft > 0.5).mean() < 0.99:
            return np.zeros((height, width))
        odds = np.clip(_mixture_odds(colour, soft, config), -5, 5) + centre
    region = _one_region(soft)
    return region if (region > 0.5).mean() >= config.least_area else np.zeros_like(region)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE Lab (D65) divided by 100, of sRGB (..., 3) in [0, 1]."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    root = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1) / 100


def fit_border(colour: np.ndarray, config: SegmentationConfig) -> tuple[np.ndarray, float]:
    """Fit a quadratic colour surface to the border, whatever object hides parts of it.

    Iteratively re-weighted least squares from several starts, each of which believes in another part of the border;
    the start that explains most of the border wins.

    Returns:
        The surface (H, W, 3) and the standard deviation of the border about it, in colour units.
    """
    height, width, _ = colour.shape
    thickness = max(2, height // 24)
    ring = np.ones((height, width), dtype=bool)
    ring[thickness:-thickness, thickness:-thickness] = False
    rows, columns = np.nonzero(ring)
    y, x = rows / (height - 1), columns / (width - 1)
    at_bottom = (rows >= height - thickness) & (columns >= thickness) & (columns < width - thickness)
    trust = np.where(at_bottom, config.bottom_weight, 1.0)
    basis = quadratic_basis(height, width)
    samples, target = basis[rows, columns], colour[rows, columns]
    sides = (x < 0.3) | (x > 0.7)
    starts = (
        np.ones_like(x, dtype=bool),
        y < 0.85,
        sides & (y < 0.9),
        x < 0.35,
        x > 0.65,
        sides & (y < 0.3),
        y > 0.3,
    )
    fits = [_fit_robustly(samples, target, trust, start, config.background_share) for start in starts]
    coefficients, distance, weights = min(fits, key=lambda fit: float((trust * (1 - _outlier_weight(fit[1]))).sum()))
    # Seven tenths rather than the median: where the surface bends away from the background, its misfit counts too.
    deviation = max(config.least_deviation, 1.2 * _weighted_quantile(distance, weights, 0.7))
    return basis @ coefficients, deviation


def quadratic_basis(height: int, width: int) -> np.ndarray:
    """(H, W, 6): 1, x, y, x², xy, y² with x and y in [-1, 1]."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


def smooth(odds: np.ndarray, colour: np.ndarray, strength: float, iterations: int = 60) -> np.ndarray:
    """Random-walk smoothing: the least of ``Σ c_i (x_i − o_i)² + Σ w_ij (x_i − x_j)²`` over the 8-neighbourhood.

    o is 1 where the log odds are positive, c how certain they are, and w falls with the colour difference, measured
    by the mean difference in this picture. Solved by preconditioned conjugate gradients.

    Args:
        odds: (H, W) log odds of object.
        colour: (H, W, 3).
        strength: weight of an edge between like colours.
        iterations: of conjugate gradients.

    Returns:
        (H, W) in [0, 1].
    """
    opinion = (odds > 0).astype(float)
    certainty = 0.5 * np.abs(np.tanh(odds / 2)) + 0.02
    edges = _edges(colour, strength)

    def apply(x: np.ndarray) -> np.ndarray:
        out = certainty * x
        for here, there, weight in edges:
            flow = weight * (x[here] - x[there])
            out[here] += flow
            out[there] -= flow
        return out

    diagonal = certainty.copy()
    for here, there, weight in edges:
        diagonal[here] += weight
        diagonal[there] += weight
    x = opinion
    residual = certainty * opinion - apply(x)
    direction = residual / diagonal
    energy = float((residual * direction).sum())
    for _ in range(iterations):
        if energy < 1e-10:
            break
        image = apply(direction)
        step = energy / float((direction * image).sum())
        x = x + step * direction
        residual = residual - step * image
        preconditioned = residual / diagonal
        following = float((residual * preconditioned).sum())
        direction = preconditioned + following / energy * direction
        energy = following
    return np.clip(x, 0, 1)


def _mixture_odds(colour: np.ndarray, soft: np.ndarray, config: SegmentationConfig) -> np.ndarray:
    """(H, W) log odds of object, from mixtures fitted to both sides of the present map."""
    height, width, channels = colour.shape
    flat, share = colour.reshape(-1, channels), soft.reshape(-1)
    inside = share > 0.5
    differences = flat - _refit_background(flat, 1 - share, quadratic_basis(height, width).reshape(-1, 6))
    blur = config.colour_blur
    objects = fit_mixture(flat[inside], share[inside], config.object_colours, blur=blur)
    others = fit_mixture(differences[~inside], 1 - share[~inside], config.background_colours, blur=blur)
    # A colour that neither side has seen must not decide, hence the floor on both densities.
    floor = np.log(1e-3)
    odds = np.maximum(objects.log_density(flat), floor) - np.maximum(others.log_density(differences), floor)
    return odds.reshape(height, width)


def _refit_background(flat: np.ndarray, share: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """(N, 3) quadratic colour surface through the pixels that are background now, outliers weighted down."""
    weights = share * (share >= 0.5)
    distance = np.linalg.norm(flat - basis @ _least_squares(basis, flat, weights), axis=1)
    scale = max(0.03, 2 * float(np.median(distance[share >= 0.5])))
    return basis @ _least_squares(basis, flat, weights * _outlier_weight(distance, scale) ** 2)


def _fit_robustly(
    samples: np.ndarray, target: np.ndarray, trust: np.ndarray, start: np.ndarray, share: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients (6, 3), distances (N,) and final weights (N,); a plane first, then a quadratic."""
    weights = trust * start
    scale = 0.3
    for iteration in range(25):
        terms = 3 if iteration < 12 else 6
        coefficients = np.zeros((6, 3))
        coefficients[:terms] = _least_squares(samples[:, :terms], target, weights)
        distance = np.linalg.norm(target - samples @ coefficients, axis=1)
        # The scale never falls below what `share` of the border needs: textured backgrounds stay inliers.
        scale = max(0.03, 0.85 * scale, _weighted_quantile(distance, trust, share))
        weights = trust * _outlier_weight(distance, scale) ** 2
    return coefficients, distance, weights


def _least_squares(samples: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted least squares with a slight preference for flat surfaces, where the samples leave the slope open."""
    preference = np.diag([1e-6, 1e-3, 1e-3, 1e-2, 1e-2, 1e-2][: samples.shape[1]]) * (weights.sum() + 1e-12)
    weighted = (samples * weights[:, None]).T
    return np.linalg.solve(weighted @ samples + preference, weighted @ target)


def _outlier_weight(distance: np.ndarray, scale: float = 0.08) -> np.ndarray:
    return 1 / (1 + (distance / scale) ** 2)


def _weighted_quantile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    order = np.argsort(values, kind="stable")
    running = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(running, share * running[-1])])


def _centre_odds(height: int, width: int, strength: float) -> np.ndarray:
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    # Heads, cars and statues reach to the lower border: below the middle the odds fall sideways only.
    return strength * (1 - 1.6 * (1.2 * x**2 + np.minimum(y, 0.3) ** 2))


_Edge = tuple[tuple[slice, slice], tuple[slice, slice], np.ndarray]


def _edges(colour: np.ndarray, strength: float) -> list[_Edge]:
    """The four directions of the 8-neighbourhood: two views of a map and the weights between them."""
    height, width, _ = colour.shape
    pairs = []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(0, height - down), slice(max(0, -right), width - max(0, right)))
        there = (slice(down, height), slice(max(0, right), width - max(0, -right)))
        pairs.append((here, there, ((colour[here] - colour[there]) ** 2).sum(axis=-1), np.hypot(down, right)))
    mean = np.concatenate([squared.ravel() for _, _, squared, _ in pairs]).mean() + 1e-8
    return [
        (here, there, strength / length * (np.exp(-squared / (2 * mean)) + 0.02))
        for here, there, squared, length in pairs
    ]


def _one_region(soft: np.ndarray) -> np.ndarray:
    """The map with its most central large region alone above 0.5, and without holes."""
    height, width = soft.shape
    labels, count = _label(soft > 0.5)
    if count == 0:
        return np.zeros_like(soft)
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    mass = np.bincount(labels.ravel(), weights=np.exp(-(x**2) - y**2).ravel())
    mass[0] = 0
    region = labels == np.argmax(mass)
    outside, _ = _label(~region)
    border = np.concatenate([outside[0], outside[-1], outside[:, 0], outside[:, -1]])
    holes = ~region & ~np.isin(outside, border)
    return np.where(holes, 1.0, np.where(region, soft, np.minimum(soft, 0.499)))


def _label(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the 4-connected regions of a mask from 1; 0 stays outside. Returns the numbers and how many there are."""
    height, width = mask.shape
    open_pixels = mask.tolist()
    labels = np.zeros((height, width), dtype=int)
    count = 0
    for row, column in zip(*(index.tolist() for index in np.nonzero(mask)), strict=True):
        if not open_pixels[row][column]:
            continue
        count += 1
        open_pixels[row][column] = False
        queue = deque([(row, column)])
        while queue:
            i, j = queue.popleft()
            labels[i, j] = count
            for a, b in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                if 0 <= a < height and 0 <= b < width and open_pixels[a][b]:
                    open_pixels[a][b] = False
                    queue.append((a, b))
    return labels, count
