"""Measures of a reconstructed shape: pure functions on tensors (Unsup3D's protocol, Wu et al. 2020, section 4.1).

Depths are input-view depths in scene units, both at the same size, with no per-image rescaling. What counts is the
product of the true foreground and the predicted hits, each eroded by one pixel; everything else is selected out.
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


def mad(predicted: Tensor, true: Tensor, mask: Tensor, camera: Camera, *, compat: bool = False) -> Tensor:
    """Mean angle deviation in degrees (B,) between the normals of two depths (B, 1, H, W) over the mask.

    With ``compat`` the normals are a little too short, as in published numbers: a perfect result then scores 4–6°.
    Depths outside the mask may be anything finite; a masked pixel's neighbours are hit because of the erosion.
    """
    a, b = (normals_from_depth(depth, camera, compat=compat) for depth in (predicted, true))
    if compat:
        angles = torch.acos((a * b).sum(1, keepdim=True).double().clamp(-1, 1))
    else:
        # The arc tangent keeps small angles that the arc cosine of a rounded product would lose.
        cross = torch.linalg.cross(a.double(), b.double(), dim=1).norm(dim=1, keepdim=True)
        angles = torch.atan2(cross, (a.double() * b.double()).sum(1, keepdim=True))
    degrees = torch.rad2deg(angles)
    return torch.stack([d[m].mean() for d, m in zip(degrees, mask, strict=True)]).to(predicted.dtype)
