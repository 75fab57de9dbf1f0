"""Step 3: refine shape, albedo, viewpoint and light on the projected samples (GAN2Shape, section 3.2, eq. 3)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gan2shape.generators.protocol import FeatureExtractor
from gan2shape.networks import FactorNetworks
from gan2shape.reconstruct.config import Objective
from gan2shape.reconstruct.objective import Render, explain, roughness
from gan2shape.reconstruct.optimize import Adam, minimize
from gan2shape.reconstruct.step1_albedo import scenes_of
from gan2shape.reconstruct.step2_projection import ProjectedSamples, share
from gan2shape.reconstruct.target import Target
from gan2shape.reconstruct.watch import OnIteration
from gan2shape.render import Camera, Scene


def refine(
    nets: FactorNetworks,
    target: Target,
    samples: ProjectedSamples,
    *,
    render: Render,
    camera: Camera,
    features: FeatureExtractor,
    weights: Objective,
    steps: int,
    hold: int = 0,
    batch_size: int,
    together: int = 1,
    adam: Adam,
    mirrored: bool,
    rng: torch.Generator,
    on_iteration: OnIteration,
) -> Scene:
    """Optimise all factors so that one depth and one albedo, those of a picture, explain all its projected samples.

    Depth and albedo networks see the picture, viewpoint and light networks each sample. The picture itself is explained
    in the same iteration, which takes ``together`` pictures with ``batch_size`` samples. Moves: all four factor
    networks, but viewpoint and light only after the first ``hold`` iterations, so that a shape that is still crude does
    not spoil what a warm-up taught them (ours, not the paper's).

    Returns:
        The scenes of all pictures, detached. Raises `DivergedError` as `minimize` does.
    """
    shown, owner = samples.owner.unique(return_inverse=True)
    pictures = target[shown]  # Few batches may not have reached every picture.
    decks = [_Deck((owner == picture).nonzero()[:, 0]) for picture in range(pictures.count)]
    count = min(share(batch_size, min(together, pictures.count)), *(len(deck.samples) for deck in decks), samples.count)

    def losses(iteration: int) -> dict[str, Tensor]:
        turn = pictures.in_turn(iteration, together)
        chosen = torch.cat([decks[picture].draw(count, rng=rng) for picture in turn.tolist()])
        images, masks = samples.images[chosen], samples.masks[chosen]
        own_images = pictures.image[turn]
        scene = nets(own_images)
        pose, lighting = nets.pose(images), nets.lighting(images)
        views = replace(scene.each(count), pose=pose, lighting=lighting)
        shared = {"render": render, "features": features, "weights": weights, "mirrored": mirrored}
        own = explain(scene, own_images, **shared)  # type: ignore[arg-type]
        others = explain(views, images, masks=masks, **shared)  # type: ignore[arg-type]
        smooth = roughness(scene, camera, weights)
        return {"total": own + others + smooth, "target": own, "samples": others, "roughness": smooth}

    held = min(hold, steps)
    shape = [nets.depth_net, nets.albedo_net]
    if held:
        minimize(shape, losses, steps=held, adam=replace(adam, final=1.0), on_iteration=on_iteration)
    minimize(
        [*shape, nets.view_net, nets.light_net],
        lambda iteration: losses(held + iteration),
        steps=steps - held,
        adam=adam,
        on_iteration=lambda iteration, record: on_iteration(held + iteration, record),
    )
    return scenes_of(nets, target)


class _Deck:
    """The samples (N,) of one picture, drawn in an order that is shuffled anew when it is used up."""

    def __init__(self, samples: Tensor) -> None:
        self.samples, self.left = samples, samples[:0]

    def draw(self, count: int, *, rng: torch.Generator) -> Tensor:
        """The next ``count`` of them."""
        if len(self.left) < count:
            self.left = self.samples[torch.randperm(len(self.samples), generator=rng, device=rng.device)]
        drawn, self.left = self.left[:count], self.left[count:]
        return drawn
