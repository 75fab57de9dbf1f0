"""``gan2shape reconstruct --method``: methods that need trained weights instead of a GAN."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gan2shape.cli.runtime import say
from gan2shape.errors import UserError
from gan2shape.reconstruct.presets import PRESETS

GAN2SHAPE: Final = "gan2shape"
"""The method of this package's name; all others are trained networks."""
TURNED: Final = "turned"
"""The one whose weights are bundled."""
_KEPT = 16
"""Pictures and masks that are kept in memory and not read twice."""

if TYPE_CHECKING:
    from gan2shape.cli.reconstruct import Reconstruct
    from gan2shape.reconstruct.feedforward import TrainedMethod
    from gan2shape.reconstruct.pipeline import Job


def check_method(verb: Reconstruct) -> None:
    """Refuse flags that belong to another method.

    Raises:
        UserError: naming the flag.
    """
    if verb.method == GAN2SHAPE:
        if verb.weights is not None:
            raise UserError("--weights goes with --method turned, unsup3d or supervised; gan2shape has a --generator")
        return
    if verb.weights is None and verb.method != TURNED:
        raise UserError(f"--method {verb.method} needs --weights FILE, as gan2shape train {verb.method} writes them")
    foreign = {
        "--sample": verb.sample,
        "--latent": verb.latent,
        "--pretrained": verb.pretrained,
        "--priors": verb.priors,
        "--vgg": verb.vgg,
        "--lpips": verb.lpips,
        "--download-vgg": verb.download_vgg,
        "--generator": verb.runtime.generator != "bundled",
        "--class": verb.runtime.class_index is not None,
        "--features": verb.runtime.features is not None,
        "--view-mvn": verb.original.view_mvn,
        "--light-mvn": verb.original.light_mvn,
        "--compat": verb.original.compat,
        "--preset and --config": verb.config != PRESETS["default"],
    }
    for flag, given in foreign.items():
        if given:
            raise UserError(f"{flag}: of the method gan2shape; --method {verb.method} has no use for it")


def with_method(verb: Reconstruct) -> Reconstruct:
    """The verb with ``--fast`` as the method that it is short for.

    Raises:
        UserError: another method is named too.
    """
    if not verb.fast:
        return verb
    if verb.method not in (GAN2SHAPE, TURNED):
        raise UserError(f"--fast is --method turned; got --method {verb.method} too")
    return dataclasses.replace(verb, method=TURNED, fast=False)


def plan_of(verb: Reconstruct, folders: list[Path]) -> dict[str, Any]:
    """What ``--dry-run`` prints of a method with weights."""
    return {
        "inputs": dict(zip(map(str, verb.pictures), map(str, folders), strict=True)),
        "mask": verb.mask,
        "method": verb.method,
        "weights": str(verb.weights or "bundled"),
        "device": verb.runtime.device,
        "threads": verb.runtime.threads,
    }


def run_method(verb: Reconstruct, folders: list[Path]) -> None:
    """Reconstruct all pictures of ``verb`` by its method and weights.

    Raises:
        UserError: a picture, mask, file of weights or folder that cannot be used.
    """
    from gan2shape.cli.progress import tracked
    from gan2shape.cli.runtime import check_seed
    from gan2shape.networks.turned import bundled_turned
    from gan2shape.reconstruct.feedforward import load_method, reconstruct_feed_forward
    from gan2shape.reconstruct.pipeline import SHEET_FILE

    check_seed(verb.runtime.seed, "--seed")
    method = load_method(verb.method, verb.weights or bundled_turned(), verb.runtime.torch_device())
    # Every input is read once before the first result, so that a mistake in the last one shows at once. Many are read
    # again later: they need not fit into memory together.
    kept = [job for number, job in enumerate(_jobs(verb, method, folders)) if number < _KEPT]
    jobs = kept if len(folders) <= _KEPT else _jobs(verb, method, folders)
    for job in tracked(jobs, verb.method, total=len(folders)):
        reconstruct_feed_forward(job, method, seed=verb.runtime.seed, resume=verb.resume)
    for warning in method.warnings:
        say(f"warning: {warning}")
    for folder in folders:
        say(f"results:       {folder}")
        say(f"contact sheet: {folder / SHEET_FILE}")


def _jobs(verb: Reconstruct, method: TrainedMethod, folders: list[Path]) -> Iterator[Job]:
    """The jobs one by one, each read when it is wanted.

    Raises:
        UserError: a picture or mask that cannot be used.
    """
    from gan2shape.cli.inputs import fixed_masker
    from gan2shape.io.images import read_image
    from gan2shape.reconstruct.pipeline import Job
    from gan2shape.reconstruct.target import Framing

    framing = Framing(method.size, method.size, method.size)
    for source, folder in zip(verb.pictures, folders, strict=True):
        frame = verb.framing.frame_of(source)
        picture = read_image(source, size=method.size, frame=frame)
        yield Job(picture, folder, fixed_masker(verb.mask, picture, framing, source, frame))
