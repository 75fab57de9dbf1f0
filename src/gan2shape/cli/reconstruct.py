"""``gan2shape reconstruct``: pictures in, result folders out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg

from gan2shape.cli.framing import FramingFlags
from gan2shape.cli.methods import GAN2SHAPE, check_method, plan_of, run_method, with_method
from gan2shape.cli.official import OfficialFlags, argument_of, config_named_in, resolved
from gan2shape.cli.runtime import Runtime, check_seed, say
from gan2shape.cli.settings import check_settings
from gan2shape.errors import UserError
from gan2shape.reconstruct.config import ReconstructConfig
from gan2shape.reconstruct.presets import PRESETS

if TYPE_CHECKING:
    from torch import Tensor

    from gan2shape.generators import LoadedGenerator
    from gan2shape.generators.protocol import FeatureExtractor
    from gan2shape.reconstruct.pipeline import Job
    from gan2shape.reconstruct.pretrain import Pretrained
    from gan2shape.reconstruct.target import Framing

ELLIPSOID = "ellipsoid"
"""The preset that takes the default's place for other generators."""
_OF_STEPS = (
    *("--class", "--features", "--pretrained", "--priors", "--vgg", "--lpips", "--download-vgg"),
    *("--view-mvn", "--light-mvn", "--compat"),
)
_START = "--config.start"
_OF_TURNED = "--config.turned."
_OF_EVERY_START = (_OF_TURNED, "--config.inversion", "--config.yaw-limit-deg", _START, "--config.name")
BUNDLED = "bundled"
"""What names the files that come with this package."""
SAMPLE_TRUNCATION = 0.7
"""Of the pictures of ``--sample``, as of ``gan2shape sample``: typical ones rather than the GAN's rarest."""


