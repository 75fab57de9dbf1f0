"""Error maps: which sign is which colour, and what is not scored."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan2shape.evaluate import mad, scored_mask, side
from gan2shape.evaluate.maps import (
    ANGLE_LIMIT_DEG,
    LOG_DEPTH_LIMIT,
    error_maps,
    positive_colours,
    signed_colours,
    write_error_maps,
)
from gan2shape.evaluate.results import Prediction
from gan2shape.render import Camera
from tests.evaluate.heads import SIZE, a_head, the_answer


def wrong() -> Prediction:
    """The right depth, pressed in on the left half."""
    answer = the_answer()
    depth = answer.depth.clone()
    depth[..., : SIZE // 2] *= 1.02
    return Prediction(depth, answer.hit)


def test_the_maps_sum_up_to_side_and_mad() -> None:
    item, prediction = a_head(), wrong()
    maps, chosen = error_maps(prediction, item), scored_mask(item.mask, prediction.hit)
    assert torch.equal(maps.log_depth.isfinite(), chosen)
    assert torch.equal(maps.angle.isfinite(), chosen)
    expected = float(side(prediction.depth, item.depth, chosen))
    assert float(maps.log_depth[chosen].std(correction=0)) == pytest.approx(expected, rel=1e-4)
    expected = float(mad(prediction.depth, item.depth, chosen, Camera(SIZE)))
    assert float(maps.angle[chosen].mean()) == pytest.approx(expected, rel=1e-4)


def test_too_far_is_red_and_too_near_is_blue() -> None:
    item = a_head()
    colours = signed_colours(error_maps(wrong(), item).log_depth[0], math.log(1.02))
    far, near = colours[:, SIZE // 2, 10], colours[:, SIZE // 2, 21]
    assert float(far[0]) > float(far[2]) + 0.3
    assert float(near[2]) > float(near[0]) + 0.3
    assert colours[:, 0, 0].tolist() == [0, 0, 0]


def test_ends_of_the_scales() -> None:
    values = torch.tensor([[[-9.0, -LOG_DEPTH_LIMIT, 0.0, LOG_DEPTH_LIMIT, 9.0, math.nan]]])
    colours = signed_colours(values, LOG_DEPTH_LIMIT)
    assert torch.equal(colours[:, 0, 0], colours[:, 0, 1])
    assert torch.equal(colours[:, 0, 3], colours[:, 0, 4])
    assert float(colours[:, 0, 2].min()) > 0.9
    bright = positive_colours(torch.tensor([[[0.0, 20.0, 40.0, ANGLE_LIMIT_DEG, 90.0]]]), ANGLE_LIMIT_DEG).mean(0)[0]
    assert bright.tolist() == sorted(bright.tolist())
    assert float(bright[3]) == float(bright[4])


def test_a_sheet_is_written(tmp_path: Path) -> None:
    for name, item in {"whole": a_head(), "bare": dataclasses.replace(a_head(), image=None)}.items():
        write_error_maps(tmp_path / f"{name}.png", wrong(), item, "000000   SIDE 1.0")
        sheet = np.asarray(Image.open(tmp_path / f"{name}.png"))
        assert sheet.shape[1] == 1400
        assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 100


def test_no_common_foreground_is_a_mistake() -> None:
    answer = the_answer()
    with pytest.raises(ValueError, match="share no foreground"):
        error_maps(Prediction(answer.depth, torch.zeros_like(answer.hit)), a_head())
