"""Warm-up: viewpoint and light networks learn the known poses and lights, and nothing else moves."""

from __future__ import annotations

import math

import torch

from gan2shape.networks import FactorNetworks
from gan2shape.priors import LightingPrior
from gan2shape.reconstruct.optimize import Adam, Record
from gan2shape.reconstruct.warmup import fit_pose_and_light
from tests.reconstruct.small import bumpy_scene, known_target, moved, small_networks, true_renders, weights_of


def run(nets: FactorNetworks, steps: int, *, rate: float = 1e-3, records: list[Record] | None = None) -> None:
    fit_pose_and_light(
        nets,
        true_renders(bumpy_scene(), 32),
        steps=steps,
        batch_size=16,
        adam=Adam(rate),
        rng=torch.Generator().manual_seed(3),
        on_iteration=lambda iteration, record: None if records is None else records.append(record),
    )


def test_only_viewpoint_and_light_networks_move() -> None:
    nets = small_networks()
    before = weights_of(nets)
    run(nets, 2)
    assert moved(nets, before) == {"view_net", "light_net"}


def test_the_yaw_of_true_pictures_is_learned() -> None:
    nets, samples = small_networks(lighting_mean=LightingPrior().mean_units), true_renders(bumpy_scene(), 32)
    run(nets, 250)
    yaw = nets.pose(samples.images).euler().detach()[:, 1]
    true = samples.pose.euler()[:, 1]
    assert float(torch.corrcoef(torch.stack([yaw, true]))[0, 1]) > 0.9
    assert math.degrees(float((yaw - true).abs().mean())) < 8, "yaws have a standard deviation of 20 degrees"


def test_the_loss_is_l1_in_network_units() -> None:
    pose_mean, light_mean = [0.1, -0.2, 0.05, 0.3, 0.0, 0.2], [-0.1, 0.2, 0.3, 0.25]
    nets, samples = small_networks(pose_mean=pose_mean, lighting_mean=light_mean), true_renders(bumpy_scene(), 32)
    records: list[Record] = []
    chosen = torch.randint(32, (16,), generator=torch.Generator().manual_seed(3)).tolist()
    views = lights = 0.0
    for index in chosen:
        image = samples.images[index : index + 1]
        unit = math.radians(60)
        angles = samples.pose.euler()[index].double() / unit
        shift = samples.pose.translation[index, :2].double() / 0.1
        wanted = torch.cat([angles, shift, torch.zeros(1)])  # z cannot move: its range is 0
        views += float((nets.view_net(image)[0].detach() + torch.tensor(pose_mean) - wanted).abs().mean()) / 16
        ambient, diffuse = samples.lighting.ambient[index, 0], samples.lighting.diffuse[index, 0]
        x, y, z = samples.lighting.direction[index]
        light = torch.stack([2 * ambient - 1, 2 * diffuse - 1, x / z, y / z])
        lights += float((nets.light_net(image)[0].detach() + torch.tensor(light_mean) - light).abs().mean()) / 16
    run(nets, 1, records=records)
    assert abs(records[0]["pose"] - views) < 1e-5
    assert abs(records[0]["lighting"] - lights) < 1e-5
    assert abs(records[0]["total"] - views - lights) < 1e-5


def test_a_target_is_held_in_place_and_has_its_share_of_the_mean() -> None:
    scene, samples = bumpy_scene(), true_renders(bumpy_scene(), 32)
    target = known_target(scene)
    drift = []
    for anchor in (None, target):
        nets, records = small_networks(lighting_mean=LightingPrior().mean_units), list[Record]()
        before = nets.pose(target.image).euler().detach()
        fit_pose_and_light(
            nets,
            samples,
            steps=60,
            batch_size=8,
            adam=Adam(1e-3),
            rng=torch.Generator().manual_seed(3),
            on_iteration=lambda iteration, record, kept=records: kept.append(record),
            target=anchor,
        )
        drift.append(float(torch.rad2deg(nets.pose(target.image).euler().detach() - before).abs().max()))
        first = records[0]["pose"]
        if anchor is None:
            alone = first
    assert abs(first - alone * 8 / 9) < 1e-5, "the target is exactly where it was, so it adds nothing but its count"
    assert drift[1] < 1.5
    assert drift[1] < drift[0]


def test_the_same_seed_ends_the_same_whatever_the_global_state() -> None:
    results = []
    for noise in range(2):
        nets = small_networks()
        torch.manual_seed(1000 + noise)
        run(nets, 3)
        results.append(nets.view_net(torch.ones(1, 3, 32, 32)))
    assert torch.equal(*results)
