"""One pass: what is told beside the directions comes before what the networks see."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gan2shape.networks.one_pass import TurnedStart
from gan2shape.networks.turning import with_pose_reading
from gan2shape.render.units import PoseRange, lighting_from_units, pose_from_units, pose_to_units
from tests.reconstruct.known_turns import NOD, SIZE, TURN, known_gan, known_start, yawed
from tests.train.turnable import LATENTS, PITCH_DEG, YAW_DEG

OWN = torch.tensor([[0.7, 0.5, 0.3, -0.5, 0.4, 0.6, -0.2]])
"""Yaw, light, three numbers of the look, pitch, height of the light."""


@pytest.fixture(scope="module")
def start() -> TurnedStart:
    return known_start()


def test_where_nothing_is_told_the_networks_are_asked(start: TurnedStart) -> None:
    image = known_gan().generator.synthesize(OWN)
    with torch.no_grad():
        seen = start.networks(image)
    scene = start(image)
    assert torch.equal(scene.pose.rotation, seen.pose.rotation)
    assert torch.equal(scene.depth, seen.depth)
    assert start.camera == start.networks.camera


def test_a_pose_is_read_off_the_latents_where_a_reading_was_fitted(start: TurnedStart) -> None:
    gan = known_gan()
    latents = torch.randn(400, LATENTS, generator=torch.Generator().manual_seed(0))
    known = pose_to_units(yawed(YAW_DEG * latents[:, TURN], PITCH_DEG * latents[:, NOD]), PoseRange())
    reading = with_pose_reading(start.turning, [(gan.generator.synthesize(latents), known)])
    image = gan.generator.synthesize(OWN)
    scene = TurnedStart(start.networks, reading)(image)
    angles = scene.pose.euler()[0].rad2deg()
    assert float((angles[1] - YAW_DEG * OWN[0, TURN]).abs()) < 3
    assert float((angles[0] - PITCH_DEG * OWN[0, NOD]).abs()) < 3
    with torch.no_grad():
        assert torch.equal(scene.depth, start.networks.depth(image))


def test_a_depth_is_read_off_what_a_mirror_leaves_of_the_latents(start: TurnedStart) -> None:
    shape = torch.zeros(LATENTS + 1, SIZE * SIZE)
    shape[-1], shape[2] = 0.95, 0.01 * torch.linspace(0, 1, SIZE * SIZE)
    telling = TurnedStart(start.networks, replace(start.turning, shape=shape))
    image = known_gan().generator.synthesize(OWN)
    depth = telling(image).depth
    torch.testing.assert_close(depth, telling(image.flip(-1)).depth)
    look = (depth.flatten()[-1] - depth.flatten()[0]) / 0.01
    assert float(look) == pytest.approx(float(OWN[0, 2]), abs=0.25)
    with torch.no_grad():
        assert torch.equal(telling(image).pose.rotation, start.networks(image).pose.rotation)


def test_units_are_those_of_the_scene(start: TurnedStart) -> None:
    image = known_gan().generator.synthesize(OWN)
    scene, (pose, light) = start(image), start.units(image)
    torch.testing.assert_close(pose_from_units(pose, PoseRange()).rotation, scene.pose.rotation)
    torch.testing.assert_close(pose_from_units(pose, PoseRange()).translation, scene.pose.translation)
    told = lighting_from_units(light)
    for name in ("ambient", "diffuse", "direction"):
        torch.testing.assert_close(getattr(told, name), getattr(scene.lighting, name))