@dataclass(frozen=True)
class Reconstruct:
    """Recover depth, normals, albedo, light and viewpoint of pictures.

    For example:
      $ gan2shape reconstruct face.png -o results
      $ gan2shape reconstruct face.png --fast
      $ gan2shape reconstruct a.jpg b.jpg --mask none --seed 1
      $ gan2shape reconstruct --sample 3 --config.turned.refine 100
      $ gan2shape reconstruct face.png --method unsup3d --weights unsup3d.safetensors
    """

    resumable: ClassVar[bool] = True
    default_preset: ClassVar[str] = "default"
    memory_advice: ClassVar[str] = (
        "close other programs, or start anew with a smaller generator or a smaller --config.turned.batch-size (preset "
        "default), --config.optimizer.batch-size or --config.geometry.working-size-px (all others)"
    )

    pictures: Annotated[
        Positional[tuple[Path, ...]], arg(metavar="[PICTURE ...]", help_behavior_hint="(or --sample)")
    ] = ()
    """Picture files (PNG, JPEG, WebP, TIFF, ...); each gets a folder of its own name. A .txt file is a list of
    pictures beside it, one name on each line, whose latents are in the folder "latents" if there is one."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="FOLDER")] = Path("results")
    """Folder that gets one result folder for each picture."""
    sample: Annotated[tuple[int, ...], arg(metavar="SEED [SEED ...]", help_behavior_hint="(default: none)")] = ()
    """Seeds of pictures that the generator makes itself, reconstructed into sample_SEED."""
    fast: FlagCreatePairsOff[bool] = False
    """One pass of bundled networks instead of the method, in seconds; short for --method turned."""
    method: Literal["gan2shape", "turned", "unsup3d", "supervised"] = "gan2shape"
    """The method; turned, unsup3d and supervised are one pass of networks that gan2shape train made."""
    weights: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """With --method turned, unsup3d or supervised: its trained weights; those of turned are bundled, for heads."""
    preset: Annotated[str, arg(metavar="NAME")] = "default"
    """Settings to start from; gan2shape info lists all. Without it, ellipsoid takes the default's place where another
    generator is named, or something that only the steps from the ellipsoid have."""
    pretrained: Annotated[Path | None, arg(metavar="SOURCE", help_behavior_hint="(optional)")] = None
    """Networks to start from instead of the ellipsoid: "bundled" (for the bundled generator), or a file of gan2shape
    pretrain for the same generator. Its priors, network sizes and geometry take the place of the preset's. Or the
    original program's celeba_pretrain.pth, which has networks only."""
    priors: Annotated[str, arg(metavar="SOURCE", help_behavior_hint="(default: the preset's)")] = ""
    """Priors of pose and light that pseudo samples are drawn from: "bundled" (the bundled generator's own), or a file
    of gan2shape pretrain, gan2shape train distill or align for the same generator."""
    mask: Annotated[str, arg(metavar="auto|none|alpha|rembg|FILE")] = "auto"
    """The object: "auto" (a classical method), "none" (everything), "alpha" (what of the picture is opaque), "rembg"
    (extra "mask"), or a picture that is white on the object."""
    framing: OmitArgPrefixes[FramingFlags] = field(default_factory=FramingFlags)
    """Which square of the pictures."""
    latent: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """File with the picture's latent (.safetensors, .pt); found by optimisation if not given."""
    vgg: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """File of VGG-16 weights (torchvision's) for the perceptual term, where that has a weight; discriminator features
    if not given."""
    lpips: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """File of LPIPS 0.1 heads for VGG, used with --vgg; plain features if not given."""
    download_vgg: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="(optional)")] = None
    """Folder to download PyTorch's public VGG-16 weights into (528 MB) and use them, like --vgg."""
    resume: FlagCreatePairsOff[bool] = False
    """Go on after the last finished step of an interrupted run, or leave a finished result as it is."""
    dry_run: FlagCreatePairsOff[bool] = False
    """Print what would be done, all settings included, as JSON, and stop."""
    original: OmitArgPrefixes[OfficialFlags] = field(default_factory=OfficialFlags)
    """Files of the original program."""
    runtime: OmitArgPrefixes[Runtime] = field(default_factory=Runtime)
    """With what to compute."""
    config: ReconstructConfig = field(default_factory=lambda: PRESETS["default"])
    """All settings of the method; their defaults are those of --preset."""

    def run(self) -> None:
        """Reconstruct all pictures.

        Raises:
            UserError: nothing to do, or any mistake in a picture, mask, latent, checkpoint or folder.
        """
        found = resolved(with_method(self))
        found.verb._run(found.latents, found.notes)

    def _run(self, latents: Mapping[Path, Path], notes: Sequence[str]) -> None:
        """Reconstruct all pictures, with the latents that are known."""
        check_settings(self.config)
        check_method(self)
        self.runtime.check_runtime()
        self.framing.check(self.pictures)
        folders = self._folders()
        if self.dry_run:
            plan = self._plan(folders, latents, notes) if self.method == GAN2SHAPE else plan_of(self, folders)
            say(json.dumps(plan, indent=2))
            return
        for note in notes:
            say(f"note: {note}")
        if not folders:
            raise UserError("expected a picture, or --sample SEED; try: gan2shape reconstruct picture.png -o results")
        if self.method != GAN2SHAPE:
            run_method(self, folders)
            return
        from gan2shape.cli.inputs import check_encoder, perceptual_features
        from gan2shape.reconstruct.reconstructor import reconstructor_for

        loaded = self.runtime.load(self.config.projection.offset_layers)
        verb, weights = started_from(self, loaded)
        features = perceptual_features(verb, loaded)
        framing = reconstructor_for(loaded, verb.config, features=features, initial_weights=weights).framing
        check_encoder(self.config, loaded)
        for _ in self._jobs(loaded, framing, latents):
            pass  # Every input is read once before the first run, so that a mistake in the last one shows at once.
        for index, job in enumerate(self._jobs(loaded, framing, latents), start=1):
            place = f" ({index} of {len(folders)})" if len(folders) > 1 else ""
            start = {"features": features, "initial_weights": weights}
            reconstruct_and_report(job, loaded, verb, title=f"{job.folder.name}{place}", **start)  # type: ignore[arg-type]

    def _folders(self) -> list[Path]:
        """The result folders, of the pictures first, then of the samples.

        Raises:
            UserError: two inputs would share a folder, a seed is too large, or a latent goes with several pictures.
        """
        for seed in self.sample:
            check_seed(seed, "--sample")
        if self.latent is not None and len(self.pictures) != 1:
            raise UserError(f"--latent goes with exactly one picture; got {len(self.pictures)}")
        names = [picture.stem for picture in self.pictures] + [f"sample_{seed}" for seed in self.sample]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UserError(f"two inputs are called {twice[0]}, and would share a result folder; rename or drop one")
        return [self.output / name for name in names]

    def _plan(self, folders: list[Path], latents: Mapping[Path, Path], notes: Sequence[str]) -> dict[str, Any]:
        """What ``--dry-run`` prints."""
        inputs = [str(picture) for picture in self.pictures] + [f"sample {seed}" for seed in self.sample]
        return {
            "inputs": dict(zip(inputs, map(str, folders), strict=True)),
            "latents": {str(picture): str(latent) for picture, latent in latents.items()},
            "pretrained": None if self.pretrained is None else str(self.pretrained),
            "priors": self.priors or None,
            "notes": list(notes),
            "mask": self.mask,
            **dataclasses.asdict(self.runtime),
            "config": self.config.to_dict(),
        }

    def _jobs(self, loaded: LoadedGenerator, framing: Framing, latents: Mapping[Path, Path]) -> Iterator[Job]:
        """The jobs one by one, each read when it is wanted: many large pictures need not fit in memory together.

        Raises:
            UserError: a picture, mask or latent that cannot be used.
        """
        from gan2shape.cli.inputs import fixed_masker, read_latent
        from gan2shape.io.images import read_image
        from gan2shape.reconstruct.pipeline import Job, check_latent

        size = loaded.generator.resolution
        sources: list[Path | int] = [*self.pictures, *self.sample]
        for source, folder in zip(sources, self._folders(), strict=True):
            if isinstance(source, int):
                picture, own = drawn_picture(loaded, source)
                yield Job(picture, folder, fixed_masker(self.mask, picture, framing, source), own)
            else:
                frame = self.framing.frame_of(source)
                picture = read_image(source, size=size, frame=frame)
                file = latents.get(source) if self.latent is None else self.latent
                latent = None if file is None else check_latent(read_latent(file), loaded)
                yield Job(picture, folder, fixed_masker(self.mask, picture, framing, source, frame), latent)


