"""Joint pre-training: the steps over many of a GAN's own pictures, and the priors of pose and light that they show.

One depth, albedo, viewpoint, light network and one latent encoder learn from all pictures (GAN2Shape, appendix A). Each
picture keeps its own light and pose; the original relights all around the last one's. Afterwards the viewpoint and
light networks look at many more of the generator's pictures, and the spread of what they see is the generator's own
prior of pose and light, which the original reads from files made by another method.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan2shape.errors import CheckpointError, InputError
from gan2shape.generators import LoadedGenerator
from gan2shape.io.checkpoints import read_metadata, read_tensors, write_tensors
from gan2shape.networks.trained import describe
from gan2shape.priors import LightingPrior, PosePrior
from gan2shape.reconstruct.config import ReconstructConfig, config_from_dict
from gan2shape.reconstruct.progress import Progress, gather_weights, step_rng
from gan2shape.reconstruct.reconstructor import Reconstructor
from gan2shape.reconstruct.target import Framing, Target
from gan2shape.reconstruct.watch import OnEvent, ignore

KIND = "joint pre-training"
BUNDLED_FILE = "pretrained_synface64.safetensors"
"""What the published schedules start from with the bundled generator."""
PRIORS = "priors"
"""Where files of networks have them, among what they say about themselves."""
PRIOR_PICTURES = 2000
"""Pictures that the priors of pose and light are read from."""
_CHUNK = 32
_TAILS = 0.05
"""Part of the observed lights that is left out at either end of the uniform prior's ranges."""
_DRAWS_PER_PICTURE = 4
"""Latents that may be drawn for each wanted picture before the masker is given up on."""


@dataclass(frozen=True, eq=False)
class Pretrained:
    """What joint pre-training gives: networks to start from, and the priors of pose and light of one generator.

    Attributes:
        weights: factor and encoder weights, named as in `ReconstructionResult.networks`.
        config: the settings of the training, its network sizes and geometry among them; pose and light are the
            estimated priors.
        generator: identity of the generator (`LoadedGenerator.identity`): its file's SHA-256, with the class if any.
        about: pictures, seed and what else people should know; plain values.
    """

    weights: Mapping[str, Tensor]
    config: ReconstructConfig
    generator: str
    about: Mapping[str, str]

    def applied_to(self, config: ReconstructConfig) -> ReconstructConfig:
        """``config`` with this training's priors of pose and light, network sizes and geometry.

        The yaw of drawn poses stays scaled as ``config`` has it.
        """
        own = self.config
        return replace(
            config,
            pose=replace(own.pose, yaw_scale=config.pose.yaw_scale),
            lighting=own.lighting,
            networks=own.networks,
            geometry=own.geometry,
            add_prior_means=own.add_prior_means,
            projection=replace(config.projection, relative=own.projection.relative),
            assumes="",
        )


def draw_targets(
    loaded: LoadedGenerator,
    framing: Framing,
    masker: Callable[[Tensor], Tensor],
    *,
    count: int,
    truncation: float,
    rng: torch.Generator,
) -> Target:
    """``count`` pictures that the generator makes itself, with their exact latents and masks.

    Pictures in which the masker finds no object are passed over.

    Raises:
        InputError: the masker finds no object in most pictures.
    """
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(_DRAWS_PER_PICTURE * count):
        latent = loaded.sample_latents(1, rng=rng, truncation=truncation)
        with torch.no_grad():
            image = framing.to_working(loaded.generator.synthesize(latent))
        try:
            found.append((image, latent, masker(image).to(image)))
        except InputError:
            continue
        if len(found) == count:
            images, latents, masks = (torch.cat(parts) for parts in zip(*found, strict=True))
            return Target(images, latents, masks)
    raise InputError(
        f"expected objects in the pictures of {loaded.name}; the masker found {len(found)} in "
        f"{_DRAWS_PER_PICTURE * count} pictures; try --mask none"
    )


