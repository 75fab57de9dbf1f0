"""Step 2: sample new views and lights of the current shape and project them to the GAN's image manifold.

*Pseudo samples* are crude renderings of the current shape under drawn poses and lights. The encoder E learns a latent
offset for each, so that the GAN paints the same view and light without the crude shape's faults: the *projected
samples* (GAN2Shape, section 3.2, eq. 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gan2shape.generators.protocol import FeatureExtractor, Generator, LatentOffset
from gan2shape.losses import feature_distance, photometric
from gan2shape.priors import LightingPrior, PosePrior
from gan2shape.reconstruct.config import Objective
from gan2shape.reconstruct.optimize import Adam, minimize
from gan2shape.reconstruct.target import Framing, Target
from gan2shape.reconstruct.watch import OnIteration
from gan2shape.render import Camera, DepthRange, Lighting, Pose, Scene, normals_from_depth, shade
from gan2shape.render.units import PoseRange
from gan2shape.render.warp import canonical_grid, forward_grid, sample_image, view_depth

_CHUNK = 16
"""Pictures that the generator paints at once where no gradient is taken: this bounds the memory."""


@dataclass(frozen=True, eq=False)
class PseudoSamples:
    """Crude renderings of the current shape: images (N, 3, S, S), masks (N, 1, S, S), and what they were drawn with."""

    images: Tensor
    masks: Tensor
    pose: Pose
    lighting: Lighting


@dataclass(frozen=True, eq=False)
class ProjectedSamples:
    """The GAN's pictures of those views and lights: images (N, 3, S, S) signed, masks (N, 1, S, S).

    ``pose`` and ``lighting`` are those that the pseudo samples were drawn with; the GAN followed them more or less.
    ``owner`` (N,) is the number of the target's picture that each sample shows under another view and light.
    """

    images: Tensor
    masks: Tensor
    pose: Pose
    lighting: Lighting
    owner: Tensor

    @property
    def count(self) -> int:
        """Number of samples."""
        return self.images.shape[0]


@dataclass(frozen=True)
class Sampler:
    """Draws pseudo samples: camera, depth and pose range, and the priors of pose and light.

    Attributes:
        use_mask: whether the object mask weighs the pixels; else all count alike.
    """

    camera: Camera
    depth_range: DepthRange
    pose_range: PoseRange
    pose: PosePrior
    lighting: LightingPrior
    use_mask: bool = False
    compat: bool = False

    @torch.no_grad()
    def __call__(self, scene: Scene, mask: Tensor, count: int, *, rng: torch.Generator) -> PseudoSamples:
        """Render each of K scenes under ``count`` drawn lights and poses: K · count samples, scene by scene.

        ``mask`` (K, 1, S, S) shows the objects in the input views. Pixels whose way back leaves the canonical frame are
        0 (grey) and masked out: nearly all that the shape misses.
        """
        base = scene.each(count).lighting
        lighting = self.lighting.sample(scene.batch * count, base, rng=rng)
        pose = self.pose.sample(scene.batch * count, rng=rng, ranges=self.pose_range)
        return render_pseudo(scene, mask, pose, lighting, self)


@torch.no_grad()
def render_pseudo(scene: Scene, mask: Tensor, pose: Pose, lighting: Lighting, sampler: Sampler) -> PseudoSamples:
    """The pseudo samples of K scenes with their masks (K, 1, S, S), for given poses and lights (N, a multiple of K)."""
    count, camera = pose.batch, sampler.camera
    canonical_mask = torch.ones_like(scene.depth)
    if sampler.use_mask:
        canonical_mask = sample_image(mask, forward_grid(scene.depth, scene.pose, camera))
    owner = torch.arange(scene.batch, device=mask.device).repeat_interleave(count // scene.batch)
    scene, canonical_mask = scene.each(count // scene.batch), canonical_mask[owner]
    depth = scene.depth.expand(count, -1, -1, -1)
    normals = normals_from_depth(scene.depth, camera, compat=sampler.compat)
    texture = shade(scene.albedo.expand(count, -1, -1, -1), normals.expand(count, -1, -1, -1), lighting)
    seen = view_depth(depth, pose, camera, depth_range=sampler.depth_range, compat=sampler.compat)
    grid = canonical_grid(seen, pose, camera)
    return PseudoSamples(
        sample_image(texture, grid).clamp(-1, 1),
        sample_image(canonical_mask, grid, mode="nearest"),
        pose,
        lighting,
    )


@dataclass(frozen=True)
class Projector:
    """Pseudo samples → the GAN's pictures, through E's code, the latent offset and the generator.

    Attributes:
        encoder: E, picture → code.
        offset: code → latent offset (the mapping network's tail, or the code itself).
        generator: the GAN.
        framing: the generator's pixels → working pixels.
        relative: whether the code of the GAN's own picture of the latent is subtracted.
    """

    encoder: nn.Module
    offset: LatentOffset
    generator: Generator
    framing: Framing
    relative: bool

    def __call__(self, images: Tensor, target: Target, own: Tensor) -> tuple[Tensor, Tensor]:
        """The GAN's version of pictures (N, 3, S, S), and the latent offsets (N, latent_dim).

        The target has K pictures, each with N/K of these, in this order. ``own`` (K, 3, S, S) are the GAN's pictures of
        the target's latents (see `own_pictures`).
        """
        return self.paint(self.encode(images, own), target)

    def encode(self, images: Tensor, own: Tensor) -> Tensor:
        """The codes (N, code_dim) of pictures (N, 3, S, S)."""
        code = self.encoder(images)
        if not self.relative:
            return code
        return code - self.encoder(own).repeat_interleave(images.shape[0] // own.shape[0], dim=0)

    def paint(self, code: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """The GAN's pictures (N, 3, S, S) of codes (N, code_dim), and the latent offsets (N, latent_dim)."""
        offset = self.offset(code)
        base = target.latent.repeat_interleave(code.shape[0] // target.count, dim=0)
        latent = base + (offset if base.ndim == 2 else offset[:, None])
        return self.framing.to_working(self.generator.synthesize(latent)), offset

    @torch.no_grad()
    def own_pictures(self, target: Target) -> Tensor:
        """The GAN's own pictures of the target's latents at working size, (K, 3, S, S)."""
        painted = [self.generator.synthesize(latent) for latent in target.latent.split(_CHUNK)]
        return self.framing.to_working(torch.cat(painted))


def fit_encoder(
    projector: Projector,
    scene: Scene,
    target: Target,
    *,
    sample: Callable[..., PseudoSamples],
    features: FeatureExtractor,
    weights: Objective,
    steps: int,
    batch_size: int,
    together: int = 1,
    adam: Adam,
    rng: torch.Generator,
    on_iteration: OnIteration,
) -> None:
    """Train E so that the GAN's pictures match pseudo samples: masked L1 + discriminator features (the paper's L′)
    + λ₁ · mean squared offset. An iteration draws ``batch_size`` samples, of ``together`` pictures alike.

    Moves: the encoder only. Raises `DivergedError` as `minimize` does.
    """
    own = projector.own_pictures(target)

    def losses(iteration: int) -> dict[str, Tensor]:
        chosen = target.in_turn(iteration, together)
        pseudo = sample(scene[chosen], target.mask[chosen], share(batch_size, len(chosen)), rng=rng)
        images, offset = projector(pseudo.images, target[chosen], own[chosen])
        with torch.no_grad():
            wanted = features(pseudo.images)
        return _mismatch(images, offset, pseudo, wanted, features=features, weights=weights)

    minimize([projector.encoder], losses, steps=steps, adam=adam, on_iteration=on_iteration)


def _mismatch(
    images: Tensor,
    offset: Tensor,
    pseudo: PseudoSamples,
    wanted: Sequence[Tensor],
    *,
    features: FeatureExtractor,
    weights: Objective,
) -> dict[str, Tensor]:
    """The terms of step 2's loss; ``wanted`` are the features of the pseudo samples."""
    match = photometric(images, pseudo.images, pseudo.masks)
    distance = feature_distance(features(images), wanted, pseudo.masks)
    size = offset.square().mean()
    total = match + distance + weights.offset * size
    return {"total": total, "photometric": match, "features": distance, "offset": size}


@dataclass(frozen=True)
class Polish:
    """Optimises every projected sample's own code after the encoder; ours, not the paper's (docs/deviations.md).

    Attributes:
        steps: iterations for each batch.
        adam: learning rate.
        features: as for `fit_encoder`.
        weights: as for `fit_encoder`.
    """

    steps: int
    adam: Adam
    features: FeatureExtractor
    weights: Objective

    def __call__(self, projector: Projector, pseudo: PseudoSamples, target: Target, own: Tensor) -> Tensor:
        """The GAN's pictures (N, 3, S, S) after the optimisation; no network moves."""
        with torch.no_grad():
            codes = _Codes(projector.encode(pseudo.images, own))
            wanted = self.features(pseudo.images)

        def losses(iteration: int) -> dict[str, Tensor]:
            images, offset = projector.paint(codes.values, target)
            return _mismatch(images, offset, pseudo, wanted, features=self.features, weights=self.weights)

        minimize([codes], losses, steps=self.steps, adam=self.adam)
        with torch.no_grad():
            return projector.paint(codes.values, target)[0]


class _Codes(nn.Module):
    """Codes as parameters, for `minimize`."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values.clone())


def project(
    projector: Projector,
    scene: Scene,
    target: Target,
    *,
    sample: Callable[..., PseudoSamples],
    steps: int,
    batch_size: int,
    together: int = 1,
    rng: torch.Generator,
    on_iteration: OnIteration,
    polish: Polish | None = None,
) -> ProjectedSamples:
    """Draw ``steps`` batches of fresh pseudo samples, each of ``together`` pictures, and keep the GAN's pictures of
    them, with their masks.

    With ``polish`` each sample's code is optimised by itself first. Moves no network; raises `DivergedError` as
    `minimize` does.
    """
    own = projector.own_pictures(target)
    drawn, images, owners = [], [], []
    for batch in range(steps):
        chosen = target.in_turn(batch, together)
        count = share(batch_size, len(chosen))
        drawn.append(sample(scene[chosen], target.mask[chosen], count, rng=rng))
        owners.append(chosen.repeat_interleave(count))
        if polish is None:
            with torch.no_grad():
                images.append(projector(drawn[-1].images, target[chosen], own[chosen])[0])
        else:
            images.append(polish(projector, drawn[-1], target[chosen], own[chosen]))
        on_iteration(batch, {})
    return ProjectedSamples(
        torch.cat(images),
        torch.cat([pseudo.masks for pseudo in drawn]),
        Pose.cat([pseudo.pose for pseudo in drawn]),
        Lighting.cat([pseudo.lighting for pseudo in drawn]),
        torch.cat(owners),
    )


def share(batch_size: int, pictures: int) -> int:
    """Samples of each picture in a batch: at least one."""
    return max(batch_size // pictures, 1)
