"""The objective, against a re-derivation with loops in float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from gan2shape.reconstruct.config import Objective
from gan2shape.reconstruct.objective import explain, roughness
from gan2shape.render import Camera, Lighting, Pose, Scene, render

CAMERA = Camera(8)


def random_scene(rng: torch.Generator, views: int = 1) -> Scene:
    depth = 1 + 0.03 * torch.randn(1, 1, 8, 8, generator=rng)
    albedo = 0.5 * torch.randn(1, 3, 8, 8, generator=rng).clamp(-1, 1)
    angles = 0.3 * torch.randn(views, 3, generator=rng)
    strengths = torch.full((views, 1), 0.5)
    direction = torch.nn.functional.normalize(torch.randn(views, 3, generator=rng) + torch.tensor([0, 0, 3.0]))
    return Scene(depth, albedo, Pose.from_euler(angles), Lighting(strengths, strengths + 0.1, direction))


def features(images: Tensor) -> Sequence[Tensor]:
    """Two maps of different size and width, each pixel a vector that is never zero."""
    big = torch.cat([images, images.square() + 1], dim=1)
    return [big, torch.cat([big, big], dim=1)[:, :5, ::2, ::2]]


class WithHeads:
    """The same features with learned weights, as VGG with LPIPS heads has them."""

    def __init__(self) -> None:
        self.weights = [torch.linspace(0.1, 1.2, 6), torch.linspace(2.0, 0.3, 5)]

    def __call__(self, images: Tensor) -> Sequence[Tensor]:
        return features(images)


def slow_l1(image: np.ndarray, wanted: np.ndarray, mask: np.ndarray) -> float:
    total = count = 0.0
    for b, c, y, x in np.ndindex(image.shape):
        total += abs(image[b, c, y, x] - wanted[b, c, y, x]) * mask[b, 0, y, x]
        count += mask[b, 0, y, x]
    return total / count


def slow_perceptual(image: np.ndarray, wanted: np.ndarray, heads: Sequence[Tensor] | None) -> float:
    layers = []
    for index, (a, b) in enumerate(
        zip(features(torch.from_numpy(image)), features(torch.from_numpy(wanted)), strict=True)
    ):
        values = []
        for sample in range(len(a)):
            for y in range(a.shape[2]):
                for x in range(a.shape[3]):
                    p, q = a[sample, :, y, x].numpy(), b[sample, :, y, x].numpy()
                    squares = (p / np.linalg.norm(p) - q / np.linalg.norm(q)) ** 2
                    values.append(float((squares * (1 if heads is None else heads[index].numpy())).sum()))
        layers.append(np.mean(values))
    return float(np.mean(layers) if heads is None else np.sum(layers))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("with_masks", [False, True])
@pytest.mark.parametrize("extractor", [features, WithHeads()], ids=["plain", "heads"])
def test_explain_is_masked_l1_plus_weighted_perceptual(
    mirrored: bool, with_masks: bool, extractor: object, rng: torch.Generator
) -> None:
    scene = random_scene(rng, views=2)
    images = torch.rand(2, 3, 8, 8, generator=rng) * 2 - 1
    masks = torch.rand(2, 1, 8, 8, generator=rng) if with_masks else None
    loss = explain(
        scene,
        images,
        render=partial(render, camera=CAMERA),
        features=extractor,  # type: ignore[arg-type]
        weights=Objective(perceptual=0.7),
        masks=masks,
        mirrored=mirrored,
    )
    flipped = dataclasses.replace(scene, depth=scene.depth.flip(3), albedo=scene.albedo.flip(3))
    seen = [render(scene, CAMERA)] + ([render(flipped, CAMERA)] if mirrored else [])
    mask = (masks if masks is not None else torch.ones(2, 1, 8, 8)).double().numpy()
    for rendering in seen:
        mask = mask * rendering.mask.double().numpy()
    assert 0 < mask.mean() < 1, "the scene must miss some pixels, or the mask is not tested"
    wanted, heads = images.double().numpy(), getattr(extractor, "weights", None)
    expected = 0.0
    for rendering in seen:
        image = rendering.image.double().numpy()
        expected += slow_l1(image, wanted, mask) + 0.7 * slow_perceptual(image * mask, wanted * mask, heads)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_without_a_perceptual_weight_no_features_are_asked_for(rng: torch.Generator) -> None:
    def never(images: Tensor) -> Sequence[Tensor]:
        raise AssertionError("these features cost time and count for nothing")

    scene, images = random_scene(rng), torch.rand(1, 3, 8, 8, generator=rng) * 2 - 1
    loss = explain(
        scene, images, render=partial(render, camera=CAMERA), features=never, weights=Objective(perceptual=0.0)
    )
    seen = render(scene, CAMERA)
    expected = slow_l1(seen.image.double().numpy(), images.double().numpy(), seen.mask.double().numpy())
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_a_scene_explains_its_own_picture(rng: torch.Generator) -> None:
    scene = random_scene(rng)
    seen = render(scene, CAMERA)
    bound = {"render": partial(render, camera=CAMERA), "features": features, "weights": Objective()}
    assert float(explain(scene, seen.image, **bound)) == pytest.approx(0, abs=1e-6)  # type: ignore[arg-type]
    mirrored = explain(scene, seen.image, mirrored=True, **bound)  # type: ignore[arg-type]
    assert float(mirrored) > 0.1, "this object is not symmetric"


def test_roughness_is_weighted_second_differences_of_depth_and_diffuse_shading(rng: torch.Generator) -> None:
    scene = random_scene(rng)
    normals = scene.normals(CAMERA)[0].double().numpy()
    light = scene.lighting.direction[0].double().numpy()
    shading = np.maximum(np.einsum("chw,c->hw", normals, light), 0)

    def slow(m: np.ndarray) -> float:
        xx = np.mean([abs(m[y, x + 2] - 2 * m[y, x + 1] + m[y, x]) for y in range(8) for x in range(6)])
        yy = np.mean([abs(m[y + 2, x] - 2 * m[y + 1, x] + m[y, x]) for y in range(6) for x in range(8)])
        corners = [m[y + 1, x + 1] - m[y + 1, x] - m[y, x + 1] + m[y, x] for y in range(7) for x in range(7)]
        return float(xx + yy + 2 * np.abs(corners).mean())

    depth = slow(scene.depth[0, 0].double().numpy())
    for both, alone in ((0.01, 0.0), (0.1, 5.0)):
        weights = Objective(smoothness=both, depth_smoothness=alone)
        expected = both * (depth + slow(shading)) + alone * depth
        assert float(roughness(scene, CAMERA, weights)) == pytest.approx(expected, rel=1e-5)


def test_a_plane_is_not_rough() -> None:
    flat = Scene(
        torch.full((1, 1, 8, 8), 1.0),
        torch.zeros(1, 3, 8, 8),
        Pose.identity(1, torch.zeros(1)),
        Lighting(torch.full((1, 1), 0.5), torch.full((1, 1), 0.5), torch.tensor([[0.0, 0.6, 0.8]])),
    )
    assert float(roughness(flat, CAMERA, Objective(smoothness=1.0))) == pytest.approx(0, abs=1e-5)