def pretrain(
    reconstructor: Reconstructor,
    target: Target,
    *,
    seed: int = 0,
    on_event: OnEvent = ignore,
    resume: Progress | None = None,
    keep: Callable[[Progress], None] = lambda progress: None,
    prior_pictures: int = PRIOR_PICTURES,
) -> Pretrained:
    """Run all steps of all stages on all pictures of ``target``, then estimate the priors of pose and light.

    Under ``torchrun`` every process works on its own share of the pictures; gradients are averaged.

    ``prior_pictures`` of the generator's pictures are looked at for the priors; all else is as for `Reconstructor`.
    """
    nets, encoder, run = reconstructor.fit(target, seed=seed, on_event=on_event, resume=resume, keep=keep)
    loaded, framing = reconstructor.loaded, reconstructor.framing
    rng = step_rng(seed, "priors", reconstructor.device)
    config = reconstructor.config

    def see(images: Tensor) -> tuple[Tensor, Tensor]:
        return nets.view_net(images) + nets.pose_mean, nets.light_net(images) + nets.lighting_mean

    pose, lighting = estimate_priors(see, loaded, framing, count=prior_pictures, rng=rng, base=config.lighting)
    if config.start == "one-pass":
        lighting = config.lighting  # Lights as weak as those of the GAN's own pictures teach far less shape.
    about = {"pictures": str(target.count), "seed": str(seed), "warnings": "; ".join(run.warnings)}
    weights = gather_weights({"factors": nets, "encoder": encoder})
    return Pretrained(weights, replace(config, pose=pose, lighting=lighting), loaded.identity, about)


@torch.no_grad()
def estimate_priors(
    see: Callable[[Tensor], tuple[Tensor, Tensor]],
    loaded: LoadedGenerator,
    framing: Framing,
    *,
    count: int,
    rng: torch.Generator,
    base: LightingPrior,
) -> tuple[PosePrior, LightingPrior]:
    """The poses and lights that are seen in ``count`` of the generator's pictures, as priors.

    ``see`` takes signed pictures (N, 3, S, S) to poses (N, 6) and lights (N, 4), attached to the object, both in
    network units. Poses become a normal distribution with full covariance. Lights become the uniform ranges that hold
    nine tenths of what was seen, the strength about the mean diffuse light; how the ambient light goes with it is a
    regression.
    """
    poses: list[Tensor] = []
    lights: list[Tensor] = []
    for start in range(0, count, _CHUNK):
        latents = loaded.sample_latents(min(_CHUNK, count - start), rng=rng)
        images = framing.to_working(loaded.generator.synthesize(latents))
        for kept, units in zip((poses, lights), see(images), strict=True):
            kept.append(units)
    return pose_prior(torch.cat(poses)), lighting_prior(torch.cat(lights), base)


def pose_prior(units: Tensor) -> PosePrior:
    """The normal distribution of observed poses (N, 6), network units."""
    units = units.double().cpu()
    mean, covariance = units.mean(0), units.T.cov()
    std = covariance.diagonal().sqrt()
    return PosePrior(
        mean=tuple(mean.tolist()), std=tuple(std.tolist()), covariance=tuple(tuple(row) for row in covariance.tolist())
    )


def lighting_prior(units: Tensor, base: LightingPrior) -> LightingPrior:
    """The uniform prior about observed lights (N, 4), network units (see `estimate_priors`); rest as in ``base``."""
    units = units.double().cpu()
    ambient, diffuse = units[:, 0] / 2 + 0.5, units[:, 1] / 2 + 0.5
    tails = torch.tensor([_TAILS, 1 - _TAILS], dtype=torch.float64)
    (x_min, x_max), (y_min, y_max) = (units[:, k].quantile(tails).tolist() for k in (2, 3))
    strength = diffuse - diffuse.mean()
    low, high = strength.quantile(tails).tolist()
    slope = float((strength * (ambient - ambient.mean())).sum() / strength.square().sum().clamp_min(1e-12))
    means = units.mean(0).tolist()
    return replace(
        base,
        x_min=x_min,
        x_max=x_max,
        y_min=y_min,
        y_max=y_max,
        strength_min=low,
        strength_max=high,
        ambient_per_strength=slope,
        mean_ambient=means[0] / 2 + 0.5,
        mean_diffuse=means[1] / 2 + 0.5,
        mean_direction=(means[2], means[3], 1.0),
    )


