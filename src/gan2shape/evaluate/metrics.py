"""Measures of a reconstructed shape and albedo: pure functions on tensors.

SIDE and MAD follow Unsup3D's protocol (Wu et al. 2020, section 4.1). Depths are input-view depths in scene units, both
at the same size, with no per-image rescaling. What counts is the product of the true foreground and the predicted hits,
each eroded by one pixel; everything else is selected out, never multiplied by zero.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.render import Camera, normals_from_depth


def erode(mask: Tensor) -> Tensor:
    """Pixels (B, 1, H, W) whose whole 3×3 neighbourhood is in ``mask``; the picture's outermost ring never is."""
    return (F.avg_pool2d(mask.float(), 3, stride=1, padding=1) > 0.99).float()


def scored_mask(true_mask: Tensor, hit: Tensor) -> Tensor:
    """The pixels (B, 1, H, W) that are scored, as booleans: eroded foreground times eroded hits.

    Raises:
        ValueError: a picture without a single such pixel.
    """
    mask = (erode(true_mask) * erode(hit)) > 0
    empty = [index for index, pixels in enumerate(mask.flatten(1).any(1).tolist()) if not pixels]
    if empty:
        raise ValueError(f"prediction and truth share no foreground in picture {empty[0]}")
    return mask


def side(predicted: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """Scale-invariant depth error: standard deviation of log predicted − log true depth over the mask.

    Args:
        predicted, true: depth (B, 1, H, W), scene units, positive inside the mask.
        mask: booleans (B, 1, H, W), see `scored_mask`.

    Returns:
        (B,), not yet multiplied by the 100 that tables use.
    """
    return torch.stack(
        [
            (p[m].double().log() - t[m].double().log()).std(correction=0)
            for p, t, m in zip(predicted, true, mask, strict=True)
        ]
    ).to(predicted.dtype)


def log_depth_error(predicted: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """What SIDE is the spread of: log predicted − log true depth minus its mean, (B, 1, H, W), NaN outside the mask.

    Positive where the prediction is too far away.
    """
    error = torch.full_like(predicted, torch.nan)
    for one, p, t, m in zip(error, predicted, true, mask, strict=True):
        difference = p[m].double().log() - t[m].double().log()
        one[m] = (difference - difference.mean()).to(error.dtype)
    return error


def depth_mae(predicted: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference (B,) of two depths (B, 1, H, W) over the mask, scene units, nothing rescaled."""
    return _masked_mean((predicted.double() - true.double()).abs(), mask).to(predicted.dtype)


def mad(predicted: Tensor, true: Tensor, mask: Tensor, camera: Camera, *, compat: bool = False) -> Tensor:
    """Mean angle deviation in degrees (B,) between the normals of two depths (B, 1, H, W) over the mask.

    With ``compat`` the normals are a little too short, as in published numbers: a perfect result then scores 4–6°.
    Depths outside the mask may be anything finite; a masked pixel's neighbours are hit because of the erosion.
    """
    a, b = (normals_from_depth(depth, camera, compat=compat) for depth in (predicted, true))
    if compat:
        degrees = torch.rad2deg(torch.acos((a * b).sum(1, keepdim=True).double().clamp(-1, 1)))
    else:
        degrees = angle_deg(a, b)
    return _masked_mean(degrees, mask).to(predicted.dtype)


def mad_mesh(predicted: Tensor, true_normals: Tensor, mask: Tensor, camera: Camera) -> Tensor:
    """Mean angle in degrees (B,) between the normals of a depth (B, 1, H, W) and given normals (B, 3, H, W).

    The given normals are those of the mesh that made the picture: smoother than what a depth map of S pixels can hold,
    so that even the true depth does not score zero. Their length does not count.
    """
    return _masked_mean(angle_deg(normals_from_depth(predicted, camera), true_normals), mask).to(predicted.dtype)


def angle_deg(a: Tensor, b: Tensor) -> Tensor:
    """Angle in degrees between vectors of any length along dimension 1, which is kept: (B, 3, …) to (B, 1, …), float64.

    The arc tangent keeps small angles that the arc cosine of a rounded product would lose.
    """
    a, b = a.double(), b.double()
    cross = torch.linalg.cross(a, b, dim=1).norm(dim=1, keepdim=True)
    return torch.rad2deg(torch.atan2(cross, (a * b).sum(1, keepdim=True)))


def albedo_error(predicted: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """Root mean square difference (B,) of two albedos over the mask, after one scale per channel (least squares).

    How bright the light is and how bright the surface cannot be told apart in one picture, hence the scale.

    Args:
        predicted, true: (B, 3, H, W) in display values, [0, 1] (see `gan2shape.evaluate.views.GAMMA`).
        mask: booleans (B, 1, H, W).

    Returns:
        (B,) in display values, not yet multiplied by the 100 that tables use.
    """
    errors = []
    for p, t, m in zip(predicted, true, mask, strict=True):
        a, b = p[:, m[0]].double(), t[:, m[0]].double()  # (3, P)
        scale = (a * b).sum(1, keepdim=True) / (a * a).sum(1, keepdim=True).clamp(min=1e-12)
        errors.append((scale * a - b).square().mean().sqrt())
    return torch.stack(errors).to(predicted.dtype)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return torch.stack([v[m].mean() for v, m in zip(values, mask, strict=True)])
