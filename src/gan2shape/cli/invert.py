"""``gan2shape invert``: the latent of a photograph, how good it is, and by choice a generator that is tuned to it."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from gan2shape.cli.framing import FramingFlags
from gan2shape.cli.runtime import Runtime, say
from gan2shape.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from gan2shape.cli.progress import ProgressBars
    from gan2shape.generators import InvertConfig, LoadedGenerator, StyleGAN2Generator
    from gan2shape.generators.discriminator import StyleGAN2Discriminator
    from gan2shape.generators.typicality import Likeness, OwnInversions, Scale
    from gan2shape.io.framing import Frame
    from gan2shape.networks.latents import LatentEncoder

LATENT_FILE, PICTURE_FILE, PHOTO_FILE = "latent.safetensors", "picture.png", "photo.png"
SHEET_FILE, REPORT_FILE, GENERATOR_FILE = "before_after.png", "report.json", "generator.safetensors"
_MOST = 1_000_000


@dataclass(frozen=True)
class Invert:
    """Find the latent that makes a generator draw your photo; "gan2shape reconstruct --latent" goes on from it.

    For example:
      $ gan2shape invert photo.jpg -o inversions
      $ gan2shape invert photo.jpg --align face --space tuned
    """

    memory_advice: ClassVar[str] = "close other programs, or start anew with a smaller generator or --restarts 1"

    pictures: Annotated[Positional[tuple[Path, ...]], arg(metavar="PICTURE [PICTURE ...]")] = ()
    """Picture files (PNG, JPEG, WebP, TIFF, ...); each gets a folder of its own name."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="FOLDER")] = Path("inversions")
    """Folder that gets one folder for each picture."""
    space: Literal["w", "w+", "tuned"] = "w"
    """"w": one latent, the most typical; "w+": one per layer; "tuned": w, and a copy of the generator changed until it
    makes the photo, to use with --generator."""
    steps: int = 300
    """Steps of the search; the first fifth with all restarts, the second with the better half."""
    restarts: int = 4
    """Starts that are optimised together."""
    samples: int = 256
    """Random latents that are scored as possible starts."""
    encoder: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """Weights of gan2shape train encoder, which propose a further start; the bundled generator has its own."""
    extra_steps: int = 200
    """Steps of w+ or of tuning, after those of w."""
    jitter: float = 0.0
    """Noise on the latents during the search, in standard deviations of the generator's own."""
    patience: int = 40
    """Steps without a gain of a thousandth after which the search goes on to its end; 0: never."""
    locality: float = 0.1
    """With tuned: weight of leaving the pictures of other latents as they are."""
    reference: int = 0
    """How many pictures of the generator's own are inverted too, for comparison: each takes as long as a photo."""
    framing: OmitArgPrefixes[FramingFlags] = field(default_factory=FramingFlags)
    """Which square of the photo."""
    runtime: OmitArgPrefixes[Runtime] = field(default_factory=Runtime)
    """With what to compute."""

    def run(self) -> None:
        """Invert all pictures.

        Raises:
            UserError: nothing to do, or any mistake in a picture, number, checkpoint or folder.
        """
        self._check()
        from gan2shape.generators.typicality import invert_own, scale_of
        from gan2shape.io.images import read_image
        from gan2shape.networks.latents import encoder_of

        loaded = self.runtime.load()
        encoder = encoder_of(loaded.identity, self.encoder, latent_dim=loaded.generator.latent_dim)
        if encoder is not None:
            encoder.to(loaded.w_mean.device)
        if self.space == "w+" and not hasattr(loaded.generator, "num_ws"):
            raise UserError(f"--space w+: the generator {loaded.name} has one latent for all its layers")
        if self.space == "tuned":
            self.trainable(loaded.class_index)  # So that it does not show after the whole search.
        frames = [self.framing.frame_of(picture) for picture in self.pictures]
        size = loaded.generator.resolution
        for picture, frame in zip(self.pictures, frames, strict=True):
            read_image(picture, size=size, frame=frame)  # So that a mistake in the last one shows at once.
        own = None
        if self.reference:
            say(f"inverting {self.reference} pictures of the generator's own")
            own = invert_own(loaded, self.reference, config=self.config(), propose=encoder)
        scale = scale_of(loaded)
        for picture, frame in zip(self.pictures, frames, strict=True):
            _One(self, loaded, encoder, picture, frame, own, scale).run()

    def trainable(self, class_index: int | None) -> tuple[StyleGAN2Generator, StyleGAN2Discriminator | None]:
        """The networks with weights that can be tuned, in float32, on the CPU.

        Raises:
            UserError: a generator that cannot be tuned.
        """
        from gan2shape.generators import StyleGAN2Generator
        from gan2shape.generators.functional import is_reference
        from gan2shape.generators.load import load_networks

        source = self.runtime.generator
        if not is_reference(source):
            networks = load_networks(source, class_index=class_index)
            if isinstance(networks.generator, StyleGAN2Generator):
                return networks.generator, networks.discriminator
        raise UserError(f"--space tuned: only the file of a StyleGAN2 can be tuned; {source} is none")

    def config(self) -> InvertConfig:
        """The settings of the search."""
        from gan2shape.generators import InvertConfig

        fifth = self.steps // 5
        return InvertConfig(
            samples=self.samples,
            restarts=self.restarts,
            survey_steps=fifth,
            narrow_steps=fifth,
            final_steps=self.steps - 2 * fifth,
            jitter=self.jitter,
            patience=self.patience,
            rows_steps=self.extra_steps if self.space == "w+" else 0,
        )

    def _check(self) -> None:
        if not self.pictures:
            raise UserError("expected a picture; try: gan2shape invert photo.jpg -o inversions")
        self.framing.check(self.pictures)
        limits: dict[str, tuple[float, float, float]] = {
            "--steps": (self.steps, 1, _MOST),
            "--restarts": (self.restarts, 1, 1000),
            "--samples": (self.samples, 1, _MOST),
            "--extra-steps": (self.extra_steps, 1, _MOST),
            "--jitter": (self.jitter, 0, 10),
            "--patience": (self.patience, 0, _MOST),
            "--locality": (self.locality, 0, 1000),
            "--reference": (self.reference, 0, 1000),
        }
        for flag, (value, least, most) in limits.items():
            if not least <= value <= most:
                raise UserError(f"{flag} must be from {least} to {most}; got {value}")
        stems = [picture.stem for picture in self.pictures]
        twice = sorted({stem for stem in stems if stems.count(stem) > 1})
        if twice:
            raise UserError(f"two pictures are called {twice[0]}, and would share a folder; rename or drop one")


