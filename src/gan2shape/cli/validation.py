"""Scores of a network during its training: the same measures as ``gan2shape evaluate``, without result folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gan2shape.errors import InputError
from gan2shape.evaluate.metrics import mad, scored_mask, side
from gan2shape.evaluate.truth import read_truth
from gan2shape.render import Camera

if TYPE_CHECKING:
    from torch import Tensor

_AT_ONCE = 50


def read_validation(file: Path, size: int) -> Callable[[Callable[[Tensor], tuple[Tensor, Tensor]]], dict[str, float]]:
    """What scores a predictor of depth on the pictures of a truth file: mean SIDE (times 100) and MAD (degrees).

    The predictor takes signed pictures (B, 3, S, S) and gives depth of the view and hits, each (B, 1, S, S). Pictures
    of which it hits nothing that could be scored are left out and counted.

    Raises:
        InputError: not a truth file, or one without pictures, or of another size.
    """
    truth = read_truth(file)
    if truth.image is None or truth.image.shape[-1] != size:
        got = "none" if truth.image is None else f"some of {truth.image.shape[-1]} px"
        raise InputError(f"{file}: expected pictures of {size} px (the key image; --size); got {got}")
    images = truth.image
    camera = Camera(size)

    def validate(predict: Callable[[Tensor], tuple[Tensor, Tensor]]) -> dict[str, float]:
        sides, angles = [], []
        for first in range(0, truth.count, _AT_ONCE):
            depth, hit = (part.cpu() for part in predict(images[first : first + _AT_ONCE]))
            for i in range(len(depth)):
                here = slice(i, i + 1)
                true, mask = truth.depth[first + i][None], truth.mask[first + i][None]
                try:
                    chosen = scored_mask(mask, hit[here])
                except ValueError:
                    continue
                sides.append(100 * float(side(depth[here], true, chosen)))
                angles.append(float(mad(depth[here], true, chosen, camera)))
        scores = {"unscored": float(truth.count - len(sides))}
        return {"side": float(np.mean(sides)), "mad": float(np.mean(angles)), **scores} if sides else scores

    return validate
