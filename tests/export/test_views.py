"""New views and lights: their order, their signs, and cameras that another program can use."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from gan2shape.export.surface import cut_surface, render_surface
from gan2shape.export.views import (
    describe_cameras,
    relights,
    relit,
    relit_images,
    rotated_pseudo_images,
    turn_poses,
    turns,
)
from gan2shape.render import Camera, DepthRange, Lighting, Scene, render


def test_nine_yaws_then_five_pitches() -> None:
    wanted = turns()
    assert [turn.yaw_deg for turn in wanted] == pytest.approx([-70, -52.5, -35, -17.5, 0, 17.5, 35, 52.5, 70, *[0] * 5])
    assert [turn.pitch_deg for turn in wanted] == pytest.approx([*[0] * 9, -20, -10, 0, 10, 20])
    assert max(turn.yaw_deg for turn in turns(45)) == 45


def test_twenty_lights_ordered_by_strength_then_y_then_x() -> None:
    wanted = [(light.strength, light.y, light.x) for light in relights()]
    assert len(wanted) == 20
    assert wanted == sorted(wanted)
    assert wanted[0] == (0.3, 0.0, -1.5)
    assert wanted[5] == (0.3, 0.6, -1.5)
    assert wanted[-1] == (0.6, 0.6, 1.5)


def test_the_lights_follow_the_methods_formula(scene: Scene, camera: Camera, depth_range: DepthRange) -> None:
    """A frontal plane has the normal (0, 0, 1), so its shading is a − 0.6 r + (b + r) / |(x, y, 1)|."""
    base = Lighting(torch.tensor([[0.5]]), torch.tensor([[0.2]]), torch.tensor([[0.0, 0.0, 1.0]]))
    lights = relit(base, relights())
    plane = dataclasses.replace(scene, depth=torch.ones_like(scene.depth), albedo=torch.zeros_like(scene.albedo))
    images = relit_images(plane.with_(lighting=base), lights, camera, depth_range)
    assert images.shape == (20, 3, 24, 24)
    for image, light in zip(images, relights(), strict=True):
        shade = 0.5 - 0.6 * light.strength + (0.2 + light.strength) / math.sqrt(light.x**2 + light.y**2 + 1)
        assert image[:, 12, 12].tolist() == pytest.approx([min(0.5 * shade * 2 - 1, 1.0)] * 3, abs=1e-4)


def marked(scene: Scene, row: int, column: int) -> Scene:
    """The scene in black with one white pixel."""
    albedo = torch.full_like(scene.albedo, -1.0)
    albedo[..., row, column] = 1.0
    return dataclasses.replace(scene, albedo=albedo)


def centroid(image: torch.Tensor) -> tuple[float, float]:
    """(row, column) of the brightness above black, (3, H, W)."""
    weight = ((image.mean(0) + 1) / 2).double()
    steps = torch.arange(weight.shape[0], dtype=torch.float64)
    total = weight.sum()
    return ((weight.sum(1) * steps).sum() / total).item(), ((weight.sum(0) * steps).sum() / total).item()


@pytest.mark.parametrize("row, column", [(12, 12), (7, 8), (15, 10)])
def test_cameras_in_the_file_say_where_a_point_is_seen(scene: Scene, camera: Camera, row: int, column: int) -> None:
    """A white point is looked for in every picture where the numbers of cameras.json, used by hand, put it."""
    spotted = marked(scene, row, column)
    everything = torch.ones_like(scene.depth)
    surface = cut_surface(scene.depth, everything, camera, depth_extent=0.2)
    wanted = turns(30, 20)
    poses = turn_poses(wanted, scene.depth)
    plain = render_surface(surface, surface.pick(spotted.albedo)[None], poses, camera, supersample=4, background=-1.0)
    cameras = json.loads(json.dumps(describe_cameras(wanted, poses, camera)))
    assert [view["file"] for view in cameras["views"]] == [f"{index:02d}.png" for index in range(14)]
    pivot = np.asarray(cameras["pivot"])
    z = scene.depth[0, 0, row, column].item()
    point = np.asarray([column - cameras["centre_px"], row - cameras["centre_px"], cameras["focal_px"]])
    point = point / cameras["focal_px"] * z
    for view, picture in zip(cameras["views"], plain, strict=True):
        moved = np.asarray(view["rotation"]) @ (point - pivot) + pivot + np.asarray(view["translation"])
        u, v = moved[:2] / moved[2] * cameras["focal_px"] + cameras["centre_px"]
        assert centroid(picture) == pytest.approx((v, u), abs=0.25)


def test_signs_of_yaw_and_pitch(scene: Scene, camera: Camera, depth_range: DepthRange) -> None:
    """The bump is nearer than the pivot: yaw > 0 takes it left, pitch > 0 down, in both kinds of picture."""
    near = dataclasses.replace(scene, depth=scene.depth - 0.06)
    spotted = marked(near, 7, 8)
    wanted = turns(15, 10)
    images = rotated_pseudo_images(spotted, turn_poses(wanted, scene.depth), camera, depth_range)
    columns = [centroid(image.clamp(min=-1).where(image > -0.5, -1))[1] for image in images[:9]]
    rows = [centroid(image.where(image > -0.5, -1))[0] for image in images[9:]]
    surface = cut_surface(near.depth, torch.ones_like(near.depth), camera, depth_extent=0.2)
    poses = turn_poses(wanted, scene.depth)
    plain = render_surface(surface, surface.pick(spotted.albedo)[None], poses, camera, background=-1.0)
    assert [centroid(image)[1] for image in plain[:9]] == sorted((centroid(i)[1] for i in plain[:9]), reverse=True)
    assert [centroid(image)[0] for image in plain[9:]] == sorted(centroid(i)[0] for i in plain[9:])
    assert columns[3] > columns[4] > columns[5]
    assert rows[1] < rows[2] < rows[3]


def test_the_unturned_pseudo_image_is_the_texture(scene: Scene, camera: Camera, depth_range: DepthRange) -> None:
    images = rotated_pseudo_images(scene, turn_poses(turns(), scene.depth), camera, depth_range)
    assert (images[4] - scene.texture(camera)[0]).abs().max() < 1e-2
    assert (images[4] - render(scene, camera).image[0]).abs().max() < 1e-6
