"""A generator's own objects, refined one by one as a picture is: what ``gan2shape train distill`` learns from.

A refinement takes seconds for one object and knows the poses of its views better than any network that sees them once.
Networks that learn its answers for many objects are a picture's first guess. This is ours, not the paper's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from gan2shape.distributed import any_process, apart, world
from gan2shape.errors import InputError
from gan2shape.generators import LoadedGenerator
from gan2shape.io.checkpoints import read_metadata, read_tensors, write_tensors
from gan2shape.networks.agreement import FrontsAndViews
from gan2shape.networks.trained import fingerprint
from gan2shape.networks.turned import TurnedNetworks
from gan2shape.reconstruct.config import Turned
from gan2shape.reconstruct.optimize import DivergedError
from gan2shape.reconstruct.progress import step_rng
from gan2shape.reconstruct.turned import TurnedStart, framing_for
from gan2shape.reconstruct.turned_refinement import ViewPoses, lay_upon, paint_views, refine_turned

_SETTINGS, _RAN_AWAY = "settings", "ran_away"
_LAYING_STEPS = 40
"""Iterations in which an object is laid upon the common shape."""


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
        refined, in network units; ``front`` (3, S, S), bytes, and ``front_pose`` (6,) those of the object from the
        front; ``depth`` (1, S, S) the canonical depth, scene units, and ``mask`` (1, S, S), truth values, where it is
        the object's.

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
    scene = refine_turned(
        nets,
        image,
        shown,
        poses=poses,
        steps=settings.refine,
        settings=settings,
        rng=rng("refinement"),
        on_iteration=lambda iteration, record: None,
    )
    every = torch.arange(len(shown.view), device=image.device)
    with torch.no_grad():
        units = poses(every)
    found = {"view": in_bytes(shown.view), "pose": units[1:], "front": in_bytes(shown.front[0]), "front_pose": units[0]}
    found |= {"depth": scene.depth[0].detach(), "mask": shown.mask[0] > 0.5}
    return {name: tensor.cpu() for name, tensor in found.items()}


def in_bytes(images: Tensor) -> Tensor:
    """Signed pictures as bytes."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().byte()


def common_shape(objects: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """The mean canonical depth (1, 1, S, S) of objects, which is taken to look the same in a mirror."""
    depths = torch.stack([one["depth"] for one in objects])
    return (depths + depths.flip(-1)).mean(dim=0, keepdim=True) / 2


def laid_object(nets: TurnedNetworks, shape: Tensor, one: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An object whose poses are those that the common shape would have in its pictures.

    A refinement knows by how much views are turned, but hardly where ahead is: a front that looked aside or up by some
    degrees became that object's own frame. The shape that all objects have in common tells.

    Args:
        nets: see the light of fronts.
        shape: `common_shape` (1, 1, S, S).
        one: see `refined_object`.

    Returns:
        ``pose`` (1 + V, 6) in network units.
    """
    device = shape.device
    known = torch.cat([one["front_pose"][None], one["pose"]]).to(device)
    front, view = (one[name].to(device).float() / 127.5 - 1 for name in ("front", "view"))
    owner = torch.zeros(len(view), dtype=torch.long, device=device)
    mask = one["mask"][None].to(device).float()
    shown = FrontsAndViews(front[None], mask, known[:1], view, known[1:], owner)
    poses = ViewPoses(shown).to(device)
    lay_upon(nets, shape, shown, poses=poses, steps=_LAYING_STEPS)
    with torch.no_grad():
        return {"pose": poses(torch.arange(len(view), device=device))[1:].cpu()}


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

    def made(number: int) -> dict[str, Tensor]:
        return refined_object(loaded, start, number, settings=settings, truncation=truncation, seed=seed)

    found = [tensors for tensors in _shared(files, made, text, on_done) if _RAN_AWAY not in tensors]
    if not found:
        raise InputError(f"{folder}: expected objects to learn from; all {count} refinements ran away")
    return found


def laid_objects(
    folder: Path,
    nets: TurnedNetworks,
    objects: Sequence[Mapping[str, Tensor]],
    *,
    on_done: Callable[[int], None],
) -> list[dict[str, Tensor]]:
    """The same objects, laid upon the shape that they have in common (`laid_object`); kept and shared as those of
    `refined_objects` are. One whose poses run away keeps its own.

    Args:
        folder: where their poses are kept; files of other objects or networks are written anew.
        nets: see the light of fronts.
        objects: see `refined_object`.
        on_done: told how many are done, by all processes together.

    Raises:
        OutputError: the folder cannot be written.
    """
    shape = common_shape(objects).to(next(nets.parameters()).device)
    text = json.dumps({"networks": fingerprint(nets), "shape": fingerprint({"depth": shape})})
    files = [folder / f"{number:06d}.safetensors" for number in range(len(objects))]
    for file in files:
        if world()[0] == 0 and file.exists() and read_metadata(file).get(_SETTINGS) != text:
            file.unlink()
    any_process(False)  # All wait for the first.
    laid = _shared(files, lambda number: laid_object(nets, shape, objects[number]), text, on_done)
    return [{**one, **found} if _RAN_AWAY not in found else dict(one) for one, found in zip(objects, laid, strict=True)]


def _shared(
    files: Sequence[Path], made: Callable[[int], dict[str, Tensor]], settings: str, on_done: Callable[[int], None]
) -> list[dict[str, Tensor]]:
    """What the files hold, in their order; those that are missing are made, every process its share of them."""
    rank, processes = world()
    for first in range(0, len(files), processes):
        number = first + rank
        if number < len(files) and not files[number].exists():
            try:
                with apart():
                    tensors = made(number)
            except DivergedError:
                tensors = {_RAN_AWAY: torch.ones(1)}
            write_tensors(files[number], tensors, {_SETTINGS: settings})
        any_process(False)  # Nobody runs ahead, so that nobody waits for long.
        on_done(min(first + processes, len(files)))
    return [read_tensors(file) for file in files]
