"""Scores of many results against a truth file."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.evaluate.metrics import mad, scored_mask, side
from gan2shape.evaluate.truth import Truth, match_results, read_depth
from gan2shape.render import Camera


@dataclass(frozen=True)
class Score:
    """One picture's score: SIDE (times 100), MAD in degrees, and MAD as in published numbers (too-short normals)."""

    picture: int
    side: float
    mad: float
    mad_paper: float


def score_depth(picture: int, depth: Tensor, hit: Tensor, truth: Truth) -> Score:
    """Score an input-view depth (1, 1, S, S) with its hits (1, 1, S, S) against one picture of the truth.

    Raises:
        InputError: prediction and truth share no foreground.
    """
    true, mask = truth.depth[picture : picture + 1], truth.mask[picture : picture + 1]
    try:
        chosen = scored_mask(mask, hit)
    except ValueError as error:
        raise InputError(f"picture {picture}: {error}") from None
    camera = Camera(true.shape[-1])
    return Score(
        picture,
        100 * float(side(depth, true, chosen)),
        float(mad(depth, true, chosen, camera)),
        float(mad(depth, true, chosen, camera, compat=True)),
    )


def score_results(results: Path, truth: Truth) -> list[Score]:
    """Scores of all result folders below ``results``, by picture.

    Raises:
        InputError: see `match_results` and `read_depth`.
    """
    size = truth.depth.shape[-1]
    folders = sorted(match_results(results, truth).items())
    return [score_depth(picture, *read_depth(folder, size), truth) for picture, folder in folders]


def summary(scores: list[Score]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over pictures of every measure."""
    names = ("side", "mad", "mad_paper")
    values = {name: [getattr(score, name) for score in scores] for name in names}
    return {name: {"mean": statistics.fmean(v), "std": statistics.pstdev(v)} for name, v in values.items()}
