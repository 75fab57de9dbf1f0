"""Small things to reconstruct with: a random StyleGAN2 of 32 px, a configuration of two iterations, a known object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from gan2shape.generators import LoadedGenerator, load_generator
from gan2shape.generators.offsets import DirectOffset
from gan2shape.networks import FactorNetworks, NetworkConfig
from gan2shape.priors import LightingPrior, PosePrior
from gan2shape.reconstruct.config import Geometry, Inversion, Optimizer, ReconstructConfig, Stage
from gan2shape.reconstruct.step2_projection import ProjectedSamples
from gan2shape.reconstruct.target import Target
from gan2shape.render import Camera, DepthRange, Lighting, Pose, Scene, render
from gan2shape.render.units import lighting_from_units, lighting_to_units, pose_from_units, pose_to_units
from tests.generators import common_layout

SIZE = 32
CAMERA = Camera(SIZE)
NETWORKS = NetworkConfig(width_multiplier=0.125, code_size=16, offset_base_width=4)
TINY = ReconstructConfig(
    name="tiny",
    stages=(Stage(2, 2, 2, batches=2, warmup=2),),
    prior_steps=2,
    geometry=Geometry(working_size_px=SIZE),
    networks=NETWORKS,
    optimizer=Optimizer(batch_size=2),
    inversion=Inversion(samples=4, restarts=2, survey_steps=2, narrow_steps=2, final_steps=2),
)


def small_generator(folder: Path, resolution: int = 32, *, discriminator: bool = True) -> LoadedGenerator:
    """A random StyleGAN2 checkpoint of the common layout, written and loaded."""
    channels = dict.fromkeys(common_layout.sides(resolution), 4)
    parts = {"g_ema": common_layout.generator_state(channels, z_dim=6, w_dim=6, layers=3)}
    if discriminator:
        parts["d"] = common_layout.discriminator_state(channels)
    file = folder / f"small{resolution}{'' if discriminator else '_alone'}.pt"
    torch.save(parts, file)
    return load_generator(file, compute_dtype=torch.float32)


def small_target(loaded: LoadedGenerator, seed: int = 0, size: int = SIZE) -> Target:
    """A picture of the generator itself, with a disc for a mask."""
    latent = loaded.sample_latents(1, rng=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        picture = loaded.generator.synthesize(latent).clamp(-1, 1)
    if picture.shape[-1] != size:
        picture = F.interpolate(picture, (size, size), mode="area")
    return Target(picture, latent, disc(size))


def disc(size: int = SIZE) -> Tensor:
    """A mask (1, 1, size, size): 1 on a centred disc of radius 0.4 sides."""
    steps = torch.arange(size) - (size - 1) / 2
    return (torch.hypot(steps[:, None], steps[None]) < 0.4 * size).float()[None, None]


def small_networks(seed: int = 0, **options: object) -> FactorNetworks:
    """Factor networks of few channels, initialised from `seed`."""
    torch.manual_seed(seed)
    return FactorNetworks(SIZE, DepthRange(), config=NETWORKS, **options)  # type: ignore[arg-type]


def weights_of(module: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of all weights."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def moved(module: torch.nn.Module, before: dict[str, Tensor]) -> set[str]:
    """First parts of the names of the weights that are not bit-identical to `before`."""
    after = module.state_dict()
    assert after.keys() == before.keys()
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def grey_levels(images: Tensor) -> Sequence[Tensor]:
    """A feature extractor without weights: the picture, its slopes, and the same at half the size."""
    maps = []
    for level in (images, F.avg_pool2d(images, 2)):
        across, down = level - level.roll(1, 3), level - level.roll(1, 2)
        maps.append(torch.cat([level, 4 * across, 4 * down, torch.ones_like(across)], dim=1))
    return maps


def bumpy_scene(camera: Camera = CAMERA) -> Scene:
    """A head-like object whose depth is known: a wide cap, a nose, two sockets; a patterned albedo; frontal."""
    steps = torch.linspace(-1, 1, camera.image_size)
    y, x = torch.meshgrid(steps, steps, indexing="ij")

    def bump(x0: float, y0: float, width: float) -> Tensor:
        return torch.exp(-((x - x0).square() + (y - y0).square()) / (2 * width**2))

    cap = (1 - (x / 0.8).square() - (y / 0.9).square()).clamp(min=0).sqrt()
    depth = 1.04 - 0.10 * cap - 0.035 * bump(0, 0.1, 0.16) + 0.02 * (bump(-0.35, -0.2, 0.14) + bump(0.35, -0.2, 0.14))
    pattern = torch.stack([torch.sin(5 * x + 1) * 0.3, torch.cos(4 * y - 2 * x) * 0.3, torch.sin(6 * y * x) * 0.3])
    light = Lighting(torch.tensor([[0.45]]), torch.tensor([[0.6]]), F.normalize(torch.tensor([[0.0, 0.25, 1.0]])))
    return Scene(depth[None, None], pattern[None], Pose.identity(1, depth), light)


def true_renders(scene: Scene, count: int, seed: int = 0, camera: Camera = CAMERA) -> ProjectedSamples:
    """What a perfect GAN would give: pictures of the true object under drawn poses and lights."""
    rng = torch.Generator().manual_seed(seed)
    lighting = LightingPrior().sample(count, scene.lighting, rng=rng)
    pose = PosePrior().sample(count, rng=rng)
    seen = render(scene.with_(pose=pose, lighting=lighting), camera)
    return ProjectedSamples(seen.image * seen.mask, seen.mask, pose, lighting, torch.zeros(count, dtype=torch.long))


def known_target(scene: Scene, camera: Camera = CAMERA) -> Target:
    """The true object seen from the front; its mask is where it stands before the background."""
    image = render(scene, camera).image
    return Target(image, torch.zeros(1, 1), (scene.depth < 1.035).float())


@dataclass(frozen=True, eq=False)
class RendererGan:
    """A generator whose pictures are renderings of a known object; its latent is pose (6) and light (4) in units."""

    scene: Scene
    resolution: int = SIZE
    latent_dim: int = 10

    def synthesize(self, w: Tensor) -> Tensor:
        """Latents (B, 10) to pictures (B, 3, 32, 32)."""
        seen = render(self.scene.with_(pose=pose_from_units(w[:, :6]), lighting=lighting_from_units(w[:, 6:])), CAMERA)
        return seen.image * seen.mask


def renderer_gan(scene: Scene) -> LoadedGenerator:
    """`RendererGan` with everything that a reconstruction asks of a GAN; the mean latent is the scene's own."""
    own = torch.cat([pose_to_units(scene.pose), lighting_to_units(scene.lighting)], dim=1)
    return LoadedGenerator(RendererGan(scene), DirectOffset(10), grey_levels, own[0], "renderer", "0" * 64)


def with_two_iterations(config: ReconstructConfig) -> ReconstructConfig:
    """The configuration with two iterations of every step and batches of two; everything else as it is."""
    stages = tuple(
        replace(stage, albedo=2, project=2, refine=2, batches=2, warmup=2 if stage.warmup else 0)
        for stage in config.stages
    )
    optimizer = replace(config.optimizer, batch_size=2)
    turned = replace(config.turned, views=4, refine=2, hold=0, batch_size=2)
    return replace(config, stages=stages, prior_steps=2, optimizer=optimizer, turned=turned)