@dataclass(frozen=True, eq=False)
class _One:
    """One photo of a command."""

    verb: Invert
    loaded: LoadedGenerator
    encoder: LatentEncoder | None
    file: Path
    frame: Frame | None
    own: OwnInversions | None
    scale: Scale

    def run(self) -> None:
        """Invert it, write its folder, and tell what came out."""
        import torch

        from gan2shape.cli.progress import ProgressBars
        from gan2shape.generators import invert, latent_rng
        from gan2shape.generators.typicality import likeness_of
        from gan2shape.io.checkpoints import write_tensors
        from gan2shape.io.files import FolderLock
        from gan2shape.io.images import read_image, write_image
        from gan2shape.reconstruct.watch import StepFinished

        device, folder = self.loaded.w_mean.device, self.verb.output / self.file.stem
        photo = read_image(self.file, size=self.loaded.generator.resolution, frame=self.frame).to(device)
        rng = latent_rng(self.verb.runtime.seed, device)
        with FolderLock(folder):
            (folder / REPORT_FILE).unlink(missing_ok=True)  # A folder that is being overwritten must not look finished.
            began, config = time.perf_counter(), self.verb.config()
            with ProgressBars(f"{self.file.stem}: into {self.verb.space}, seed {self.verb.runtime.seed}") as bars:
                found = invert(
                    self.loaded,
                    photo,
                    rng=rng,
                    config=config,
                    start_latents=None if self.encoder is None else self.encoder(photo),
                    on_progress=_step(bars, "latent", config.steps),
                )
                bars(StepFinished("latent"))
                pictures = {"w" if found.latent.ndim == 2 else "w+": found.image}
                final = self.loaded
                if self.verb.space == "tuned":
                    final = self._tuned(photo, found.latent, folder / GENERATOR_FILE, rng, bars)
                    with torch.no_grad():
                        pictures["tuned"] = final.generator.synthesize(found.latent).clamp(-1, 1)
                else:
                    (folder / GENERATOR_FILE).unlink(missing_ok=True)  # Of an earlier command.
            seconds = time.perf_counter() - began
            # How typical a latent is, is the untouched generator's to say: the tuned one was made to like it.
            likeness = likeness_of(self.loaded, photo, found.latent, self.scale)
            made_by = {"generator": json.dumps(final.record.to_dict(), sort_keys=True)}
            write_tensors(folder / LATENT_FILE, {"latent": found.latent.cpu()}, made_by)
            write_image(folder / PHOTO_FILE, photo)
            write_image(folder / PICTURE_FILE, list(pictures.values())[-1])
            _write_sheet(folder / SHEET_FILE, self.file.name, photo, pictures)
            report = self._report(photo, pictures, likeness, seconds)
            self._write_report(folder / REPORT_FILE, report, final)
        _tell(report, folder, likeness.warning())

    def _tuned(
        self, photo: Tensor, latent: Tensor, file: Path, rng: torch.Generator, bars: ProgressBars
    ) -> LoadedGenerator:
        """The generator tuned to the photo, from the file that it is written to."""
        import torch

        from gan2shape.generators import load_generator, save_generator
        from gan2shape.generators.tuning import TuningConfig, tune
        from gan2shape.reconstruct.watch import StepFinished

        device = photo.device
        generator, critic = self.verb.trainable(self.loaded.class_index)
        generator = generator.to(device)
        config = TuningConfig(steps=self.verb.extra_steps, locality_weight=self.verb.locality)
        tell = _step(bars, "tuning", config.steps)
        tuned = tune(generator, self.loaded.features, photo, latent, rng=rng, config=config, on_progress=tell)
        bars(StepFinished("tuning"))
        about = {"tuned_to": self.file.name, "tuned_from": self.loaded.name, "tuned_from_sha256": self.loaded.sha256}
        save_generator(
            file, tuned.generator.cpu(), critic, w_mean=self.loaded.w_mean.cpu(), metadata=about, dtype=torch.float32
        )
        return load_generator(file, device=device)

    def _report(self, photo: Tensor, pictures: dict[str, Tensor], likeness: Likeness, seconds: float) -> dict[str, Any]:
        """What came out, in numbers."""
        return {
            "picture": self.file.name,
            "space": self.verb.space,
            "fit": {name: fit(picture, photo) for name, picture in pictures.items()},
            "likeness": {
                **dataclasses.asdict(likeness),
                "share_of_unrelated": likeness.share,
                "poor": likeness.is_poor,
                "sentence": likeness.sentence(),
            },
            "own_pictures": None if self.own is None else dataclasses.asdict(self.own),
            "seconds": round(seconds, 2),
        }

    def _write_report(self, file: Path, report: dict[str, Any], final: LoadedGenerator) -> None:
        from gan2shape.io.files import write_json

        settings = {
            "seed": self.verb.runtime.seed,
            "search": dataclasses.asdict(self.verb.config()),
            "frame": None if self.frame is None else dataclasses.asdict(self.frame),
            "generator": self.loaded.record.to_dict(),
            "use_with": final.record.to_dict(),
        }
        write_json(file, {**report, **settings})


