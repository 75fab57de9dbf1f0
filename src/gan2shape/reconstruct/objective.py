"""The reconstruction objective of the paper (its L): photometric + perceptual, with the smoothness the program adds."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from gan2shape.generators.protocol import FeatureExtractor
from gan2shape.losses import perceptual_distance, photometric, smoothness
from gan2shape.reconstruct.config import Objective
from gan2shape.render import Camera, Rendering, Scene, mirror
from gan2shape.render.shading import diffuse_shading

Render = Callable[[Scene], Rendering]
"""Renders a scene with this reconstruction's camera and depth range."""


def explain(
    scene: Scene,
    images: Tensor,
    *,
    render: Render,
    features: FeatureExtractor,
    weights: Objective,
    masks: Tensor | None = None,
    mirrored: bool = False,
) -> Tensor:
    """How badly renderings of ``scene`` explain ``images``: L1 over the hit pixels + λ · perceptual (GAN2Shape, eq. 1).

    Args:
        scene: one object, or as many poses and lights as there are images.
        images: (B, 3, S, S), signed.
        render: the renderer, with camera and depth range bound.
        features: pyramid of features for the perceptual term; not asked where its weight is 0.
        weights: the loss weights.
        masks: (B, 1, S, S), multiplied with the hit mask.
        mirrored: ask the same of the left-right mirrored object, under the product of both hit masks.

    Returns:
        A scalar.
    """
    renderings = [render(scene)] + ([render(mirror(scene))] if mirrored else [])
    mask = renderings[0].mask if masks is None else renderings[0].mask * masks
    for other in renderings[1:]:
        mask = mask * other.mask
    loss = images.new_zeros(())
    for rendering in renderings:
        loss = loss + photometric(rendering.image, images, mask)
    if weights.perceptual:
        seen = features(images * mask)
        heads = getattr(features, "weights", None)  # LPIPS has learned ones, a discriminator none.
        for rendering in renderings:
            loss = loss + weights.perceptual * perceptual_distance(features(rendering.image * mask), seen, heads)
    return loss


def roughness(scene: Scene, camera: Camera, weights: Objective) -> Tensor:
    """Weighted second differences of the canonical depth and of its diffuse shading (the paper smooths the depth only).

    Under a frontal light ridges shade both their sides alike, so shading alone would not see them.
    """
    shading = diffuse_shading(scene.normals(camera), scene.lighting)
    depth = smoothness(scene.depth)
    return weights.smoothness * (depth + smoothness(shading)) + weights.depth_smoothness * depth
