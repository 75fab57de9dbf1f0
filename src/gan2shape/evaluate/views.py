"""New views and new light: renderings of a reconstruction under known poses and lights, and the truth of relighting.

The truth's pictures are (albedo · shading)^(1/1.6), the method's are albedo · shading in display values, with a
strength of light that nothing fixes. So the reconstruction is lit by the truth's own rule: its albedo, a display value,
times the true light's shading on its own normals to the power 1/1.6, times one gain for the picture. The gain is found
on the input picture under its own true light, never on the new one. This asks every method the same, whatever its own
lighting terms: is the light out of the albedo, and are the normals right.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan2shape.evaluate.metrics import erode
from gan2shape.evaluate.pictures import psnr, ssim
from gan2shape.evaluate.pose import in_canonical_axes
from gan2shape.evaluate.resample import resample, resample_hits
from gan2shape.evaluate.results import Prediction
from gan2shape.evaluate.truth import Truth
from gan2shape.export.views import Painter
from gan2shape.render import Lighting, Pose, Rendering, reproject, shading

GAMMA = 1.6
"""Exponent between linear and display values in the truth's pictures: display = linear^(1 / GAMMA)."""


@dataclass(frozen=True)
class Likeness:
    """How like the true pictures are to the rendered ones, the mean over V of them.

    Attributes:
        psnr: in dB.
        ssim: at most 1.
        coverage: share of the true object's pixels where the reconstruction has a surface; None for painted pictures.
    """

    psnr: float
    ssim: float
    coverage: float | None


def display(linear: Tensor) -> Tensor:
    """Linear values, cut to [0, 1], as display values."""
    return linear.clamp(0, 1).pow(1 / GAMMA)


def turned_pose(predicted: Pose, true: Pose, wanted: Pose) -> Pose:
    """The pose (batch V) under which a reconstruction shows a wanted view.

    The true object moves from its input view to the wanted one by wanted · true⁻¹; the same motion follows the
    predicted pose (batch 1), so that where a method's canonical object looks does not matter.
    """
    return wanted @ true.inverse() @ predicted


def relit_truth(item: Truth, lighting: Lighting) -> Tensor:
    """The input view of one picture's truth under V lights in camera axes: (V, 3, S, S) signed, exact inside the mask.

    Raises ValueError for a truth without albedo or normals.
    """
    if item.albedo is None or item.normal is None:
        raise ValueError("relighting needs the true albedo and normals")
    return display(item.albedo * shading(item.normal, lighting)) * 2 - 1


def lit_texture(prediction: Prediction, lighting: Lighting, gain: Tensor | float = 1.0) -> Tensor:
    """The canonical object under V lights in canonical axes by the truth's rule: (V, 3, S, S) signed, not clamped.

    Raises ValueError for a prediction without a scene.
    """
    scene = prediction.scene
    if scene is None:
        raise ValueError("new light needs a scene")
    brightness = shading(scene.normals(prediction.scene_camera), lighting).clamp(min=0).pow(1 / GAMMA)
    return gain * (scene.albedo / 2 + 0.5) * brightness * 2 - 1


def gain_of(prediction: Prediction, item: Truth) -> Tensor:
    """The factor, a scalar, that best explains the input picture under its true light (least squares in the mask).

    Raises ValueError for a prediction without a scene or a truth without picture and light.
    """
    if prediction.scene is None or item.image is None or item.lighting is None:
        raise ValueError("the gain needs a scene, the picture and its light")
    pose = prediction.scene.pose
    view = _seen(prediction, lit_texture(prediction, in_canonical_axes(item.lighting, pose)), pose)
    size = item.size
    chosen = (erode(item.mask) * resample_hits(view.mask, size) > 0)[0, 0]
    ours, true = (resample(view.image, size) / 2 + 0.5)[0, :, chosen], (item.image / 2 + 0.5)[0, :, chosen]
    return (ours * true).sum() / ours.square().sum().clamp(min=1e-12)


