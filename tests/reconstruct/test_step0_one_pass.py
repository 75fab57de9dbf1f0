"""Step 0 from one pass: what is told, its mirror image, and networks that come to tell it too."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.networks import FactorNetworks, NetworkConfig
from gan2shape.reconstruct import Reconstructor
from gan2shape.reconstruct.optimize import Adam, Record
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.reconstruct.reconstructor import reconstructor_for
from gan2shape.reconstruct.step0_one_pass import Told, fit_one_pass, told_by
from gan2shape.render import DepthRange, Scene, render
from gan2shape.render.units import lighting_from_units, lighting_to_units, pose_from_units, pose_to_units
from tests.reconstruct.bundled import SIDE, bundled, bundled_start
from tests.reconstruct.small import moved, weights_of

NETWORKS = NetworkConfig(width_multiplier=0.125, vector_base_width=8, code_size=16, offset_base_width=4)


def pictures(count: int = 6) -> Tensor:
    """Pictures that the bundled generator makes."""
    latents = bundled().sample_latents(count, rng=torch.Generator().manual_seed(0), truncation=0.7)
    with torch.no_grad():
        return bundled().generator.synthesize(latents).clamp(-1, 1)


def small_nets() -> FactorNetworks:
    torch.manual_seed(0)
    return FactorNetworks(SIDE, DepthRange(border_columns=0), config=NETWORKS)


def test_told_is_what_one_pass_says() -> None:
    image, nets = pictures(3), small_nets()
    told, scene = told_by(bundled_start(), image, nets), bundled_start()(image)
    torch.testing.assert_close(told.depth, scene.depth)
    torch.testing.assert_close(told.albedo, scene.albedo.clamp(-1, 1))
    torch.testing.assert_close(pose_from_units(told.pose, nets.ranges).rotation, scene.pose.rotation, atol=1e-4, rtol=0)
    torch.testing.assert_close(told.lighting, lighting_to_units(scene.lighting))
    assert 0.3 < float(told.seen.mean()) < 1


def test_a_mirrored_picture_shows_the_mirrored_scene() -> None:
    """As one pass of the mirror image itself says, nearly: poses are laid upon the template from either side."""
    image, nets = pictures(2), small_nets()
    told = told_by(bundled_start(), image, nets)
    other = told_by(bundled_start(), image.flip(-1), nets)
    flipped = told.mirrored(torch.tensor([True, False]))
    torch.testing.assert_close(flipped.image[0], other.image[0])
    torch.testing.assert_close(flipped.depth[0], other.depth[0], atol=2e-3, rtol=0)
    torch.testing.assert_close(flipped.pose[0], other.pose[0], atol=0.05, rtol=0)
    for name in ("image", "depth", "albedo", "seen", "pose", "lighting"):
        assert torch.equal(getattr(flipped, name)[1], getattr(told, name)[1])


def test_what_is_mirrored_renders_to_the_mirrored_picture() -> None:
    nets, camera = small_nets(), bundled_start().camera
    told = told_by(bundled_start(), pictures(2), nets)

    def rendered(told: Told) -> Tensor:
        pose, lighting = pose_from_units(told.pose, nets.ranges), lighting_from_units(told.lighting)
        return render(Scene(told.depth, told.albedo, pose, lighting), camera).image

    mirrored = rendered(told.mirrored(torch.ones(2, dtype=torch.bool)))
    assert float((mirrored - rendered(told).flip(-1)).abs().mean()) < 1e-3


def test_all_networks_move_and_come_nearer() -> None:
    nets, image, records = small_nets(), pictures(), list[Record]()
    before = weights_of(nets)
    fit_one_pass(
        nets,
        bundled_start(),
        lambda: image,
        steps=30,
        batch_size=4,
        adam=Adam(2e-3),
        rng=torch.Generator().manual_seed(0),
        on_iteration=lambda iteration, record: records.append(record),
    )
    assert moved(nets, before) == {"depth_net", "albedo_net", "view_net", "light_net"}
    for name in ("depth", "slopes", "albedo", "total"):
        assert sum(r[name] for r in records[-3:]) < 0.9 * sum(r[name] for r in records[:3]), name


def test_networks_of_the_same_size_begin_as_those_of_one_pass() -> None:
    start, image = bundled_start(), pictures(2)
    width = start.networks.view_net.network[0].out_channels
    nets = FactorNetworks(SIDE, config=replace(NETWORKS, vector_base_width=width))
    before = weights_of(nets)
    options = {"batch_size": 1, "adam": Adam(1e-3), "rng": torch.Generator(), "on_iteration": lambda i, record: None}
    fit_one_pass(nets, start, lambda: image, steps=0, **options)  # type: ignore[arg-type]
    assert moved(nets, before) == {"view_net"}
    assert torch.equal(nets.view_net(image), start.networks.view_net(image))


def test_colours_count_where_a_picture_or_its_mirror_image_shows_them() -> None:
    from gan2shape.reconstruct.step0_one_pass import _colour_error

    seen = torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
    albedo = torch.tensor([0.5, 0.1, 0.2, 0.3]).expand(1, 3, 1, 4)
    none = torch.zeros(1, 6)
    told = Told(albedo, albedo[:, :1], albedo, seen, none, none[:, :4])
    guess = torch.tensor([0.7, 9.0, 9.0, 0.1]).expand(1, 3, 1, 4)
    # The first place is off by 0.2; the last is hidden, and the first says 0.5 of it, with half the weight.
    assert float(_colour_error(guess, told)) == pytest.approx((0.2 + 0.5 * 0.4) / 4)


def test_the_start_belongs_to_the_preset_and_to_its_size() -> None:
    config = replace(PRESETS["pretrain-one-pass"], networks=NETWORKS)
    with pytest.raises(InputError, match="where, and only where, the start is one-pass"):
        Reconstructor(bundled(), config)
    with pytest.raises(InputError, match="where, and only where, the start is one-pass"):
        Reconstructor(bundled(), PRESETS["ellipsoid"], start=bundled_start())
    larger = replace(config, geometry=replace(config.geometry, working_size_px=128))
    with pytest.raises(InputError, match=r"pictures of 128 px .* got some for 64"):
        Reconstructor(bundled(), larger, start=bundled_start())
    for changed in ({"pivot_depth": 1.0}, {"border_columns": 2}, {"fov_deg": 20.0}):
        other = replace(config, geometry=replace(config.geometry, **changed))  # type: ignore[arg-type]
        with pytest.raises(InputError, match="have its camera and no border"):
            Reconstructor(bundled(), other, start=bundled_start())
    with pytest.raises(InputError, match="the start one-pass is for gan2shape pretrain"):
        reconstructor_for(bundled(), config)


def test_units_are_the_networks_own() -> None:
    nets = small_nets()
    told = told_by(bundled_start(), pictures(1), nets)
    torch.testing.assert_close(pose_to_units(pose_from_units(told.pose, nets.ranges), nets.ranges), told.pose)
