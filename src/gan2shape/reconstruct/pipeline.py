"""From a picture to a result folder: latent, mask, reconstruction, files; resumable after every finished step."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan2shape.errors import InputError
from gan2shape.export import export_result
from gan2shape.generators import LoadedGenerator
from gan2shape.generators.invert import InvertConfig, invert
from gan2shape.generators.protocol import FeatureExtractor
from gan2shape.generators.typicality import Likeness, likeness_of
from gan2shape.io.checkpoints import read_metadata, read_tensors, write_tensors
from gan2shape.io.files import FolderLock, write_text
from gan2shape.networks.latents import encoder_of
from gan2shape.reconstruct.config import Inversion, ReconstructConfig, config_from_dict
from gan2shape.reconstruct.painting import gan_projection
from gan2shape.reconstruct.progress import (
    gather_weights,
    identity_hash,
    load_progress,
    save_progress,
    step_rng,
    weights_hash,
)
from gan2shape.reconstruct.reconstructor import Reconstructor, depth_range_of, reconstructor_for
from gan2shape.reconstruct.target import Target
from gan2shape.reconstruct.turned import TurnedReconstructor
from gan2shape.reconstruct.watch import Event, IterationDone, OnEvent, StepFinished, StepStarted, Stopped, ignore
from gan2shape.result import GAN2SHAPE, ReconstructionResult

INVERSION = "inversion"
PROGRESS_FILE = ".progress.safetensors"
TARGET_FILE = ".target.safetensors"
SHEET_FILE = "contact_sheet.png"


@dataclass(frozen=True, eq=False)
class Job:
    """One picture to reconstruct.

    Attributes:
        picture: at the generator's resolution, (1, 3, R, R), signed.
        folder: where the result goes.
        masker: finds the object in a working picture (1, 3, S, S): a mask (1, 1, S, S).
        latent: of the picture, (1, latent_dim) or (1, num_ws, latent_dim), if it is known.
    """

    picture: Tensor
    folder: Path
    masker: Callable[[Tensor], Tensor]
    latent: Tensor | None = None


def find_latent(
    picture: Tensor, loaded: LoadedGenerator, settings: Inversion, *, seed: int, on_event: OnEvent = ignore
) -> tuple[Tensor, float]:
    """The latent (1, latent_dim) of a picture (1, 3, R, R), by optimisation, and the PSNR in dB that it reaches."""
    numbers = dataclasses.asdict(settings)
    del numbers["encoder"]
    config = InvertConfig(**numbers)
    device = loaded.w_mean.device
    on_event(StepStarted(INVERSION, config.steps))
    encoder = encoder_of(loaded.identity, latent_dim=loaded.generator.latent_dim) if settings.encoder else None
    with torch.no_grad():
        proposed = None if encoder is None else encoder.to(device)(picture.to(device))
    found = invert(
        loaded,
        picture.to(device),
        rng=step_rng(seed, INVERSION, device),
        config=config,
        start_latents=proposed,
        on_progress=lambda done, total: on_event(IterationDone(INVERSION, done - 1, {})),
    )
    on_event(StepFinished(INVERSION))
    return found.latent, found.psnr


def check_latent(latent: Tensor, loaded: LoadedGenerator) -> Tensor:
    """The latent as (1, latent_dim) or (1, num_ws, latent_dim) float32.

    Raises:
        InputError: another size, or numbers that are not finite.
    """
    width = loaded.generator.latent_dim
    latent = latent.detach().float()
    latent = latent[None] if latent.ndim == 1 else latent
    rows = getattr(loaded.generator, "num_ws", None)
    good = latent.ndim in (2, 3) and latent.shape[0] == 1 and latent.shape[-1] == width
    if not good or (latent.ndim == 3 and latent.shape[1] != rows):
        layered = "" if rows is None else f", or {rows} x {width}"
        raise InputError(f"the latent must be {width} numbers{layered}, for this generator; got {tuple(latent.shape)}")
    if not bool(torch.isfinite(latent).all()):
        raise InputError("the latent holds NaN or infinite numbers; invert the picture again, or leave --latent out")
    return latent


def reconstruct_job(
    job: Job,
    loaded: LoadedGenerator,
    config: ReconstructConfig,
    *,
    seed: int = 0,
    resume: bool = False,
    features: FeatureExtractor | None = None,
    initial_weights: Mapping[str, Tensor] | None = None,
    on_event: OnEvent = ignore,
) -> ReconstructionResult:
    """Reconstruct one picture into ``job.folder``, which is locked meanwhile.

    With ``initial_weights`` (`Pretrained.weights`) the networks start from them instead of the ellipsoid. With
    ``resume`` the steps that an interrupted run of the same job finished are taken over; a finished result of the same
    job is returned as it is.

    Raises:
        InputError: a latent or mask that does not fit, or kept progress of another job.
        OutputError: the folder cannot be written, or another run holds it.
    """
    log = _Log(on_event)
    log.warn_of(config)
    reconstructor = reconstructor_for(loaded, config, features=features, initial_weights=initial_weights)
    device = reconstructor.device
    image = reconstructor.framing.to_working(job.picture.to(device))
    mask = job.masker(image)
    latent = None if job.latent is None else check_latent(job.latent, loaded).to(device)
    identity = _identity(job, mask, latent, reconstructor, features, seed)
    with FolderLock(job.folder):
        progress_file, target_file = job.folder / PROGRESS_FILE, job.folder / TARGET_FILE
        if not resume:
            # An earlier result ends here: a folder that is being overwritten must not look finished.
            for file in (progress_file, target_file, job.folder / "config.json", job.folder / SHEET_FILE):
                file.unlink(missing_ok=True)
        elif not progress_file.exists() and not target_file.exists() and (job.folder / "config.json").exists():
            return _finished(job.folder, identity, image, mask, latent)
        kept = load_progress(progress_file, identity, device) if progress_file.exists() else None
        if latent is None:
            latent = _latent_of(job, loaded, config.inversion, target_file, identity, seed=seed, on_event=log)
        log.judge(likeness_of(loaded, job.picture.to(device), latent))
        result = reconstructor(
            Target(image, latent, mask),
            seed=seed,
            on_event=log,
            resume=kept,
            keep=partial(save_progress, progress_file, identity=identity),
        )
        result = dataclasses.replace(result, warnings=(*log.warnings, *result.warnings))
        write_result(result, job.folder, loaded, on_event=log)
        write_text(job.folder / "log.txt", log.text())
        for file in (progress_file, target_file):
            file.unlink(missing_ok=True)
    return result


def write_result(
    result: ReconstructionResult, folder: Path, loaded: LoadedGenerator, *, on_event: OnEvent = ignore
) -> None:
    """Write the whole result folder, the GAN's views and lights among it."""
    config = config_from_dict(result.config)
    name = "files"
    parts = 0

    def on_progress(what: str, done: int, total: int) -> None:
        nonlocal parts
        if done == 0:
            parts = total
            on_event(StepStarted(name, total))
        else:
            on_event(IterationDone(name, done - 1, {}))

    export_result(
        result,
        folder,
        project=gan_projection(result, loaded, config),
        depth_range=depth_range_of(config.geometry),
        yaw_limit_deg=config.yaw_limit_deg,
        on_progress=on_progress,
    )
    on_event(IterationDone(name, parts - 1, {}))
    on_event(StepFinished(name))