def drawn_picture(loaded: LoadedGenerator, seed: int) -> tuple[Tensor, Tensor]:
    """A picture (1, 3, R, R), signed, that the generator makes itself, and its latent (1, latent_dim)."""
    import torch

    from gan2shape.generators import latent_rng

    rng = latent_rng(seed, loaded.w_mean.device)
    latent = loaded.sample_latents(1, rng=rng, truncation=SAMPLE_TRUNCATION)
    with torch.no_grad():
        return loaded.generator.synthesize(latent).clamp(-1, 1), latent


def needs_steps(arguments: Sequence[str]) -> str | None:
    """The flag that names another generator than the bundled one, or something of the steps from the ellipsoid."""
    if argument_of(arguments, "--generator") not in (None, BUNDLED):
        return "--generator"
    if argument_of(arguments, _START) == ELLIPSOID:
        return _START
    for flag in _flags(arguments):
        if flag in _OF_STEPS or (flag.startswith("--config.") and not flag.startswith(_OF_EVERY_START)):
            return flag
    return None


def preset_of(arguments: Sequence[str], default: str = "default") -> ReconstructConfig:
    """The preset or configuration file that the arguments name; it has to be known before they can be parsed.

    Raises:
        UserError: no such preset, no such file, or a flag that the preset or file has no use for.
    """
    config = config_named_in(arguments) or _chosen_preset(arguments, default)
    unused = next((flag for flag in _flags(arguments) if flag.startswith(_OF_TURNED)), None)
    if unused and (argument_of(arguments, _START) or config.start) != "turned":
        raise UserError(
            f"{unused}: only the preset default, for the bundled generator, has a use for it; these settings "
            f"({config.name}) start from an ellipsoid; leave it out"
        )
    return config


