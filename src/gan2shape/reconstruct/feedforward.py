"""Methods that need one pass of trained networks: from a picture to the same result folder, without a GAN."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.export import export_result
from gan2shape.io.checkpoints import sha256
from gan2shape.io.files import FolderLock, write_text
from gan2shape.networks.trained import (
    SUPERVISED,
    UNSUP3D,
    DepthNetwork,
    load_depth_network,
    load_unsup3d,
    read_about,
)
from gan2shape.networks.turned import TURNED
from gan2shape.reconstruct.hidden_side import mirrored
from gan2shape.reconstruct.pipeline import PROGRESS_FILE, SHEET_FILE, TARGET_FILE, Job
from gan2shape.reconstruct.turned import load_one_pass
from gan2shape.render import Camera, Lighting, Pose, Scene
from gan2shape.result import GeneratorRecord, ReconstructionResult

METHODS = (TURNED, UNSUP3D, SUPERVISED)
DEPTH_ALONE = (
    "supervised predicts the depth of the view alone: the albedo is the picture itself under an even light, and the "
    "pose is that of the picture"
)
UNJUDGED = (
    "one pass takes every picture for one like those of its training, and does not say how far it is from them; "
    "reconstruct without --fast does"
)
_LOG_FILE = "log.txt"


@dataclass(frozen=True, eq=False)
class TrainedMethod:
    """A method with its trained weights.

    Attributes:
        name: one of `METHODS`.
        camera: what the scenes are seen with; its size is that of the pictures.
        predict: signed pictures (1, 3, S, S) to scenes of batch 1.
        weights: the file's name and SHA-256.
        about: how the weights were trained, plain JSON values.
        warnings: what a user has to know of every result.
        alike: whether it takes its category to look alike in a mirror: the hidden side is then painted like the other.
    """

    name: str
    camera: Camera
    predict: Callable[[Tensor], Scene]
    weights: GeneratorRecord
    about: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    alike: bool = False

    @property
    def size(self) -> int:
        """Side of the pictures in px."""
        return self.camera.image_size


def load_method(name: str, file: Path, device: torch.device | str = "cpu") -> TrainedMethod:
    """One of `METHODS`, with the weights that ``gan2shape train`` wrote.

    Raises:
        CheckpointError: damaged, of another method, or with weights that do not fit.
        ValueError: no such method.
    """
    predict: Callable[[Tensor], Scene]
    warnings: tuple[str, ...] = ()
    if name == UNSUP3D:
        factors = load_unsup3d(file).to(device)
        camera, predict = Camera(factors.image_size), factors.__call__
    elif name == SUPERVISED:
        network = load_depth_network(file).to(device)
        camera, predict, warnings = Camera(network.image_size), partial(depth_scene, network), (DEPTH_ALONE,)
    elif name == TURNED:
        one_pass = load_one_pass(file, device)
        camera, predict, warnings = one_pass.camera, one_pass.__call__, (UNJUDGED,)
    else:
        raise ValueError(f"the method must be one of {', '.join(METHODS)}; got {name!r}")
    record = GeneratorRecord(file.name, sha256(file))

    def on_device(image: Tensor) -> Scene:
        with torch.no_grad():
            return predict(image.to(device))

    return TrainedMethod(name, camera, on_device, record, read_about(file), warnings, alike=name == TURNED)


def depth_scene(network: DepthNetwork, image: Tensor) -> Scene:
    """A scene that shows signed pictures (B, 3, S, S) exactly: their depth, painted with the pictures themselves."""
    one, zero = image.new_ones(len(image), 1), image.new_zeros(len(image), 1)
    return Scene(
        depth=network(image),
        albedo=image,
        pose=Pose.identity(len(image), like=image),
        lighting=Lighting(ambient=one, diffuse=zero, direction=torch.cat((zero, zero, one), dim=1)),
    )


def reconstruct_feed_forward(
    job: Job, method: TrainedMethod, *, seed: int = 0, resume: bool = False
) -> ReconstructionResult:
    """Reconstruct one picture, at the method's size, into ``job.folder``, which is locked meanwhile.

    Args:
        job: the picture (1, 3, S, S) with the method's S; its latent is not used.
        method: what reconstructs.
        seed: written down; nothing is random.
        resume: return a finished result of the same picture, mask and weights as it is.

    Raises:
        InputError: a picture of another size, or a finished result of another job while resuming.
        OutputError: the folder cannot be written, or another run holds it.
    """
    if job.picture.shape != (1, 3, method.size, method.size):
        raise InputError(f"expected a picture (1, 3, {method.size}, {method.size}); got {tuple(job.picture.shape)}")
    mask = job.masker(job.picture)
    with FolderLock(job.folder):
        if resume and (job.folder / "config.json").exists():
            return _finished(job.folder, method, job.picture, mask)
        for name in (PROGRESS_FILE, TARGET_FILE, "config.json", SHEET_FILE):
            (job.folder / name).unlink(missing_ok=True)
        began = time.perf_counter()
        scene = method.predict(job.picture)
        outline = None
        if method.alike:
            scene, outline = mirrored(scene, mask.to(scene.depth), method.camera)
        seconds = time.perf_counter() - began
        geometry = {"working_size_px": method.size, "pivot_depth": method.camera.pivot_depth}
        result = ReconstructionResult(
            scene=scene.detach(),
            camera=method.camera,
            mask=mask.to(scene.depth),
            image=job.picture.to(scene.depth),
            latent=None,
            networks={},
            generator=method.weights,
            config={"name": method.name, "stages": [], "geometry": geometry},
            seed=seed,
            warnings=method.warnings,
            method=method.name,
            outline=outline,
        )
        export_result(result, job.folder)
        lines = [f"{method.name}: {seconds:.3f} s", *(f"warning: {line}" for line in method.warnings)]
        write_text(job.folder / _LOG_FILE, "".join(f"{line}\n" for line in lines))
    return result


def _finished(folder: Path, method: TrainedMethod, image: Tensor, mask: Tensor) -> ReconstructionResult:
    result = ReconstructionResult.load(folder)
    differences = {
        "another method": result.method != method.name,
        "other weights": result.generator.sha256 != method.weights.sha256,
        "another picture": not torch.equal(result.image, image.cpu()),
        "another mask": not torch.equal(result.mask, mask.cpu()),
    }
    for what, differs in differences.items():
        if differs:
            raise InputError(
                f"{folder}: holds a finished result with {what}; repeat its command, or leave --resume out"
            )
    return result