def fit(picture: Tensor, photo: Tensor) -> dict[str, float]:
    """PSNR in dB and SSIM of signed pictures (1, 3, R, R)."""
    import torch

    from gan2shape.evaluate.pictures import psnr, ssim

    a, b = (image.cpu() / 2 + 0.5 for image in (picture, photo))
    everywhere = torch.ones_like(a[:, :1], dtype=torch.bool)
    return {
        "psnr_db": round(float(psnr(a, b, everywhere)), 2),
        "ssim": round(float(ssim(a, b, everywhere)), 4),
    }


def _step(bars: ProgressBars, name: str, steps: int) -> Callable[[int, int], None]:
    """Begin a step of the progress bars; returns what tells it how far it is."""
    from gan2shape.reconstruct.watch import IterationDone, StepStarted

    bars(StepStarted(name, steps))
    return lambda done, total: bars(IterationDone(name, done - 1, {}))


def _write_sheet(file: Path, name: str, photo: Tensor, pictures: dict[str, Tensor]) -> None:
    """Photo, the generator's pictures of it, and where each differs."""
    from gan2shape.export.sheet import Band, Cell, write_contact_sheet

    cells = [Cell("photo", photo[0])]
    for space, picture in pictures.items():
        numbers = fit(picture, photo)
        cells.append(Cell(f"{space}: {numbers['psnr_db']:.1f} dB, SSIM {numbers['ssim']:.2f}", picture[0]))
    for space, picture in pictures.items():
        cells.append(Cell(f"{space}: difference", (picture - photo)[0].abs().mean(0, keepdim=True) * 2 - 1))
    shown = [Cell(cell.label, cell.image.clamp(-1, 1).cpu()) for cell in cells]
    write_contact_sheet(file, [Band(f"{name}: before and after", shown)])


def _tell(report: dict[str, Any], folder: Path, warning: str | None) -> None:
    for space, numbers in report["fit"].items():
        say(f"{space:<9} {numbers['psnr_db']:.1f} dB PSNR, SSIM {numbers['ssim']:.3f}")
    if warning is None:
        say(f"latent    {report['likeness']['sentence']}")
    if report["own_pictures"] is not None:
        own = report["own_pictures"]
        say(f"its own   {own['count']} pictures of the generator's own reach {own['psnr']:.1f} dB")
    if warning is not None:
        say(f"warning: {warning}")
    say(f"results:       {folder}")
    say(f"before, after: {folder / SHEET_FILE}")
