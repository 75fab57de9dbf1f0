"""Scores of predictions against a truth: every measure of the benchmark, for one picture and for a set."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.evaluate.metrics import albedo_error, depth_mae, mad, mad_mesh, scored_mask, side
from gan2shape.evaluate.pose import angle_offsets, centred, light_error, mean_angle
from gan2shape.evaluate.resample import check_sizes, resample, resample_hits
from gan2shape.evaluate.results import Prediction, StoredResult, match_results, read_result
from gan2shape.evaluate.truth import Truth
from gan2shape.evaluate.views import display, input_albedo, new_views, relighting
from gan2shape.export.views import Painter
from gan2shape.render import Camera


@dataclass(frozen=True)
class Measure:
    """How a measure is shown: its name in `Score` and `summary`, a label with unit, digits, and which way is better."""

    name: str
    label: str
    digits: int
    larger_is_better: bool = False


MEASURES = (
    Measure("side", "SIDE x100", 3),
    Measure("mad", "MAD deg", 2),
    Measure("mad_paper", "MAD deg, as published", 2),
    Measure("mad_mesh", "MAD deg, to the mesh", 2),
    Measure("depth_mae", "depth MAE x100", 3),
    Measure("pitch", "pitch deg, centred", 2),
    Measure("yaw", "yaw deg, centred", 2),
    Measure("light", "light deg", 2),
    Measure("albedo", "albedo RMSE x100", 2),
    Measure("view_psnr", "new view PSNR dB", 2, True),
    Measure("view_ssim", "new view SSIM", 3, True),
    Measure("view_coverage", "new view coverage", 3, True),
    Measure("gan_view_psnr", "new view by GAN, PSNR dB", 2, True),
    Measure("gan_view_ssim", "new view by GAN, SSIM", 3, True),
    Measure("relight_psnr", "relit PSNR dB", 2, True),
    Measure("relight_ssim", "relit SSIM", 3, True),
    Measure("relight_coverage", "relit coverage", 3, True),
    Measure("gan_relight_psnr", "relit by GAN, PSNR dB", 2, True),
    Measure("gan_relight_ssim", "relit by GAN, SSIM", 3, True),
)


@dataclass(frozen=True)
class Score:
    """One picture's score; None for what the truth does not know or the method does not say.

    Attributes:
        picture: number in the truth.
        side, depth_mae, albedo: times 100.
        mad, mad_paper, mad_mesh: degrees.
        pitch_offset, yaw_offset: predicted minus true, degrees, before the set's mean is removed.
        light: angle, degrees.
        view_psnr and below: see `gan2shape.evaluate.views.Likeness`; "gan" for pictures that a GAN painted.
    """

    picture: int
    side: float
    mad: float
    mad_paper: float
    mad_mesh: float | None = None
    depth_mae: float | None = None
    pitch_offset: float | None = None
    yaw_offset: float | None = None
    light: float | None = None
    albedo: float | None = None
    view_psnr: float | None = None
    view_ssim: float | None = None
    view_coverage: float | None = None
    gan_view_psnr: float | None = None
    gan_view_ssim: float | None = None
    relight_psnr: float | None = None
    relight_ssim: float | None = None
    relight_coverage: float | None = None
    gan_relight_psnr: float | None = None
    gan_relight_ssim: float | None = None


@torch.no_grad()
def score_result(prediction: Prediction, item: Truth, *, picture: int = 0, paint: Painter | None = None) -> Score:
    """Score any method's prediction against the truth of one picture (see `Truth.item`).

    Args:
        prediction: its maps may be a whole multiple of the truth's size; they are brought to it, see `resample`.
        item: truth with one picture.
        picture: its number, for the record and for messages.
        paint: the GAN, to score its renderings beside the plain ones.

    Raises:
        InputError: prediction and truth share no foreground, or their sizes do not fit.
        ValueError: a truth of several pictures.
    """
    if item.count != 1:
        raise ValueError(f"expected the truth of one picture; got {item.count}")
    try:
        check_sizes(prediction.depth.shape[-1], item.size)
        shape, chosen = _shape_scores(prediction, item)
    except ValueError as error:
        raise InputError(f"picture {picture}: {error}") from None
    scene, more = prediction.scene, dict[str, float]()
    if scene is None:
        return Score(picture, **shape)
    if item.pose is not None:
        pitch, yaw, _ = angle_offsets(scene.pose, item.pose)[0].tolist()
        more.update(pitch_offset=pitch, yaw_offset=yaw)
    if item.lighting is not None:
        more["light"] = float(light_error(scene.lighting, scene.pose, item.lighting))
    if item.albedo is not None:
        albedo, hit = input_albedo(prediction, item.size)
        both = chosen & (hit > 0)
        if bool(both.any()):
            more["albedo"] = 100 * float(albedo_error(albedo, display(item.albedo), both))
    return Score(picture, **shape, **more, **_picture_scores(prediction, item, paint))


def _shape_scores(prediction: Prediction, item: Truth) -> tuple[dict[str, float], Tensor]:
    size = item.size
    depth, hit = resample(prediction.depth, size), resample_hits(prediction.hit, size)
    chosen, camera = scored_mask(item.mask, hit), Camera(size)
    scores = {
        "side": 100 * float(side(depth, item.depth, chosen)),
        "mad": float(mad(depth, item.depth, chosen, camera)),
        "mad_paper": float(mad(depth, item.depth, chosen, camera, compat=True)),
        "depth_mae": 100 * float(depth_mae(depth, item.depth, chosen)),
    }
    if item.normal is not None:
        scores["mad_mesh"] = float(mad_mesh(depth, item.normal, chosen, camera))
    return scores, chosen


def _picture_scores(prediction: Prediction, item: Truth, paint: Painter | None) -> dict[str, float]:
    if item.image is None or item.lighting is None or not item.extra:
        return {}
    series = {}
    if item.pose is not None:
        series["view"] = new_views(prediction, item, paint)
    if item.albedo is not None and item.normal is not None:
        series["relight"] = relighting(prediction, item, paint)
    scores: dict[str, float] = {}
    for name, (plain, painted) in series.items():
        scores |= {f"{name}_psnr": plain.psnr, f"{name}_ssim": plain.ssim, f"{name}_coverage": plain.coverage or 0.0}
        if painted is not None:
            scores |= {f"gan_{name}_psnr": painted.psnr, f"gan_{name}_ssim": painted.ssim}
    return scores


def score_depth(picture: int, depth: Tensor, hit: Tensor, truth: Truth) -> Score:
    """Score the shape alone: an input-view depth (1, 1, S, S) with its hits (1, 1, S, S) against picture ``picture``.

    Raises:
        InputError: see `score_result`.
    """
    return score_result(Prediction(depth, hit), truth.item(picture), picture=picture)


def score_results(
    results: Path,
    truth: Truth,
    *,
    painter_of: Callable[[StoredResult], Painter | None] = lambda stored: None,
    on_scored: Callable[[Score, StoredResult], None] = lambda score, stored: None,
) -> list[Score]:
    """Scores of all result folders below ``results`` (or of itself), by picture.

    Args:
        results: see `match_results`.
        truth: of all their pictures.
        painter_of: the GAN of a result, where its renderings are to be scored too.
        on_scored: told every score as it is known.

    Raises:
        InputError: see `match_results`, `read_result` and `score_result`.
    """
    scores = []
    for picture, folder in sorted(match_results(results, truth).items()):
        stored = read_result(folder)
        try:
            check_sizes(stored.prediction.depth.shape[-1], truth.size)
        except ValueError as error:
            raise InputError(f"{folder / 'depth.npy'}: {error}") from None
        score = score_result(stored.prediction, truth.item(picture), picture=picture, paint=painter_of(stored))
        on_scored(score, stored)
        scores.append(score)
    return scores


def pose_errors(scores: Sequence[Score]) -> dict[str, tuple[float, list[float]]]:
    """Pitch and yaw: the set's mean offset, and every picture's error without it, in degrees, in the scores' order.

    Empty where fewer than two scores have a pose: one picture's error is then its own mean.
    """
    errors = {}
    for name in ("pitch", "yaw"):
        offsets = [value for score in scores if (value := getattr(score, f"{name}_offset")) is not None]
        if len(offsets) > 1:
            values = torch.tensor(offsets, dtype=torch.float64)
            errors[name] = (float(mean_angle(values)), centred(values).tolist())
    return errors


def summary(scores: Sequence[Score]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation (population) over pictures of every measure that is known, and of how many pictures.

    Pitch and yaw are measures of the set: see `pose_errors`; ``offset`` is the mean that was removed.
    """
    poses = pose_errors(scores)
    table: dict[str, dict[str, float]] = {}
    for measure in MEASURES:
        if measure.name in poses:
            offset, values = poses[measure.name]
            table[measure.name] = {**_spread(values), "offset": offset}
        elif measure.name not in ("pitch", "yaw"):
            values = [value for score in scores if (value := getattr(score, measure.name)) is not None]
            if values:
                table[measure.name] = _spread(values)
    return table


