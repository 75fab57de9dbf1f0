"""``gan2shape reconstruct``: pictures in, result folders out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from gan2shape.cli.runtime import Runtime, say
from gan2shape.errors import UserError
from gan2shape.reconstruct.config import ReconstructConfig
from gan2shape.reconstruct.presets import PRESETS

if TYPE_CHECKING:
    from torch import Tensor

    from gan2shape.generators import LoadedGenerator
    from gan2shape.generators.protocol import FeatureExtractor
    from gan2shape.reconstruct.pipeline import Job


@dataclass(frozen=True)
class Reconstruct:
    """Recover depth, normals, albedo, light and viewpoint of pictures.

    Example: gan2shape reconstruct face.png -o results
    """

    pictures: Positional[tuple[Path, ...]] = ()
    """Picture files; each gets a folder of its own name."""
    output: Annotated[Path, arg(aliases=("-o",))] = Path("results")
    """Folder that gets one result folder for each picture."""
    sample: tuple[int, ...] = ()
    """Seeds of pictures that the generator makes itself, reconstructed into sample_SEED."""
    preset: str = "default"
    """Preset that the settings below start from: default, paper-celeba, paper-cat, paper-car, paper-church, ..."""
    mask: str = "auto"
    """The object: "auto" (a classical method), "none" (everything), or a picture that is white on the object."""
    latent: Path | None = None
    """File with the picture's latent (.safetensors, .pt); found by optimisation if not given."""
    vgg: Path | None = None
    """File of VGG-16 weights (torchvision's) for the perceptual term; discriminator features if not given."""
    lpips: Path | None = None
    """File of LPIPS 0.1 heads for VGG, used with --vgg; plain features if not given."""
    download_vgg: Path | None = None
    """Folder to download PyTorch's public VGG-16 weights into (528 MB) and use them, like --vgg."""
    resume: bool = False
    """Go on after the last finished step of an interrupted run, or leave a finished result as it is."""
    dry_run: bool = False
    """Print the resolved settings as JSON and stop."""
    runtime: OmitArgPrefixes[Runtime] = field(default_factory=Runtime)
    """Where to compute."""
    config: ReconstructConfig = field(default_factory=lambda: PRESETS["default"])
    """All settings of the method; their defaults are those of --preset."""

    def run(self) -> None:
        """Reconstruct all pictures.

        Raises:
            UserError: nothing to do, or any mistake in a picture, mask, latent, checkpoint or folder.
        """
        if self.dry_run:
            say(json.dumps(self.config.to_dict(), indent=2))
            return
        if not self.pictures and not self.sample:
            raise UserError("expected a picture, or --sample SEED; try: gan2shape reconstruct picture.png -o results")
        stems = [picture.stem for picture in self.pictures]
        twice = sorted({stem for stem in stems if stems.count(stem) > 1})
        if twice:
            raise UserError(f"two pictures are called {twice[0]}, and would share a result folder; rename one")
        if self.latent is not None and len(self.pictures) != 1:
            raise UserError(f"--latent goes with exactly one picture; got {len(self.pictures)}")
        from gan2shape.generators import load_generator

        device = self.runtime.torch_device()
        loaded = load_generator(
            self.runtime.generator, device=device, offset_layers=self.config.projection.offset_layers
        )
        features = perceptual_features(self, loaded)
        for job in self._jobs(loaded):
            reconstruct_and_report(job, loaded, self, features=features)

    def _jobs(self, loaded: LoadedGenerator) -> list[Job]:
        """All jobs; every input is read before the first one starts, so that a mistake shows at once."""
        import torch

        from gan2shape.io.images import read_image
        from gan2shape.reconstruct.pipeline import Job, check_latent

        masker = masker_named(self.mask)
        latent = None if self.latent is None else check_latent(read_latent(self.latent), loaded)
        size = loaded.generator.resolution
        jobs = [Job(read_image(file, size=size), self.output / file.stem, masker, latent) for file in self.pictures]
        for seed in self.sample:
            rng = torch.Generator(loaded.w_mean.device).manual_seed(seed)
            own = loaded.sample_latents(1, rng=rng, truncation=0.7)
            with torch.no_grad():
                picture = loaded.generator.synthesize(own).clamp(-1, 1)
            jobs.append(Job(picture, self.output / f"sample_{seed}", masker, own))
        return jobs


def preset_of(arguments: Sequence[str]) -> ReconstructConfig:
    """The preset that the arguments name; it has to be known before they can be parsed.

    Raises:
        UserError: no such preset.
    """
    name = "default"
    for index, argument in enumerate(arguments):
        if argument == "--preset" and index + 1 < len(arguments):
            name = arguments[index + 1]
        elif argument.startswith("--preset="):
            name = argument.removeprefix("--preset=")
    if name not in PRESETS:
        raise UserError(f"--preset {name}: no such preset; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def masker_named(name: str) -> Callable[[Tensor], Tensor]:
    """The masker that ``--mask`` names: "auto", "none", or a file."""
    from gan2shape.priors.masks import auto_mask, no_mask, read_mask

    if name == "auto":
        return auto_mask
    if name == "none":
        return no_mask
    return lambda image: read_mask(name, image.shape[-1]).to(image)


def read_latent(file: Path) -> Tensor:
    """The one tensor of a file, or the one called "latent".

    Raises:
        CheckpointError: no such file, or none that can be read as data.
        UserError: several tensors, none of them called "latent".
    """
    from gan2shape.io.checkpoints import read_tensors

    tensors = read_tensors(file)
    if "latent" not in tensors and len(tensors) != 1:
        raise UserError(f"{file}: expected one tensor, or one called latent; got {', '.join(sorted(tensors)[:5])}")
    return tensors["latent"] if "latent" in tensors else next(iter(tensors.values()))


def perceptual_features(verb: Reconstruct, loaded: LoadedGenerator) -> FeatureExtractor | None:
    """VGG-16 features if a file was named; else None, which means the discriminator's.

    Raises:
        UserError: the preset or the generator needs VGG and no file was named.
    """
    if verb.vgg is not None or verb.download_vgg is not None:
        from gan2shape.networks.vgg import download_vgg_weights, load_vgg

        file = verb.vgg or download_vgg_weights(verb.download_vgg)
        return load_vgg(file, verb.lpips).to(loaded.w_mean.device).eval().requires_grad_(False)
    if verb.config.objective.features == "vgg" or loaded.features is None:
        raise UserError(
            f"{loaded.name} has no discriminator, or the settings ask for VGG features: name a file of VGG-16 and "
            "LPIPS weights with --vgg, or a folder with --download-vgg"
        )
    return None


def reconstruct_and_report(
    job: Job, loaded: LoadedGenerator, verb: Reconstruct, *, features: FeatureExtractor | None = None
) -> None:
    """Run one job with progress bars, and say where its result is."""
    from gan2shape.cli.progress import ProgressBars
    from gan2shape.reconstruct.pipeline import reconstruct_job

    title = f"{job.folder.name}: preset {verb.config.name} on {loaded.w_mean.device.type}, seed {verb.runtime.seed}"
    with ProgressBars(title) as bars:
        result = reconstruct_job(
            job,
            loaded,
            verb.config,
            seed=verb.runtime.seed,
            resume=verb.resume,
            features=features,
            on_event=bars,
        )
    for warning in result.warnings:
        say(f"warning: {warning}")
    say(f"results:       {job.folder}")
    say(f"contact sheet: {job.folder / 'contact_sheet.png'}")
