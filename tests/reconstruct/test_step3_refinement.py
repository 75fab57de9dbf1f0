"""Step 3: what moves, in which order samples come, and whether true renderings of a known object lead to its shape."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from gan2shape.evaluate import mad, scored_mask, side
from gan2shape.networks import FactorNetworks, NetworkConfig
from gan2shape.priors import EllipsoidPrior, LightingPrior
from gan2shape.reconstruct.config import Objective
from gan2shape.reconstruct.optimize import Adam, Record
from gan2shape.reconstruct.step0_prior import fit_shape_prior
from gan2shape.reconstruct.step1_albedo import fit_albedo
from gan2shape.reconstruct.step2_projection import ProjectedSamples
from gan2shape.reconstruct.step3_refinement import refine
from gan2shape.reconstruct.target import Target
from gan2shape.reconstruct.warmup import fit_pose_and_light
from gan2shape.render import DepthRange, Lighting, Pose, Scene, mirror, render
from tests.reconstruct.small import (
    CAMERA,
    SIZE,
    bumpy_scene,
    grey_levels,
    known_target,
    moved,
    small_networks,
    true_renders,
    weights_of,
)

EXPLAINING: dict[str, Any] = {
    "render": partial(render, camera=CAMERA),
    "features": grey_levels,
    "weights": Objective(),
}


def run(
    nets: FactorNetworks,
    steps: int,
    samples: ProjectedSamples | None = None,
    *,
    batch_size: int = 2,
    mirrored: bool = False,
    records: list[Record] | None = None,
    **changed: Any,
) -> Scene:
    return refine(
        nets,
        known_target(bumpy_scene()),
        samples or true_renders(bumpy_scene(), 5),
        camera=CAMERA,
        steps=steps,
        batch_size=batch_size,
        adam=Adam(1e-3),
        mirrored=mirrored,
        rng=torch.Generator().manual_seed(1),
        on_iteration=lambda iteration, record: None if records is None else records.append(record),
        **{**EXPLAINING, **changed},
    )


@pytest.mark.parametrize("mirrored", [False, True])
def test_all_four_factor_networks_move(mirrored: bool) -> None:
    nets = small_networks()
    before = weights_of(nets)
    run(nets, 2, mirrored=mirrored)
    assert moved(nets, before) == {"depth_net", "albedo_net", "view_net", "light_net"}


def test_the_means_that_networks_are_trained_around_stay() -> None:
    nets = small_networks(pose_mean=[0.1] * 6, lighting_mean=[0.2] * 4)
    run(nets, 2)
    assert nets.pose_mean.tolist() == pytest.approx([0.1] * 6)
    assert nets.lighting_mean.tolist() == pytest.approx([0.2] * 4)


def test_the_same_seed_ends_the_same_whatever_the_global_state() -> None:
    results = []
    for noise in range(2):
        nets = small_networks()
        torch.manual_seed(1000 + noise)
        results.append(run(nets, 4))
    assert torch.equal(results[0].depth, results[1].depth)
    assert torch.equal(results[0].pose.rotation, results[1].pose.rotation)


def test_viewpoint_and_light_wait_while_they_are_held() -> None:
    nets = small_networks()
    before = weights_of(nets)
    run(nets, 3, hold=3)
    assert moved(nets, before) == {"depth_net", "albedo_net"}
    records: list[Record] = []
    run(nets, 3, hold=1, records=records)
    assert moved(nets, before) == {"depth_net", "albedo_net", "view_net", "light_net"}
    assert len(records) == 3


def test_every_sample_comes_once_before_any_comes_again() -> None:
    samples = true_renders(bumpy_scene(), 6)
    # A pixel in the corner tells the samples apart; the background is grey 0 there.
    images = samples.images.clone()
    images[:, 0, 0, 0] = torch.arange(6) / 10
    marked = ProjectedSamples(images, torch.ones_like(samples.masks), samples.pose, samples.lighting, samples.owner)
    seen: list[int] = []
    nets = small_networks()
    pose = nets.pose

    def watching(image: Tensor) -> Any:
        if image.shape[0] > 1:
            seen.extend(round(value * 10) for value in image[:, 0, 0, 0].tolist())
        return pose(image)

    nets.pose = watching  # type: ignore[method-assign]
    run(nets, 6, marked)
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))
    assert seen[:6] != seen[6:], "the order is drawn anew"


def test_a_batch_larger_than_the_collection_takes_all_of_it() -> None:
    counts: list[int] = []

    def watching(scene: Scene) -> Any:
        counts.append(scene.pose.batch)
        return render(scene, CAMERA)

    run(small_networks(), 2, true_renders(bumpy_scene(), 3), batch_size=16, render=watching)
    assert counts == [1, 3, 1, 3]


def test_the_total_is_target_plus_samples_plus_weighted_roughness() -> None:
    records: list[Record] = []
    run(small_networks(), 2, records=records, weights=Objective(smoothness=0.5))
    for record in records:
        expected = record["target"] + record["samples"] + record["roughness"]
        assert record["total"] == pytest.approx(expected, rel=1e-5)


def test_masked_pixels_of_samples_do_not_count() -> None:
    samples = true_renders(bumpy_scene(), 3)
    masks = samples.masks.clone()
    masks[:, :, :10] = 0
    changed = samples.images.clone()
    changed[:, :, :10] = 0.9
    results = []
    for images in (samples.images, changed):
        records: list[Record] = []
        nets = small_networks()
        nets.pose = lambda image, known=nets.pose: known(torch.zeros_like(image))  # type: ignore[method-assign]
        nets.lighting = lambda image, known=nets.lighting: known(torch.zeros_like(image))  # type: ignore[method-assign]
        run(
            nets,
            1,
            ProjectedSamples(images, masks, samples.pose, samples.lighting, samples.owner),
            batch_size=3,
            records=records,
        )
        results.append(records[0]["samples"])
    assert results[0] == results[1]


def test_samples_are_explained_by_the_depth_of_their_own_picture() -> None:
    """Two different objects: each rendered sample must come with its picture's depth, and pictures without any sample
    are left alone."""
    first, second = bumpy_scene(), mirror(bumpy_scene())
    pictures = torch.cat([known_target(first).image, known_target(second).image, torch.zeros(1, 3, SIZE, SIZE)])
    target = Target(pictures, torch.zeros(3, 1), torch.ones(3, 1, SIZE, SIZE))
    own, others = true_renders(first, 4), true_renders(second, 4)
    samples = ProjectedSamples(
        torch.cat([own.images, others.images]),
        torch.cat([own.masks, others.masks]),
        Pose.cat([own.pose, others.pose]),
        Lighting.cat([own.lighting, others.lighting]),
        torch.tensor([0] * 4 + [1] * 4),
    )
    nets, seen = small_networks(), list[Scene]()

    def watching(scene: Scene) -> Any:
        seen.append(scene.detach())
        return render(scene, CAMERA)

    shared: dict[str, Any] = {"camera": CAMERA, "features": grey_levels, "weights": Objective(), "mirrored": False}
    scenes = refine(
        nets,
        target,
        samples,
        render=watching,
        steps=1,
        batch_size=6,
        together=2,
        adam=Adam(0.0),
        rng=torch.Generator().manual_seed(0),
        on_iteration=lambda iteration, record: None,
        **shared,
    )
    views = seen[1]
    assert views.batch == 6
    for index, picture in enumerate([0, 0, 0, 1, 1, 1]):
        torch.testing.assert_close(views.depth[index], scenes.depth[picture])
    assert scenes.batch == 3


def shape_from_true_pictures(
    *, refinement: int, seed: int, preparation: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """SIDE (times 100) and MAD (degrees) of the ellipsoid, and after refining on renderings of the true object."""
    scene = bumpy_scene()
    target = known_target(scene)
    torch.manual_seed(seed)
    config = NetworkConfig(width_multiplier=0.25, code_size=64)
    nets = FactorNetworks(SIZE, DepthRange(), config=config, lighting_mean=LightingPrior().mean_units)
    rng, adam = torch.Generator().manual_seed(seed), Adam(1e-3)
    common: dict[str, Any] = {"adam": adam, "on_iteration": lambda iteration, record: None}
    fit_shape_prior(nets, target, EllipsoidPrior(), steps=preparation, **common)
    start = score(nets, target, scene)
    samples = true_renders(scene, 64, seed)
    fit_pose_and_light(nets, samples, steps=preparation, batch_size=16, rng=rng, **common)
    fit_albedo(nets, target, steps=30, mirrored=False, **EXPLAINING, **common)
    steps: dict[str, Any] = {"steps": refinement, "batch_size": 6, "mirrored": False, "rng": rng, "camera": CAMERA}
    refine(nets, target, samples, **steps, **EXPLAINING, **common)
    return start, score(nets, target, scene)


@torch.no_grad()
def score(nets: FactorNetworks, target: Target, truth: Scene) -> tuple[float, float]:
    seen, true = render(nets(target.image), CAMERA), render(truth, CAMERA)
    mask = scored_mask(target.mask, seen.mask)
    return 100 * float(side(seen.depth, true.depth, mask)), float(mad(seen.depth, true.depth, mask, CAMERA))


def test_true_pictures_turn_the_ellipsoid_into_the_object() -> None:
    start, end = shape_from_true_pictures(refinement=150, seed=0, preparation=80)
    assert start[0] > 1.05, "the ellipsoid must not be the answer already"
    assert start[1] > 16
    assert end[0] < 0.8
    assert end[1] < 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_more_iterations_come_closer_for_every_seed(seed: int) -> None:
    start, end = shape_from_true_pictures(refinement=400, seed=seed, preparation=150)
    assert start[0] > 1.05
    assert end[0] < 0.3
    assert end[1] < 4