def _latent_of(
    job: Job,
    loaded: LoadedGenerator,
    settings: Inversion,
    file: Path,
    identity: dict[str, Any],
    *,
    seed: int,
    on_event: _Log,
) -> Tensor:
    """The latent of a job's picture: found by optimisation and kept in ``file``, or taken from an interrupted run."""
    mark = identity_hash(repr(sorted(identity.items())))
    if file.exists() and read_metadata(file).get("identity") == mark:
        on_event(StepFinished(INVERSION, resumed=True))
        kept = read_tensors(file)
        latent, psnr = check_latent(kept["latent"], loaded).to(loaded.w_mean.device), float(kept["psnr"])
    else:
        latent, psnr = find_latent(job.picture, loaded, settings, seed=seed, on_event=on_event)
        write_tensors(file, {"latent": latent.cpu(), "psnr": torch.tensor(psnr)}, {"identity": mark})
    on_event.note(f"inversion reached {psnr:.1f} dB PSNR")
    return latent


def _identity(
    job: Job,
    mask: Tensor,
    latent: Tensor | None,
    reconstructor: Reconstructor | TurnedReconstructor,
    features: FeatureExtractor | None,
    seed: int,
) -> dict[str, Any]:
    """What must be the same for a run to go on where another one stopped."""
    start = reconstructor.initial_weights
    return {
        "picture": identity_hash(job.picture),
        "mask": identity_hash(mask),
        "latent": "" if latent is None else identity_hash(latent),
        "generator": reconstructor.loaded.identity,
        "perceptual features": _fingerprint(features) or reconstructor.loaded.features_from,
        "start": "" if start is None else weights_hash(start),
        "configuration": reconstructor.config.to_dict(),
        "seed": seed,
    }


