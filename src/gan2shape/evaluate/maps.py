"""Where a prediction is wrong, as pictures: signed log-depth error and angle between normals, with their scales."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gan2shape.evaluate.metrics import angle_deg, log_depth_error, scored_mask
from gan2shape.evaluate.resample import resample, resample_hits
from gan2shape.evaluate.results import Prediction
from gan2shape.evaluate.truth import Truth
from gan2shape.export.sheet import Band, Cell, write_contact_sheet
from gan2shape.render import Camera, normals_from_depth

LOG_DEPTH_LIMIT = 0.05
"""Log-depth error of the strongest colours, 5 in tables (×100)."""
ANGLE_LIMIT_DEG = 60.0
"""Angle of the brightest colour."""
_BLUE_WHITE_RED = ((0.13, 0.25, 0.65), (0.45, 0.65, 0.9), (0.97, 0.97, 0.97), (0.92, 0.55, 0.4), (0.65, 0.07, 0.12))
_DARK_TO_BRIGHT = ((0.03, 0.02, 0.12), (0.4, 0.07, 0.43), (0.8, 0.28, 0.26), (0.98, 0.65, 0.1), (0.99, 1.0, 0.7))
_NOTHING = 0.0
"""Signed grey of pixels that are not scored."""
_ENLARGE = 4


@dataclass(frozen=True, eq=False)
class ErrorMaps:
    """Errors of one picture at the truth's size, NaN where nothing is scored.

    Attributes:
        log_depth: (1, 1, S, S), log predicted − log true depth minus its mean; positive is too far away.
        angle: (1, 1, S, S), between the normals of both depths, degrees.
        normals: (1, 3, S, S) of the predicted depth.
        true_normals: (1, 3, S, S) of the true depth.
    """

    log_depth: Tensor
    angle: Tensor
    normals: Tensor
    true_normals: Tensor


def error_maps(prediction: Prediction, item: Truth) -> ErrorMaps:
    """The errors that SIDE and MAD sum up, pixel by pixel, for the truth of one picture.

    Raises ValueError for no common foreground or sizes that do not fit.
    """
    camera = Camera(item.size)
    depth = resample(prediction.depth, item.size)
    chosen = scored_mask(item.mask, resample_hits(prediction.hit, item.size))
    normals, true = (normals_from_depth(values, camera) for values in (depth, item.depth.clamp(min=1e-3)))
    normals, true = (torch.where(chosen, values, torch.nan) for values in (normals, true))
    return ErrorMaps(
        log_depth_error(depth, item.depth, chosen), angle_deg(normals, true).to(depth.dtype), normals, true
    )


def signed_colours(values: Tensor, limit: float) -> Tensor:
    """Values (1, H, W) as colours (3, H, W), signed: blue at −limit, white at 0, red at limit; NaN is grey."""
    return _colours((values / limit + 1) / 2, _BLUE_WHITE_RED)


def positive_colours(values: Tensor, limit: float) -> Tensor:
    """Values (1, H, W) as colours (3, H, W), signed: dark at 0, bright at limit; NaN is grey."""
    return _colours(values / limit, _DARK_TO_BRIGHT)


def write_error_maps(file: str | Path, prediction: Prediction, item: Truth, title: str) -> None:
    """Write one sheet (PNG): the picture, both normals, both errors, and what their colours mean.

    Raises OutputError, and ValueError as `error_maps`.
    """
    maps = error_maps(prediction, item)
    ramp = torch.linspace(0, 1, item.size, dtype=maps.angle.dtype).expand(1, item.size, item.size)
    cells = [] if item.image is None else [Cell("picture", item.image[0])]
    cells += [
        Cell("true normals", _shown(maps.true_normals[0])),
        Cell("predicted normals", _shown(maps.normals[0])),
        Cell("log-depth error", signed_colours(maps.log_depth[0], LOG_DEPTH_LIMIT)),
        Cell(
            f"-{100 * LOG_DEPTH_LIMIT:g} near ... +{100 * LOG_DEPTH_LIMIT:g} far (x100)",
            signed_colours((2 * ramp - 1) * LOG_DEPTH_LIMIT, LOG_DEPTH_LIMIT),
        ),
        Cell("angle of normals", positive_colours(maps.angle[0], ANGLE_LIMIT_DEG)),
        Cell(f"0° ... {ANGLE_LIMIT_DEG:g}°", positive_colours(ramp * ANGLE_LIMIT_DEG, ANGLE_LIMIT_DEG)),
    ]
    write_contact_sheet(file, [Band(title, [Cell(cell.label, _enlarged(cell.image)) for cell in cells])])


def _colours(share: Tensor, stops: tuple[tuple[float, float, float], ...]) -> Tensor:
    table = share.new_tensor(stops)  # (K, 3)
    place = share[0].nan_to_num(0.0).clamp(0, 1) * (len(stops) - 1)
    below = place.long().clamp(max=len(stops) - 2)
    weight = (place - below).unsqueeze(-1)
    colours = table[below] * (1 - weight) + table[below + 1] * weight  # (H, W, 3)
    return torch.where(share.isnan(), _NOTHING, colours.permute(2, 0, 1) * 2 - 1)


def _shown(normals: Tensor) -> Tensor:
    return torch.where(normals.isnan(), _NOTHING, normals)


def _enlarged(image: Tensor) -> Tensor:
    """Whole blocks of pixels, which the sheet's smooth resize then leaves sharp."""
    return image.repeat_interleave(_ENLARGE, 1).repeat_interleave(_ENLARGE, 2)
