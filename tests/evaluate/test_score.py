"""Scores of whole folders, against the metrics and against numbers worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gan2shape.errors import InputError
from gan2shape.evaluate import mad, scored_mask, side
from gan2shape.evaluate.score import Score, score_depth, score_results, summary
from gan2shape.evaluate.truth import Truth
from gan2shape.render import Camera

SIZE = 32


def a_truth(count: int = 2) -> Truth:
    steps = torch.linspace(-1, 1, SIZE)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    caps = [1.02 - 0.08 * (1 - (x / 0.8).square() - (y / w).square()).clamp(min=0).sqrt() for w in (0.7, 0.9)]
    depth = torch.stack(caps[:count])[:, None]
    mask = (depth < 1.0).float()
    return Truth(depth * mask, mask)


def whole(depth: torch.Tensor) -> torch.Tensor:
    """The depth with a background instead of zeros."""
    return torch.where(depth > 0, depth, 1.02)


def test_a_perfect_depth_scores_zero_and_the_published_floor() -> None:
    truth = a_truth()
    score = score_depth(1, whole(truth.depth[1:]), torch.ones(1, 1, SIZE, SIZE), truth)
    assert score.picture == 1
    assert score.side == 0
    assert score.mad < 1e-3
    assert score.mad_paper > 1, "too-short normals"


def test_scores_are_the_metrics_over_the_common_foreground(rng: torch.Generator) -> None:
    truth = a_truth()
    depth = whole(truth.depth[:1]) + 0.01 * torch.randn(1, 1, SIZE, SIZE, generator=rng)
    hit = (torch.rand(1, 1, SIZE, SIZE, generator=rng) < 0.98).float()
    score = score_depth(0, depth, hit, truth)
    mask = scored_mask(truth.mask[:1], hit)
    true = whole(truth.depth[:1])
    assert score.side == pytest.approx(100 * float(side(depth, true, mask)), rel=1e-5)
    assert score.mad == pytest.approx(float(mad(depth, true, mask, Camera(SIZE))), rel=1e-4)
    assert score.mad_paper == pytest.approx(float(mad(depth, true, mask, Camera(SIZE), compat=True)), rel=1e-4)


def test_a_constant_depth_scores_the_spread_of_the_true_logarithms() -> None:
    truth = a_truth()
    score = score_depth(0, torch.ones(1, 1, SIZE, SIZE), torch.ones(1, 1, SIZE, SIZE), truth)
    mask = scored_mask(truth.mask[:1], torch.ones(1, 1, SIZE, SIZE))
    logs = [math.log(value) for value in truth.depth[:1][mask].double().tolist()]
    mean = sum(logs) / len(logs)
    expected = 100 * math.sqrt(sum((value - mean) ** 2 for value in logs) / len(logs))
    assert score.side == pytest.approx(expected, rel=1e-4)


def test_the_scale_of_the_prediction_does_not_count_for_side() -> None:
    truth, hit = a_truth(), torch.ones(1, 1, SIZE, SIZE)
    depth = whole(truth.depth[:1]) ** 1.3
    one, other = (score_depth(0, factor * depth, hit, truth).side for factor in (1.0, 0.9))
    assert one == pytest.approx(other, rel=1e-3)


def test_no_common_foreground_is_an_input_error() -> None:
    with pytest.raises(InputError, match="picture 1: prediction and truth share no foreground"):
        score_depth(1, torch.ones(1, 1, SIZE, SIZE), torch.zeros(1, 1, SIZE, SIZE), a_truth())


def test_folders_are_scored_by_picture(tmp_path: Path) -> None:
    truth = a_truth()
    for index, factor in ((0, 1.0), (1, 1.1)):
        (tmp_path / f"result_{index}").mkdir()
        depth = whole(truth.depth[index : index + 1])[0, 0].numpy() ** factor
        np.save(tmp_path / f"result_{index}" / "depth.npy", depth.astype(np.float32))
    scores = score_results(tmp_path, truth)
    assert [score.picture for score in scores] == [0, 1]
    assert scores[0].side == pytest.approx(0, abs=1e-5)
    logs = truth.depth[1:][scored_mask(truth.mask[1:], torch.ones(1, 1, SIZE, SIZE))].double().log()
    assert scores[1].side == pytest.approx(100 * 0.1 * float(logs.std(correction=0)), rel=1e-3)


def test_a_folder_of_another_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r0").mkdir()
    np.save(tmp_path / "r0" / "depth.npy", np.ones((8, 8), np.float32))
    with pytest.raises(InputError, match=f"expected {SIZE}x{SIZE} as the truth; got 8x8"):
        score_results(tmp_path, a_truth())


def test_the_summary_is_mean_and_population_deviation() -> None:
    table = summary([Score(0, 1.0, 10.0, 12.0), Score(1, 2.0, 14.0, 13.0), Score(2, 6.0, 12.0, 17.0)])
    assert table["side"] == {"mean": pytest.approx(3.0), "std": pytest.approx(math.sqrt(14 / 3))}
    assert table["mad"] == {"mean": pytest.approx(12.0), "std": pytest.approx(math.sqrt(8 / 3))}
    assert table["mad_paper"]["mean"] == pytest.approx(14.0)
