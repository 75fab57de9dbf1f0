"""Step 1: the albedo, and nothing else, comes to explain the picture."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from gan2shape.reconstruct.config import Objective
from gan2shape.reconstruct.optimize import Adam, Record
from gan2shape.reconstruct.step1_albedo import fit_albedo
from gan2shape.render import Scene, render
from tests.reconstruct.small import (
    CAMERA,
    bumpy_scene,
    grey_levels,
    known_target,
    moved,
    small_networks,
    weights_of,
)


def run(nets: Any, steps: int, *, mirrored: bool = False, records: list[Record] | None = None) -> Scene:
    return fit_albedo(
        nets,
        known_target(bumpy_scene()),
        render=partial(render, camera=CAMERA),
        features=grey_levels,
        weights=Objective(),
        steps=steps,
        adam=Adam(3e-3),
        mirrored=mirrored,
        on_iteration=lambda iteration, record: None if records is None else records.append(record),
    )


def test_only_the_albedo_network_moves() -> None:
    nets = small_networks()
    before = weights_of(nets)
    run(nets, 3)
    assert moved(nets, before) == {"albedo_net"}


def test_the_rendering_comes_to_the_picture() -> None:
    nets, target, records = small_networks(), known_target(bumpy_scene()), list[Record]()
    scene = run(nets, 120, records=records)
    seen = render(scene, CAMERA)
    assert float(((seen.image - target.image) * seen.mask).abs().mean()) < 0.1, "of a range of 2"
    assert records[-1]["total"] < records[0]["total"] / 3


def test_the_scene_is_that_of_the_networks_and_detached() -> None:
    nets, target = small_networks(), known_target(bumpy_scene())
    scene = run(nets, 2)
    expected = nets(target.image)
    for a, b in ((scene.depth, expected.depth), (scene.albedo, expected.albedo)):
        assert torch.equal(a, b)
        assert not a.requires_grad
    assert torch.equal(scene.pose.rotation, expected.pose.rotation)
    assert torch.equal(scene.lighting.direction, expected.lighting.direction)
    assert not scene.pose.rotation.requires_grad


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_same_start_ends_the_same(mirrored: bool) -> None:
    first, second = (run(small_networks(), 3, mirrored=mirrored) for _ in range(2))
    assert torch.equal(first.albedo, second.albedo)


def test_the_mirror_changes_what_is_learned() -> None:
    plain, mirrored = run(small_networks(), 3), run(small_networks(), 3, mirrored=True)
    assert not torch.equal(plain.albedo, mirrored.albedo)
