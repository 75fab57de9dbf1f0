"""Scores of predictions and of whole folders, against the measures and against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gan2shape.errors import InputError
from gan2shape.evaluate import mad, scored_mask, side
from gan2shape.evaluate.results import Prediction
from gan2shape.evaluate.score import (
    MEASURES,
    Score,
    as_row,
    left_out,
    pose_errors,
    score_depth,
    score_result,
    score_results,
    summary,
)
from gan2shape.evaluate.truth import Truth
from gan2shape.render import Camera
from tests.evaluate.heads import POSE, a_head, poses, the_answer

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


def test_the_truth_of_one_picture_is_wanted() -> None:
    with pytest.raises(ValueError, match="expected the truth of one picture; got 2"):
        score_result(Prediction(torch.ones(1, 1, SIZE, SIZE), torch.ones(1, 1, SIZE, SIZE)), a_truth())


def test_the_right_answer_has_every_measure_and_no_error() -> None:
    score = score_result(the_answer(), a_head(), picture=3, paint=lambda crude, poses, lights: crude)
    assert all(value is not None for value in dataclasses.asdict(score).values())
    row = as_row(score)
    assert row["picture"] == 3
    for name in ("side", "mad", "mad_mesh", "depth_mae", "light", "albedo", "pitch_offset", "yaw_offset"):
        assert row[name] == pytest.approx(0, abs=0.05), name
    for name in ("view_ssim", "view_coverage", "relight_ssim", "relight_coverage", "gan_view_ssim", "gan_relight_ssim"):
        assert row[name] == pytest.approx(1, abs=0.01), name
    for name in ("view_psnr", "relight_psnr", "gan_view_psnr", "gan_relight_psnr"):
        assert row[name] > 33, name


def test_a_pose_that_is_off_by_a_known_angle() -> None:
    pitch, yaw, *rest = POSE
    score = score_result(the_answer(pose=poses((pitch - 2, yaw + 7, *rest))), a_head())
    assert score.pitch_offset == pytest.approx(-2, abs=1e-3)
    assert score.yaw_offset == pytest.approx(7, abs=1e-3)


def test_depth_alone_is_scored_for_its_shape_alone() -> None:
    answer = the_answer()
    score = score_result(Prediction(answer.depth, answer.hit), a_head())
    assert set(as_row(score)) == {"picture", "side", "mad", "mad_paper", "mad_mesh", "depth_mae"}


@pytest.mark.parametrize(
    ("missing", "gone"),
    [
        ("normal", {"mad_mesh", "relight_psnr", "relight_ssim", "relight_coverage"}),
        ("albedo", {"albedo", "relight_psnr", "relight_ssim", "relight_coverage"}),
        ("pose", {"pitch_offset", "yaw_offset", "view_psnr", "view_ssim", "view_coverage"}),
    ],
)
def test_what_the_truth_does_not_know_is_left_out(missing: str, gone: set[str]) -> None:
    whole_row = as_row(score_result(the_answer(), a_head()))
    truth = dataclasses.replace(a_head(), **{missing: None})
    scores = [score_result(the_answer(), truth), score_result(the_answer(), truth)]
    assert set(whole_row) - set(as_row(scores[0])) == gone
    reasons = left_out(scores, truth)
    assert any("the truth has no" in reason for reason in reasons.values())
    assert all(math.isfinite(value) for value in as_row(scores[0]).values())


def test_reasons_for_what_is_left_out() -> None:
    answer, head = the_answer(), a_head()
    both = [score_result(answer, head), score_result(Prediction(answer.depth, answer.hit), head)]
    reasons = left_out(both, head)
    assert reasons["albedo"] == reasons["view"] == "1 of 2 results have no scene"
    assert reasons["gan"] == "no GAN was asked for"
    assert left_out(both, head, gan=True)["gan"] == "1 of 2 results have no encoder"
    assert left_out(both[:1], head)["pose"] == "the mean offset of one picture is its own"
    painted = [score_result(answer, head, paint=lambda crude, poses, lights: crude)] * 2
    assert left_out(painted, head, gan=True) == {}
    plain = score_depth(0, torch.ones(1, 1, SIZE, SIZE), torch.ones(1, 1, SIZE, SIZE), a_truth())
    assert set(left_out([plain], a_truth())) == {"mad_mesh", "pose", "light", "albedo", "view", "relight"}


def test_folders_are_scored_by_picture(tmp_path: Path) -> None:
    truth = a_truth()
    for index, factor in ((0, 1.0), (1, 1.1)):
        (tmp_path / f"result_{index}").mkdir()
        depth = whole(truth.depth[index : index + 1])[0, 0].numpy() ** factor
        np.save(tmp_path / f"result_{index}" / "depth.npy", depth.astype(np.float32))
    told: list[str] = []
    scores = score_results(tmp_path, truth, on_scored=lambda score, stored: told.append(stored.folder.name))
    assert told == ["result_0", "result_1"]
    assert [score.picture for score in scores] == [0, 1]
    assert scores[0].side == pytest.approx(0, abs=1e-5)
    logs = truth.depth[1:][scored_mask(truth.mask[1:], torch.ones(1, 1, SIZE, SIZE))].double().log()
    assert scores[1].side == pytest.approx(100 * 0.1 * float(logs.std(correction=0)), rel=1e-3)


@pytest.mark.parametrize("size", [8, 48])
def test_a_folder_of_a_size_that_does_not_fit_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "r0").mkdir()
    np.save(tmp_path / "r0" / "depth.npy", np.ones((size, size), np.float32))
    message = f"expected maps of {SIZE}x{SIZE} as the truth, or a whole multiple; got {size}x{size}"
    with pytest.raises(InputError, match=message):
        score_results(tmp_path, a_truth())


def test_a_folder_of_twice_the_size_is_scored(tmp_path: Path) -> None:
    """A depth that is smooth over the mask scores the same at both sizes, nearly."""
    (tmp_path / "r0").mkdir()
    truth = a_truth()
    steps = torch.linspace(-1, 1, 2 * SIZE)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    cap = 1.02 - 0.08 * (1 - (x / 0.8).square() - (y / 0.7).square()).clamp(min=0).sqrt()
    np.save(tmp_path / "r0" / "depth.npy", cap.numpy())
    score = score_results(tmp_path, truth)[0]
    constant = score_depth(0, torch.ones(1, 1, SIZE, SIZE), torch.ones(1, 1, SIZE, SIZE), truth)
    assert score.side < 0.1 * constant.side
    assert score.mad < 0.1 * constant.mad


def test_the_summary_is_mean_and_population_deviation() -> None:
    table = summary([Score(0, 1.0, 10.0, 12.0), Score(1, 2.0, 14.0, 13.0), Score(2, 6.0, 12.0, 17.0, light=5.0)])
    assert table["side"] == {"mean": pytest.approx(3.0), "std": pytest.approx(math.sqrt(14 / 3)), "pictures": 3}
    assert table["mad"]["std"] == pytest.approx(math.sqrt(8 / 3))
    assert table["mad_paper"]["mean"] == pytest.approx(14.0)
    assert table["light"] == {"mean": 5.0, "std": 0.0, "pictures": 1}
    assert set(table) == {"side", "mad", "mad_paper", "light"}


def test_pitch_and_yaw_are_measures_of_the_set() -> None:
    offsets = ((178.0, 10.0), (-178.0, 20.0), (180.0, 30.0))
    scores = [
        Score(index, 0.0, 0.0, 0.0, pitch_offset=pitch, yaw_offset=yaw) for index, (pitch, yaw) in enumerate(offsets)
    ]
    table = summary(scores)
    assert table["pitch"]["mean"] == pytest.approx(4 / 3, abs=1e-6)
    assert abs(table["pitch"]["offset"]) == pytest.approx(180)
    assert table["yaw"]["mean"] == pytest.approx(20 / 3, abs=0.05)
    assert table["yaw"]["offset"] == pytest.approx(20)
    assert pose_errors(scores)["yaw"][1] == pytest.approx([10, 0, 10], abs=1e-6)
    assert pose_errors(scores[:1]) == {}
    assert "yaw" not in summary(scores[:1])


def test_every_measure_is_a_field_or_of_the_set() -> None:
    fields = {field.name for field in dataclasses.fields(Score)}
    assert {measure.name for measure in MEASURES} - fields == {"pitch", "yaw"}
    assert fields - {measure.name for measure in MEASURES} == {"picture", "pitch_offset", "yaw_offset"}
