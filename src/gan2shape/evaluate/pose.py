"""Measures of viewpoint and light."""

from __future__ import annotations

import torch
from torch import Tensor

from gan2shape.evaluate.metrics import angle_deg
from gan2shape.render import Lighting, Pose


def angle_offsets(predicted: Pose, true: Pose) -> Tensor:
    """Predicted minus true pitch, yaw and roll (B, 3) in degrees, each in [-180, 180)."""
    return wrapped(torch.rad2deg(predicted.euler().double() - true.euler().double()))


def wrapped(degrees: Tensor) -> Tensor:
    """Angles in degrees brought to [-180, 180)."""
    return (degrees + 180) % 360 - 180


def mean_angle(degrees: Tensor) -> Tensor:
    """Circular mean, in degrees, of angles (N, ...) along the first dimension: that of the sum of unit vectors."""
    radians = torch.deg2rad(degrees.double())
    return torch.rad2deg(torch.atan2(radians.sin().sum(0), radians.cos().sum(0)))


def centred(offsets: Tensor) -> Tensor:
    """What is left of angle offsets (N, ...) in degrees when the set's mean offset is removed: absolute, [0, 180].

    A method is free to call any pose of its canonical object frontal, but it must do so for the whole set alike.
    """
    return wrapped(offsets.double() - mean_angle(offsets)).abs()


def light_error(predicted: Lighting, pose: Pose, true: Lighting) -> Tensor:
    """Angle in degrees (B,) between the predicted light and the true one.

    Args:
        predicted: light attached to the canonical object, as a `Scene` has it.
        pose: the predicted motion from the canonical frame to the view, which turns that light too.
        true: light in camera axes.
    """
    return angle_deg(in_camera_axes(predicted, pose).direction, true.direction).squeeze(1)


def in_camera_axes(lighting: Lighting, pose: Pose) -> Lighting:
    """A canonical object's light as a camera sees it after the motion ``pose``; batches of one go with any batch."""
    return _turned(lighting, pose.rotation)


def in_canonical_axes(lighting: Lighting, pose: Pose) -> Lighting:
    """A light in camera axes, attached to the canonical object that ``pose`` moves to the view."""
    return _turned(lighting, pose.rotation.transpose(1, 2))


def _turned(lighting: Lighting, rotation: Tensor) -> Lighting:
    direction = (rotation @ lighting.direction.unsqueeze(-1)).squeeze(-1)
    batch = direction.shape[0]
    return Lighting(lighting.ambient.expand(batch, 1), lighting.diffuse.expand(batch, 1), direction)
