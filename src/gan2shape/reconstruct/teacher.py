"""A generator's own objects, refined one by one as a picture is: what ``gan2shape train distill`` learns from.

A refinement takes seconds for one object and knows the poses of its views better than any network that sees them once.
Networks that learn its answers for many objects are a picture's first guess. This is ours, not the paper's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from gan2shape.distributed import any_process, apart, world
from gan2shape.errors import InputError
from gan2shape.generators import LoadedGenerator
from gan2shape.io.checkpoints import read_metadata, read_tensors, write_tensors
from gan2shape.networks.one_pass import TurnedStart
from gan2shape.networks.trained import fingerprint
from gan2shape.reconstruct.config import Turned
from gan2shape.reconstruct.optimize import DivergedError
from gan2shape.reconstruct.progress import step_rng
from gan2shape.reconstruct.turned import framing_for
from gan2shape.reconstruct.turned_refinement import ViewPoses, paint_views, refine_turned

_SETTINGS, _RAN_AWAY = "settings", "ran_away"


def refined_object(
    loaded: LoadedGenerator, start: TurnedStart, number: int, *, settings: Turned, truncation: float, seed: int
) -> dict[str, Tensor]:
    """Object ``number`` of a seed, refined once on views of its own.

    Args:
        loaded: the generator, with a prior to draw from.
        start: what the refinement starts from.
        number: which object, from 0.
        settings: of the refinement.
        truncation: of the object: how far it may be from the mean latent.
        seed: which objects, and their views.

    Returns:
        ``view`` (1 + V, 3, S, S), bytes: the picture as it was drawn and its views; ``pose`` (1 + V, 6) theirs,
        refined, in network units; ``front`` (3, S, S), bytes, and ``front_pose`` (6,): the object facing the camera;
        ``depth`` (1, S, S) the canonical depth, scene units, and ``mask`` (1, S, S), truth values, where it is the
        object's.

    Raises:
        DivergedError: the refinement ran away.
    """

    def rng(name: str) -> torch.Generator:
        return step_rng(seed, f"{name} of object {number}", loaded.w_mean.device, shared=True)

    framing, nets = framing_for(loaded, start.networks), deepcopy(start.networks).requires_grad_(True)
    with torch.no_grad():
        latent = loaded.sample_latents(1, rng=rng("latent"), truncation=truncation)
        image = framing.to_working(loaded.generator.synthesize(latent)).clamp(-1, 1)
    shown = paint_views(image, loaded, start.turning, framing, settings=settings, rng=rng("views"))
    poses = ViewPoses(shown)
    # Without a mask, so that the picture is not compared with its mirror image: shapes lean then (docs/quality.md).
    scene = refine_turned(
        nets,
        image,
        shown,
        poses=poses,
        steps=settings.refine,
        settings=settings,
        rng=rng("refinement"),
        told=start.turning.depth(image),
        on_iteration=lambda iteration, record: None,
    )
    every = torch.arange(len(shown.view), device=image.device)
    with torch.no_grad():
        units = poses(every)
    view, front = (((image.clamp(-1, 1) + 1) * 127.5).round().byte() for image in (shown.view, shown.front))
    found = {"view": view, "pose": units[1:], "front": front[0], "front_pose": units[0]}
    found |= {"depth": scene.depth[0].detach(), "mask": shown.mask[0] > 0.5}
    return {name: tensor.cpu() for name, tensor in found.items()}


def refined_objects(
    folder: Path,
    loaded: LoadedGenerator,
    start: TurnedStart,
    *,
    count: int,
    settings: Turned,
    truncation: float,
    seed: int,
    on_done: Callable[[int], None],
) -> list[dict[str, Tensor]]:
    """Objects 0 … ``count`` - 1 without those whose refinement ran away; each is a file of ``folder`` as soon as it is
    done, and files that are there are not made again. Several processes share the work.

    Args:
        folder: where they are kept.
        loaded: see `refined_object`, as ``start``, ``settings``, ``truncation`` and ``seed``.
        start: of the refinements.
        count: objects.
        settings: of the refinements.
        truncation: of the objects.
        seed: of everything random.
        on_done: told how many are done, by all processes together.

    Raises:
        InputError: a file of ``folder`` belongs to other settings, generator, networks or encoder; or every refinement
            ran away.
        OutputError: the folder cannot be written.
    """
    own = {**asdict(settings), "truncation": truncation, "seed": seed, "generator": loaded.identity}
    own |= {"networks": fingerprint(start.networks), "encoder": fingerprint(start.turning.encoder)}
    own["directions"] = fingerprint(start.turning.tensors())
    text = json.dumps(own, sort_keys=True)
    files = [folder / f"{number:06d}.safetensors" for number in range(count)]
    for file in files:
        if file.exists() and read_metadata(file).get(_SETTINGS) != text:
            raise InputError(
                f"{file}: expected an object of the same settings, generator, networks and encoder; got another; use "
                "the same flags, or another folder"
            )
    rank, processes = world()
    for first in range(0, count, processes):
        number = first + rank
        if number < count and not files[number].exists():
            try:
                with apart():
                    tensors = refined_object(loaded, start, number, settings=settings, truncation=truncation, seed=seed)
            except DivergedError:
                tensors = {_RAN_AWAY: torch.ones(1)}
            write_tensors(files[number], tensors, {_SETTINGS: text})
        any_process(False)  # Nobody runs ahead, so that nobody waits for long.
        on_done(min(first + processes, count))
    found = [tensors for tensors in map(read_tensors, files) if _RAN_AWAY not in tensors]
    if not found:
        raise InputError(f"{folder}: expected objects to learn from; all {count} refinements ran away")
    return found