def as_row(score: Score) -> dict[str, float]:
    """A score as JSON values, without what is not known."""
    return {name: value for name, value in dataclasses.asdict(score).items() if value is not None}


def left_out(scores: Sequence[Score], truth: Truth, *, gan: bool = False) -> dict[str, str]:
    """Measures that are missing for some pictures, each with the reason in words."""
    known: Mapping[str, tuple[tuple[bool, str], ...]] = {
        "mad_mesh": ((truth.normal is not None, "normals"),),
        "pose": ((truth.pose is not None, "poses"),),
        "light": ((truth.lighting is not None, "lights"),),
        "albedo": ((truth.albedo is not None, "albedo"),),
        "view": (
            (truth.image is not None, "pictures"),
            (truth.lighting is not None, "lights"),
            (truth.pose is not None, "poses"),
            (truth.extra is not None, "further views"),
        ),
        "relight": (
            (truth.image is not None, "pictures"),
            (truth.lighting is not None, "lights"),
            (truth.albedo is not None and truth.normal is not None, "albedo and normals"),
            (truth.extra is not None, "further lights"),
        ),
    }
    field = {"pose": "yaw_offset", "view": "view_psnr", "relight": "relight_psnr"}
    reasons = {}
    for name, needs in known.items():
        without = sum(getattr(score, field.get(name, name)) is None for score in scores)
        lacking = [what for there, what in needs if not there]
        if lacking:
            reasons[name] = f"the truth has no {' and no '.join(lacking)}"
        elif without:
            reasons[name] = f"{without} of {len(scores)} results have no scene"
        elif name == "pose" and len(scores) < 2:
            reasons[name] = "the mean offset of one picture is its own"
    unpainted = sum(score.view_psnr is not None and score.gan_view_psnr is None for score in scores)
    if unpainted:
        reasons["gan"] = f"{unpainted} of {len(scores)} results have no encoder" if gan else "no GAN was asked for"
    return reasons


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": statistics.fmean(values), "std": statistics.pstdev(values), "pictures": len(values)}