def _flags(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments without values behind "=", in one of the two spellings that are understood."""
    return (argument.partition("=")[0].replace("_", "-") for argument in arguments)


def _chosen_preset(arguments: Sequence[str], default: str) -> ReconstructConfig:
    """The preset that ``--preset`` names, or the one that fits the other arguments; errors as `preset_of`."""
    chosen, stepwise = argument_of(arguments, "--preset"), needs_steps(arguments)
    name = chosen or (ELLIPSOID if PRESETS[default].start == "turned" and stepwise else default)
    if name not in PRESETS:
        raise UserError(f"--preset {name}: no such preset; choose one of {', '.join(PRESETS)}")
    if stepwise and PRESETS[name].start == "turned":
        raise UserError(
            f"--preset {name}: for the bundled generator and its networks, which have no use for {stepwise}; take "
            f"--preset {ELLIPSOID}, or leave {stepwise} out"
        )
    return PRESETS[name]


def started_from(verb: Reconstruct, loaded: LoadedGenerator) -> tuple[Reconstruct, Mapping[str, Tensor] | None]:
    """The verb with the settings of ``--pretrained`` and the priors of ``--priors``, and the weights of the first.

    Raises:
        UserError: no such weights or priors, or those of another generator.
    """
    verb, weights = _pretrained(verb, loaded)
    if not verb.priors:
        return verb, weights
    from gan2shape.networks.turned import bundled_turned
    from gan2shape.reconstruct.pretrain import load_priors, with_priors

    if verb.original.view_mvn or verb.original.light_mvn:
        raise UserError("--priors: takes the place of --view-mvn and --light-mvn; leave one or the other out")
    file = bundled_turned() if verb.priors == BUNDLED else Path(verb.priors)
    return dataclasses.replace(verb, config=with_priors(verb.config, *load_priors(file, loaded))), weights


def _pretrained(verb: Reconstruct, loaded: LoadedGenerator) -> tuple[Reconstruct, Mapping[str, Tensor] | None]:
    """The verb with the settings of ``--pretrained``, and its weights."""
    if verb.pretrained is None:
        return verb, None
    start = _start(verb.pretrained, verb.config)
    if start.generator and start.generator != loaded.identity:
        raise UserError(
            f"{verb.pretrained}: expected networks that were pre-trained with the generator {loaded.name}; "
            "got those of another; name it with --generator, or run gan2shape pretrain for this one"
        )
    return dataclasses.replace(verb, config=start.applied_to(verb.config)), start.weights


def _start(file: Path, config: ReconstructConfig) -> Pretrained:
    """What ``--pretrained`` names: our own file, or networks of the original program."""
    from gan2shape.io.checkpoints import read_tensors
    from gan2shape.io.official import is_networks
    from gan2shape.reconstruct.official import load_official_networks
    from gan2shape.reconstruct.pretrain import bundled_pretrained, load_pretrained

    if str(file) == BUNDLED:
        file = bundled_pretrained()
    if is_networks(tensors := read_tensors(file)):
        return load_official_networks(file, tensors, config)
    return load_pretrained(file)


def reconstruct_and_report(
    job: Job,
    loaded: LoadedGenerator,
    verb: Reconstruct,
    *,
    title: str,
    features: FeatureExtractor | None = None,
    initial_weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Run one job with progress bars, and say where its result is."""
    import torch

    from gan2shape.cli.progress import ProgressBars
    from gan2shape.reconstruct.pipeline import SHEET_FILE, reconstruct_job

    device = loaded.w_mean.device.type
    where = f"cpu, threads: {torch.get_num_threads()}" if device == "cpu" else device
    with ProgressBars(f"{title}: preset {verb.config.name}, seed {verb.runtime.seed}, on {where}") as bars:
        result = reconstruct_job(
            job,
            loaded,
            verb.config,
            seed=verb.runtime.seed,
            resume=verb.resume,
            features=features,
            initial_weights=initial_weights,
            on_event=bars,
        )
    for warning in result.warnings:
        say(f"warning: {warning}")
    say(f"results:       {job.folder}")
    say(f"contact sheet: {job.folder / SHEET_FILE}")
