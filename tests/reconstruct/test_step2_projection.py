"""Step 2: pseudo samples against the renderer and slow look-ups, the projector, and a GAN that is a renderer itself."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan2shape.networks import ResidualEncoder
from gan2shape.priors import PosePrior
from gan2shape.reconstruct.config import Objective
from gan2shape.reconstruct.optimize import Adam, Record
from gan2shape.reconstruct.step2_projection import Projector, fit_encoder, project, render_pseudo
from gan2shape.reconstruct.target import Framing, Target
from gan2shape.render import Camera, DepthRange, Lighting, Pose, Scene, mirror, render
from gan2shape.render.units import pose_to_units
from gan2shape.render.warp import view_depth
from tests.reconstruct.affine import affine_projector, affine_target, sampler, seeded
from tests.reconstruct.small import (
    CAMERA,
    SIZE,
    bumpy_scene,
    disc,
    grey_levels,
    known_target,
    moved,
    renderer_gan,
    weights_of,
)

RANGE = DepthRange()


def test_drawn_poses_and_lights_are_those_of_the_priors() -> None:
    camera = Camera(8)
    scene = bumpy_scene(camera)
    drawn = sampler(camera=camera)(scene, disc(camera.image_size), 1500, rng=seeded())
    degrees = torch.rad2deg(drawn.pose.euler())
    for index, std in enumerate((8, 20, 3)):
        assert abs(float(degrees[:, index].mean())) < 4 * std / math.sqrt(1500)
        assert float(degrees[:, index].std()) == pytest.approx(std, rel=0.08)
    assert float(drawn.pose.translation[:, 2].abs().max()) == 0
    strength = drawn.lighting.diffuse - scene.lighting.diffuse
    assert -0.1 <= float(strength.min()) < -0.09
    assert 0.59 < float(strength.max()) <= 0.6001
    torch.testing.assert_close(drawn.lighting.ambient, scene.lighting.ambient - 0.6 * strength)
    slopes = drawn.lighting.direction[:, :2] / drawn.lighting.direction[:, 2:]
    assert -1.001 <= float(slopes[:, 0].min()) < -0.98
    assert -0.201 <= float(slopes[:, 1].min()) < -0.18
    assert 0.78 < float(slopes[:, 1].max()) <= 0.801
    assert float(slopes[:, 0].mean()) == pytest.approx(0, abs=0.06)
    assert float(slopes[:, 1].mean()) == pytest.approx(0.3, abs=0.03)


def test_pseudo_samples_are_renderings_where_the_shape_is_seen() -> None:
    scene, drawing = bumpy_scene(), sampler()
    drawn = drawing(scene, disc(), 6, rng=seeded())
    seen = render(scene.with_(pose=drawn.pose, lighting=drawn.lighting), CAMERA)
    hit = seen.mask > 0
    torch.testing.assert_close((drawn.images * hit), seen.image * hit)
    assert float(drawn.images.abs().max()) <= 1
    assert not drawn.images.requires_grad


def test_the_scene_s_own_pose_and_light_do_not_enter_the_drawn_views() -> None:
    scene = bumpy_scene()
    turned = scene.with_(pose=Pose.from_euler(torch.tensor([[0.1, 0.4, -0.1]])))
    plain, other = (sampler()(s, disc(), 3, rng=seeded()) for s in (scene, turned))
    assert torch.equal(plain.images, other.images)


def slow_nearest(mask: np.ndarray, scene: Scene, pose: Pose) -> np.ndarray:
    """Canonical mask values of view pixels: unproject, move back, project, round to the next pixel; 0 outside."""
    depth = view_depth(scene.depth, pose, CAMERA)[0, 0].double().numpy()
    rotation, shift = pose.rotation[0].double().numpy(), pose.translation[0].double().numpy()
    centre = (SIZE - 1) / 2
    focal = centre / math.tan(math.radians(5))
    out = np.full((SIZE, SIZE), np.nan)
    for row in range(SIZE):
        for column in range(SIZE):
            z = depth[row, column]
            point = np.array([(column - centre) / focal * z, (row - centre) / focal * z, z])
            x, y, z = rotation.T @ (point - shift - [0, 0, 1]) + [0, 0, 1]
            u, v = x / z * focal + centre, y / z * focal + centre
            if max(abs(u % 1 - 0.5), abs(v % 1 - 0.5)) < 1e-3:
                continue  # between two pixels, where rounding is left to chance
            inside = -0.5 < u < SIZE - 0.5 and -0.5 < v < SIZE - 0.5
            out[row, column] = mask[round(v), round(u)] if inside else 0.0
    return out


@pytest.mark.parametrize("with_object", [False, True])
def test_masks_are_warped_with_the_nearest_pixel(with_object: bool) -> None:
    scene = bumpy_scene()
    drawing = sampler(use_mask=with_object)
    drawn = drawing(scene, disc(), 3, rng=seeded(4))
    canonical = disc()[0, 0].double().numpy() if with_object else np.ones((SIZE, SIZE))
    for index in range(3):
        expected = slow_nearest(canonical, scene, drawn.pose[index])
        known = ~np.isnan(expected)
        assert known.mean() > 0.95
        result = drawn.masks[index, 0].double().numpy()
        # The scene is frontal, so that its object mask is the canonical one up to the sampling's rounding.
        np.testing.assert_allclose(result[known], expected[known], atol=1e-4)
        assert 0 < result.mean() < 1


def test_without_an_object_mask_only_pixels_from_outside_the_frame_are_masked_and_they_are_grey() -> None:
    drawn = sampler(pose=PosePrior(mean=(0, 0.5, 0, 0, 0, 0)))(bumpy_scene(), disc(), 4, rng=seeded())
    outside = drawn.masks == 0
    assert 0.02 < float(outside.float().mean()) < 0.6
    interior = nn.functional.max_pool2d(drawn.masks, 3, stride=1, padding=1) == 0
    assert float((drawn.images * interior).abs().max()) == 0


def test_the_object_mask_is_read_in_the_scene_s_own_view() -> None:
    frontal = bumpy_scene()
    shifted = frontal.with_(pose=Pose(torch.eye(3)[None], torch.tensor([[0.02, 0.0, 0.0]])))
    pose = Pose.identity(1, frontal.depth)
    light: Lighting = frontal.lighting
    before = render_pseudo(frontal, disc(), pose, light, sampler(use_mask=True)).masks
    after = render_pseudo(shifted, disc(), pose, light, sampler(use_mask=True)).masks
    columns = torch.arange(SIZE, dtype=torch.float32)

    def centre(mask: Tensor) -> float:
        return float((mask[0, 0].sum(0) * columns).sum() / mask.sum())

    # The object stands 0.02 to the right of its canonical place, so the mask comes from further right.
    expected = 0.02 * CAMERA.focal_px / float(frontal.depth.mean())
    assert centre(before) - centre(after) == pytest.approx(expected, abs=0.35)


def test_the_same_seed_draws_the_same_whatever_the_global_state() -> None:
    results = []
    for noise in range(2):
        torch.manual_seed(noise)
        results.append(sampler()(bumpy_scene(), disc(), 2, rng=seeded(7)))
    assert torch.equal(results[0].images, results[1].images)
    assert not torch.equal(results[0].images, sampler()(bumpy_scene(), disc(), 2, rng=seeded(8)).images)


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("rows", [None, 3])
def test_the_projector_adds_the_offset_to_every_row_of_the_latent(relative: bool, rows: int | None) -> None:
    projector, target = affine_projector(relative), affine_target(rows)
    pictures = torch.rand(2, 3, SIZE, SIZE, generator=seeded(1)) * 2 - 1
    own = projector.own_pictures(target)
    images, offset = projector(pictures, target, own)
    code = projector.encoder(pictures) - (projector.encoder(own) if relative else 0)
    torch.testing.assert_close(offset, code)
    base = target.latent if rows is None else target.latent.mean(1)
    expected = ((base + code) @ projector.generator.basis).view(-1, 3, SIZE, SIZE).clamp(-1, 1)  # type: ignore[attr-defined]
    torch.testing.assert_close(images, expected, atol=1e-5, rtol=1e-4)


def test_relative_projection_leaves_the_gan_s_own_picture_alone() -> None:
    projector, target = affine_projector(True), affine_target()
    own = projector.own_pictures(target)
    images, offset = projector(own, target, own)
    assert float(offset.detach().abs().max()) == 0
    torch.testing.assert_close(images, own)


def fit(projector: Projector, steps: int, records: list[Record] | None = None, **changed: Any) -> None:
    settings: dict[str, Any] = {
        "sample": sampler(use_mask=True),
        "features": grey_levels,
        "weights": Objective(offset=0.3),
        "batch_size": 2,
        "adam": Adam(1e-3),
        "rng": seeded(2),
    }
    fit_encoder(
        projector,
        bumpy_scene(),
        affine_target(),
        steps=steps,
        on_iteration=lambda iteration, record: None if records is None else records.append(record),
        **{**settings, **changed},
    )


def test_the_loss_of_the_encoder_is_masked_l1_features_and_squared_offset() -> None:
    projector, records = affine_projector(True), list[Record]()
    target = affine_target()
    pseudo = sampler(use_mask=True)(bumpy_scene(), disc(), 2, rng=seeded(2))
    images, offset = (
        value.detach().double() for value in projector(pseudo.images, target, projector.own_pictures(target))
    )
    wanted, mask = pseudo.images.double(), pseudo.masks.double()
    l1 = float(((images - wanted).abs() * mask).sum() / (3 * mask.sum()))
    distance = 0.0
    for a, b in zip(grey_levels(images), grey_levels(wanted), strict=True):
        pooled = nn.functional.avg_pool2d(mask, SIZE // a.shape[-1])
        distance += float(((a - b).abs() * pooled).sum() / (a.shape[1] * pooled.sum()))
    size = float(offset.square().mean())
    fit(projector, 1, records)
    assert records[0]["photometric"] == pytest.approx(l1, rel=1e-4)
    assert records[0]["features"] == pytest.approx(distance, rel=1e-4)
    assert records[0]["offset"] == pytest.approx(size, rel=1e-4)
    assert records[0]["total"] == pytest.approx(l1 + distance + 0.3 * size, rel=1e-4)


def test_only_the_encoder_moves_and_the_same_seed_ends_the_same() -> None:
    results = []
    for noise in range(2):
        projector = affine_projector(True)
        torch.manual_seed(1000 + noise)
        before = weights_of(projector.encoder)
        basis = projector.generator.basis.clone()  # type: ignore[attr-defined]
        fit(projector, 3)
        assert moved(projector.encoder, before) == {"stem", "blocks", "head"}
        assert torch.equal(projector.generator.basis, basis)  # type: ignore[attr-defined]
        results.append(weights_of(projector.encoder))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_projected_samples_are_the_projections_of_freshly_drawn_pseudo_samples() -> None:
    projector, target, told = affine_projector(True), affine_target(), list[int]()
    settings: dict[str, Any] = {"sample": sampler(use_mask=True), "batch_size": 3}
    samples = project(
        projector,
        bumpy_scene(),
        target,
        steps=2,
        rng=seeded(9),
        on_iteration=lambda iteration, record: told.append(iteration),
        **settings,
    )
    assert samples.count == 6
    assert told == [0, 1]
    rng = seeded(9)
    for batch in range(2):
        drawn = sampler(use_mask=True)(bumpy_scene(), disc(), 3, rng=rng)
        part = slice(3 * batch, 3 * batch + 3)
        expected, _ = projector(drawn.images, target, projector.own_pictures(target))
        torch.testing.assert_close(samples.images[part], expected)
        assert torch.equal(samples.masks[part], drawn.masks)
        assert torch.equal(samples.pose.rotation[part], drawn.pose.rotation)
        assert torch.equal(samples.lighting.ambient[part], drawn.lighting.ambient)
    assert not samples.images.requires_grad


def test_a_gan_that_renders_is_asked_for_the_drawn_views() -> None:
    """The latent of this GAN is pose and light, so that the offset which E learns can be compared with the truth."""
    scene = bumpy_scene()
    loaded = renderer_gan(scene)
    target = dataclasses.replace(known_target(scene), latent=loaded.w_mean[None])
    torch.manual_seed(0)
    encoder = ResidualEncoder(10, SIZE, 8)
    projector = Projector(encoder, loaded.offset, loaded.generator, Framing(SIZE, SIZE, SIZE), True)
    records: list[Record] = []
    fit_encoder(
        projector,
        scene,
        target,
        sample=sampler(),
        features=grey_levels,
        weights=Objective(),
        steps=150,
        batch_size=8,
        adam=Adam(1e-3),
        rng=seeded(),
        on_iteration=lambda iteration, record: records.append(record),
    )
    drawn = sampler()(scene, disc(), 64, rng=seeded(99))
    with torch.no_grad():
        _, offset = projector(drawn.images, target, projector.own_pictures(target))
    yaw = torch.corrcoef(torch.stack([offset[:, 1], pose_to_units(drawn.pose)[:, 1]]))[0, 1]
    slope = drawn.lighting.direction[:, 0] / drawn.lighting.direction[:, 2]
    light = torch.corrcoef(torch.stack([offset[:, 8], slope]))[0, 1]
    assert float(yaw) > 0.9
    assert float(light) > 0.8
    assert records[-1]["total"] < 0.6 * records[0]["total"]


def test_samples_of_several_pictures_belong_to_their_own_scene_and_latent() -> None:
    """Two pictures at once give what each gives alone under the same poses and lights."""
    scenes = [bumpy_scene(), mirror(bumpy_scene())]
    both, masks = Scene.cat(scenes), torch.cat([disc(), disc().roll(3, -1)])
    drawing = sampler(use_mask=True)
    drawn = drawing(both, masks, 2, rng=seeded(3))
    projector = affine_projector(relative=True)
    latents = torch.randn(2, 4, generator=seeded(8))
    pictures = torch.rand(2, 3, SIZE, SIZE, generator=seeded(9))
    target = Target(pictures, latents, masks)
    own = projector.own_pictures(target)
    images, offsets = projector(drawn.images, target, own)
    for index, scene in enumerate(scenes):
        mine = slice(2 * index, 2 * index + 2)
        alone = render_pseudo(scene, masks[index : index + 1], drawn.pose[mine], drawn.lighting[mine], drawing)
        torch.testing.assert_close(drawn.images[mine], alone.images)
        torch.testing.assert_close(drawn.masks[mine], alone.masks)
        single = target[index : index + 1]
        expected = projector(alone.images, single, projector.own_pictures(single))
        torch.testing.assert_close(images[mine], expected[0])
        torch.testing.assert_close(offsets[mine], expected[1])


def test_collected_samples_know_their_picture() -> None:
    both = Scene.cat([bumpy_scene(), mirror(bumpy_scene()), bumpy_scene()])
    target = Target(torch.zeros(3, 3, SIZE, SIZE), torch.randn(3, 4, generator=seeded(8)), disc().expand(3, -1, -1, -1))
    samples = project(
        affine_projector(relative=False),
        both,
        target,
        sample=sampler(),
        steps=2,
        batch_size=4,
        together=2,
        rng=seeded(1),
        on_iteration=lambda iteration, record: None,
    )
    assert samples.owner.tolist() == [0, 0, 1, 1, 2, 2, 0, 0]
    assert samples.count == 8