def _fingerprint(features: FeatureExtractor | None) -> str:
    """Tells one feature extractor from another; empty for the GAN's own, which belong to its checkpoint."""
    if features is None:
        return ""
    weights = gather_weights({"": features}) if isinstance(features, nn.Module) else {}
    return identity_hash(type(features).__name__ + weights_hash(weights))


def _finished(
    folder: Path, identity: dict[str, Any], image: Tensor, mask: Tensor, latent: Tensor | None
) -> ReconstructionResult:
    """The finished result of the same job.

    Raises:
        InputError: the folder holds the result of another job.
    """
    result = ReconstructionResult.load(folder)
    try:
        configuration = config_from_dict(result.config).to_dict()
    except ValueError:
        configuration = {}  # Of another version or method.
    differences = {
        "another method": result.method != GAN2SHAPE,
        "other settings": configuration != identity["configuration"],
        "another seed": result.seed != identity["seed"],
        "another generator": result.generator.identity != identity["generator"],
        "another picture": not torch.equal(result.image, image.cpu()),
        "another mask": not torch.equal(result.mask, mask.cpu()),
        "another latent": latent is not None and not _same(result.latent, latent),
    }
    for what, differs in differences.items():
        if differs:
            raise InputError(
                f"{folder}: holds a finished result with {what}; repeat its command, or leave --resume out"
            )
    return result


def _same(kept: Tensor | None, asked: Tensor) -> bool:
    return kept is not None and torch.equal(kept, asked.cpu())


class _Log:
    """Passes events on, and keeps what ``log.txt`` tells: seconds of every step, notes, warnings."""

    def __init__(self, on_event: OnEvent) -> None:
        self.on_event = on_event
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.began: dict[str, float] = {}
        self.losses: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Note one event."""
        if isinstance(event, StepStarted):
            self.began[event.name] = time.perf_counter()
        elif isinstance(event, IterationDone) and "total" in event.record:
            self.losses[event.name] = event.record["total"]
        elif isinstance(event, StepFinished) and event.resumed:
            self.lines.append(f"{event.name}: kept from an earlier run")
        elif isinstance(event, StepFinished):
            loss = f", loss {self.losses[event.name]:.5f}" if event.name in self.losses else ""
            self.lines.append(f"{event.name}: {time.perf_counter() - self.began[event.name]:.1f} s{loss}")
        elif isinstance(event, Stopped):
            self.lines.append(f"{event.name}: stopped early: {event.reason}")
        self.on_event(event)

    def note(self, line: str) -> None:
        """Keep a line."""
        self.lines.append(line)

    def warn(self, line: str) -> None:
        """Keep a line, and show it to the user as a warning of the result."""
        self.warnings.append(line)
        self.lines.append(f"warning: {line}")

    def judge(self, likeness: Likeness) -> None:
        """Keep how well the latent shows the picture, with a warning where it does not."""
        self.note(f"picture of the latent: {likeness.sentence()}")
        warning = likeness.warning()
        if warning is not None:
            self.warn(warning)

    def warn_of(self, config: ReconstructConfig) -> None:
        """Tell what the published schedule starts from and this run does not have."""
        if config.assumes:
            self.warn(
                f"the preset {config.name} is published with {config.assumes}; without them this run starts from the "
                "ellipsoid and draws from the generic prior"
            )

    def text(self) -> str:
        """All lines."""
        return "".join(f"{line}\n" for line in self.lines)
