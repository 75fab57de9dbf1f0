"""A small truth whose every part is known because this renderer made it, and the prediction that is exactly right."""

from __future__ import annotations

import torch
from torch import Tensor

from gan2shape.evaluate.pose import in_canonical_axes
from gan2shape.evaluate.results import Prediction
from gan2shape.evaluate.truth import Truth, Views
from gan2shape.evaluate.views import GAMMA
from gan2shape.render import Camera, Lighting, Pose, Scene, normals_from_depth, reproject, shading

SIZE = 32
CAMERA = Camera(SIZE)


def bump() -> Tensor:
    """Canonical depth (1, 1, S, S): a hill before a plane, nearer on one side."""
    v, u = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    return (1.03 - 0.08 * torch.exp(-2.5 * (u.square() + v.square())) + 0.005 * u)[None, None]


def linear_albedo() -> Tensor:
    """(1, 3, S, S) in [0.2, 0.9], smooth and coloured."""
    v, u = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    return torch.stack((0.6 + 0.3 * u, 0.5 - 0.2 * v, 0.45 + 0.25 * torch.sin(3 * u * v)))[None]


def lights(*rows: tuple[float, float, float, float, float]) -> Lighting:
    """Ambient, diffuse and direction of each light."""
    values = torch.tensor(rows)
    return Lighting(values[:, :1], values[:, 1:2], torch.nn.functional.normalize(values[:, 2:], dim=1))


def poses(*rows: tuple[float, ...]) -> Pose:
    """Pitch, yaw, roll in degrees and the shift of each pose."""
    values = torch.tensor(rows)
    return Pose.from_euler(torch.deg2rad(values[:, :3]), values[:, 3:])


def pictures(pose: Pose, lighting: Lighting) -> tuple[Tensor, Tensor, Tensor]:
    """Display pictures (V, 3, S, S) in [0, 1] of the hill under lights in camera axes, linear albedo, view depth.

    The light is computed before the motion: on canonical normals, with the light turned back.
    """
    depth = bump()
    canonical = in_canonical_axes(lighting, pose)
    lit = (linear_albedo() * shading(normals_from_depth(depth, CAMERA), canonical)).clamp(0, 1).pow(1 / GAMMA)
    seen = reproject(lit, depth, pose, CAMERA)
    return seen.image, reproject(linear_albedo(), depth, pose, CAMERA).image, seen.depth


def round_mask(count: int) -> Tensor:
    """(V, 1, S, S): the middle, which all views show."""
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return (torch.hypot(rows - 15.5, columns - 15.5) < 9).float()[None, None].expand(count, -1, -1, -1)


POSE = (4.0, -12.0, 2.0, 0.001, -0.002, 0.0)
LIGHT = (0.35, 0.5, 0.5, -0.2, 1.0)
EXTRA_POSES = ((-8.0, 20.0, -3.0, 0.002, 0.001, 0.0), (6.0, -25.0, 1.0, -0.003, 0.0, 0.0))
EXTRA_LIGHTS = ((0.3, 0.6, -0.6, 0.1, 1.0), (0.5, 0.4, 0.2, 0.6, 1.0))


def a_head(*, origin: Pose | None = None) -> Truth:
    """One picture with everything; ``origin`` turns the frame from which the truth counts its poses."""
    pose, lighting = poses(POSE), lights(LIGHT)
    image, albedo, depth = pictures(pose, lighting)
    extra_pose, extra_light = poses(*EXTRA_POSES), lights(*EXTRA_LIGHTS)
    views = Views(pictures(extra_pose, extra_light)[0] * 2 - 1, round_mask(2), extra_pose, extra_light)
    if origin is not None:
        pose = pose @ origin
        views = Views(views.image, views.mask, extra_pose @ origin, views.lighting)
    return Truth(
        depth=depth,
        mask=round_mask(1),
        normal=normals_from_depth(depth, CAMERA),
        albedo=albedo,
        image=image * 2 - 1,
        pose=pose,
        lighting=lighting,
        extra=(views,),
    )


def the_answer(*, brightness: float = 1.0, albedo: Tensor | None = None, pose: Pose | None = None) -> Prediction:
    """The hill itself, its albedo as display values times ``brightness``."""
    values = linear_albedo().pow(1 / GAMMA) * brightness if albedo is None else albedo
    pose = poses(POSE) if pose is None else pose
    scene = Scene(bump(), values * 2 - 1, pose, in_canonical_axes(lights(LIGHT), pose))
    return Prediction.of_scene(scene, CAMERA)