def bundled_pretrained() -> Path:
    """The file that comes with this package."""
    return Path(str(resources.files("gan2shape") / "assets" / BUNDLED_FILE))


def save_pretrained(file: Path, pretrained: Pretrained) -> None:
    """Write a safetensors file, weights in half precision.

    Raises:
        OutputError: the place cannot be written.
    """
    header = {
        "kind": KIND,
        "config": json.dumps(pretrained.config.to_dict()),
        "generator": pretrained.generator,
        **{f"about.{key}": value for key, value in pretrained.about.items()},
    }
    write_tensors(file, {name: tensor.half() for name, tensor in pretrained.weights.items()}, header)


def load_pretrained(file: Path) -> Pretrained:
    """Read what `save_pretrained` wrote; weights in single precision.

    Raises:
        CheckpointError: the file is missing, damaged, or something else.
    """
    header, tensors = read_metadata(file), read_tensors(file)
    if header.get("kind") != KIND:
        raise CheckpointError(
            f"{file}: expected the weights of a joint pre-training (gan2shape pretrain); got another file"
        )
    try:
        config = config_from_dict(json.loads(header["config"]))
        generator = header["generator"]
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{file}: expected the settings of a joint pre-training; they are damaged ({error})"
        ) from None
    bad = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor.float()).all())]
    if bad:
        raise CheckpointError(f"{file}: expected finite weights; {bad[0]} holds NaN or infinity")
    about = {key.removeprefix("about."): value for key, value in header.items() if key.startswith("about.")}
    return Pretrained({name: tensor.float() for name, tensor in tensors.items()}, config, generator, about)


def load_priors(file: Path, loaded: LoadedGenerator) -> tuple[PosePrior, LightingPrior]:
    """The priors of a generator that ``gan2shape pretrain`` or ``gan2shape train distill`` estimated; ``train align``
    hands them on.

    Raises:
        CheckpointError: the file is missing, damaged, or has none, or belongs to another generator.
    """
    if read_metadata(file).get("kind") == KIND:
        pretrained = load_pretrained(file)
        config, generator = pretrained.config, pretrained.generator
    else:
        config, generator = _priors_beside_networks(file)
    if generator != loaded.identity:
        raise CheckpointError(f"{file.name}: expected priors of {loaded.name}; got those of another GAN")
    return config.pose, config.lighting


def _priors_beside_networks(file: Path) -> tuple[ReconstructConfig, str]:
    """Settings with the priors in the header of a file of networks, and the generator that they belong to."""
    about = describe(file).get("about", {})
    if about.get(PRIORS) is None:
        raise CheckpointError(
            f"{file}: expected a file of gan2shape pretrain or gan2shape train distill, which have priors of pose and "
            "light; got another file"
        )
    try:
        return config_from_dict({**ReconstructConfig().to_dict(), **about[PRIORS]}), str(about.get("generator"))
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{file}: expected priors of pose and light; they are damaged ({error})") from None


def with_priors(config: ReconstructConfig, pose: PosePrior, lighting: LightingPrior) -> ReconstructConfig:
    """``config`` with these priors of pose and light; the yaw of drawn poses stays scaled as it was."""
    assumes = ", and ".join(part for part in config.assumes.split(", and ") if not part.startswith("Gaussians"))
    return replace(config, pose=replace(pose, yaw_scale=config.pose.yaw_scale), lighting=lighting, assumes=assumes)


def priors_to_dict(pose: PosePrior, lighting: LightingPrior) -> dict[str, Any]:
    """Priors as plain JSON values, as `load_priors` reads them in a file's header under `PRIORS`."""
    whole = replace(ReconstructConfig(), pose=pose, lighting=lighting).to_dict()
    return {name: whole[name] for name in ("pose", "lighting")}