def new_views(prediction: Prediction, item: Truth, paint: Painter | None = None) -> tuple[Likeness, Likeness | None]:
    """The reconstruction turned and lit as the truth's further views: plain, and painted by a GAN where one is given.

    The GAN is told the poses that show the wanted views, and the true lights in the axes of the canonical object.
    Raises ValueError for a prediction without a scene or a truth without pose, light, picture or further views.
    """
    if prediction.scene is None or item.pose is None or not item.extra:
        raise ValueError("new views need a scene, the true pose and further views")
    views = item.extra[0]
    poses = turned_pose(prediction.scene.pose, item.pose, views.pose)
    lights = in_canonical_axes(views.lighting, poses)
    seen = _seen(prediction, lit_texture(prediction, lights, gain_of(prediction, item)), poses)
    return _likeness(seen, views.image, views.mask, poses, lights, paint)


def relighting(prediction: Prediction, item: Truth, paint: Painter | None = None) -> tuple[Likeness, Likeness | None]:
    """The input view under the lights of the truth's further views: plain, and painted by a GAN where one is given.

    The GAN is told the predicted pose, and the true lights in the axes of the canonical object.
    Raises ValueError for a prediction without a scene or a truth without picture, light, albedo, normals or views.
    """
    if prediction.scene is None or not item.extra:
        raise ValueError("relighting needs a scene and further lights")
    wanted, pose = item.extra[0].lighting, prediction.scene.pose
    lights = in_canonical_axes(wanted, pose)
    seen = _seen(prediction, lit_texture(prediction, lights, gain_of(prediction, item)), pose)
    true = relit_truth(item, wanted)
    return _likeness(seen, true, item.mask.expand(len(true), -1, -1, -1), pose, lights, paint)


def input_albedo(prediction: Prediction, size: int) -> tuple[Tensor, Tensor]:
    """The scene's albedo as the input view shows it, (1, 3, size, size) in display values, and where: (1, 1, …).

    Raises ValueError for a prediction without a scene.
    """
    if prediction.scene is None:
        raise ValueError("the albedo needs a scene")
    seen = _seen(prediction, prediction.scene.albedo, prediction.scene.pose)
    return resample(seen.image, size) / 2 + 0.5, resample_hits(seen.mask, size)


def _seen(prediction: Prediction, texture: Tensor, pose: Pose) -> Rendering:
    assert prediction.scene is not None
    camera, limits = prediction.scene_camera, prediction.depth_range
    return reproject(texture, prediction.scene.depth, pose, camera, depth_range=limits)


def _likeness(
    seen: Rendering, true: Tensor, mask: Tensor, poses: Pose, lights: Lighting, paint: Painter | None
) -> tuple[Likeness, Likeness | None]:
    """Scores inside the true mask, eroded by a pixel; where nothing was hit the plain picture is mid-grey."""
    size = true.shape[-1]
    crude = seen.image.clamp(-1, 1)
    chosen = erode(mask) > 0
    some = chosen.flatten(1).any(1)
    if not bool(some.any()):
        raise ValueError("no further view with an object in it")
    chosen, true = chosen[some], (true[some] / 2 + 0.5)
    plain = resample(torch.where(seen.mask > 0, crude, 0.0), size)[some] / 2 + 0.5
    hit = resample_hits(seen.mask, size).expand(len(mask), -1, -1, -1)[some]
    share = torch.stack([h[m].mean() for h, m in zip(hit, chosen, strict=True)]).mean()
    plain_likeness = Likeness(
        float(psnr(plain, true, chosen).mean()), float(ssim(plain, true, chosen).mean()), float(share)
    )
    if paint is None:
        return plain_likeness, None
    painted = (resample(paint(crude, poses, lights).to(true), size)[some] / 2 + 0.5).clamp(0, 1)
    likeness = Likeness(float(psnr(painted, true, chosen).mean()), float(ssim(painted, true, chosen).mean()), None)
    return plain_likeness, likeness
