"""``gan2shape train align``: poses of a generator's pictures, found by laying them upon each other, are learned."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from tyro.conf import arg

from gan2shape.cli.runtime import Runtime, say
from gan2shape.cli.start import StartFlags, encoder_along
from gan2shape.cli.training import AdamFlags
from gan2shape.errors import CheckpointError, InputError, UserError

if TYPE_CHECKING:
    from torch import Tensor

    from gan2shape.generators import LoadedGenerator
    from gan2shape.networks.one_pass import TurnedStart

ALIGNED = "aligned.safetensors"
"""File of the pictures, their poses and the template, in the run folder."""
TEMPLATE = "template."
"""What the names of the template's tensors begin with in it."""
_MOST = 10_000
"""Pictures at most: the processes of torchrun that wait for the first do so for half an hour."""
FRONTS, ALWAYS = 64, 0.9
"""Objects that are turned to the front to see where the category is, and the share of them that must be there."""


@dataclass(frozen=True)
class Align(Runtime, AdamFlags, StartFlags):
    """Teach one pass the poses that suit what all of the generator's pictures have in common, without any truth.

    Needs networks of "train distill". Their poses and shapes bring many of the generator's pictures to the canonical
    frame, where what they have in common is found; then every pose is moved a little until that, seen under it, is the
    picture (a minute or two for a thousand pictures; once all are done they are kept in the run folder, and the same
    command goes on with them; --minutes does not count it). The network of poses goes on learning from these. Shapes
    stay as they are. Aligning what was aligned, with another --seed, goes on from the better poses. Everything, an
    encoder that is not the bundled one too, is in snapshots/weights.safetensors in the run folder, for reconstruct
    --method turned.

    For example:
      $ gan2shape train align -o align --bfloat16
      $ gan2shape train align --generator ffhq.pt --encoder encoder.safetensors --init distilled.safetensors -o align
    """

    made_by: ClassVar[str] = "gan2shape train distill"
    memory_advice: ClassVar[str] = "close other programs, or start anew with a smaller --batch-size or --count"

    learning_rate: Annotated[float, arg(metavar="RATE")] = 2e-4
    """Adam's learning rate at the first iteration."""
    final_rate: Annotated[float, arg(metavar="FACTOR")] = 0.05
    """Learning rate of the last iteration as a fraction of the first; it falls exponentially over --steps, which
    cannot be changed after the start unless this is 1."""
    steps: Annotated[int, arg(metavar="COUNT")] = 1_000
    """Iterations in all, those of earlier runs included."""
    count: Annotated[int, arg(metavar="COUNT")] = 3_000
    """Pictures that are aligned."""

    def run(self) -> None:
        """Align, then train.

        Raises:
            UserError: flags, a generator, networks, an encoder or a folder that cannot be used.
        """
        settings = self.settings(self.seed)
        self._check()
        from gan2shape.cli.validation import read_validation
        from gan2shape.distributed import process_group
        from gan2shape.io.checkpoints import sha256
        from gan2shape.networks.template import template_of
        from gan2shape.networks.trained import NetworkSizes, describe, fingerprint, read_about
        from gan2shape.reconstruct.pretrain import PRIORS
        from gan2shape.train.distill import DistillTask, RefinedViews
        from gan2shape.train.run import check_folder

        check_folder(self.output, resume=self.resume)
        with process_group(self.torch_device()) as device:
            self.check_share()
            loaded = self.load()
            file, start = self.start_of(loaded)
            if start.turning.shape is None or not start.turning.tells_poses:
                raise CheckpointError(
                    f"{file.name}: expected networks of gan2shape train distill; these tell no shapes or no poses"
                )
            size = start.networks.image_size
            validate = None if self.validate is None else read_validation(self.validate, size)
            found = self._aligned(loaded, start, sha256(file))
            image, pose = found["image"], found["pose"]
            own = {name.removeprefix(TEMPLATE): t for name, t in found.items() if name.startswith(TEMPLATE)}
            template = template_of({name: tensor.to(device) for name, tensor in own.items()})
            start = replace(start, turning=replace(start.turning, template=template))
            described = f"{len(image)} pictures of {loaded.name}, aligned, seed {self.seed}"
            about: dict[str, Any] = {"generator": loaded.identity, "encoder": fingerprint(start.turning.encoder)}
            about |= {"start": sha256(file), "truncation": self.truncation}
            about |= {name: value for name, value in read_about(file).items() if name == PRIORS}
            single = [{"view": view[None], "pose": units[None]} for view, units in zip(image, pose, strict=True)]
            task = DistillTask(
                RefinedViews(single, described, seed=self.seed),
                settings,
                start=start,
                sizes=NetworkSizes(**describe(file)["sizes"]),
                about=about,
                along=encoder_along(loaded, start),
                device=device,
                validate=validate,
            )
            self.train(task)

    def _aligned(self, loaded: LoadedGenerator, start: TurnedStart, networks: str) -> dict[str, Tensor]:
        """Pictures ``image`` (N, 3, S, S), bytes, poses ``pose`` (N, 6), and the template: once for a run folder."""
        from gan2shape.distributed import any_process, world
        from gan2shape.io.checkpoints import read_metadata, read_tensors, write_tensors
        from gan2shape.io.files import FolderLock

        file, chief = self.output / ALIGNED, world()[0] == 0
        own = {"count": self.count, "truncation": self.truncation, "seed": self.seed, "networks": networks}
        text = json.dumps({**own, "generator": loaded.identity}, sort_keys=True)
        if file.exists() and read_metadata(file).get("settings") != text:
            raise InputError(
                f"{file}: expected pictures of the same flags and networks; got others; use another folder"
            )
        with FolderLock(self.output) if chief else nullcontext():
            if chief and not file.exists():
                write_tensors(file, self._align(loaded, start), {"settings": text})
        any_process(False)  # All wait for the first.
        return read_tensors(file)

    def _align(self, loaded: LoadedGenerator, start: TurnedStart) -> dict[str, Tensor]:
        import torch

        from gan2shape.cli.progress import new_bars, new_console
        from gan2shape.networks.agreement import within
        from gan2shape.reconstruct.progress import step_rng
        from gan2shape.reconstruct.turned import framing_for
        from gan2shape.reconstruct.turned_refinement import object_in, painter
        from gan2shape.train.template import aligned_units, fit_template, posed_pictures

        say(f"aligning {self.count} pictures of {loaded.name}, into {self.output / ALIGNED}")
        paint = painter(loaded, framing_for(loaded, start.networks))
        rng = step_rng(self.seed, "pictures", loaded.w_mean.device)
        with torch.no_grad():
            latents = loaded.sample_latents(self.count, rng=rng, truncation=self.truncation)
            parts = (paint(chunk).clamp(-1, 1) for chunk in latents.split(64))
            image = torch.cat([((part + 1) * 127.5).round().byte() for part in parts])
            fronts = paint(start.turning.facing(latents[:FRONTS], paint)).clamp(-1, 1)
            always = torch.cat([object_in(front) for front in fronts.split(1)]).mean(dim=0, keepdim=True) > ALWAYS
            signed = image.float() / 127.5 - 1
            posed, even = posed_pictures(start, signed)
            mask = within(always.float())
            template = fit_template(posed, even, mask, start.camera)
        if not bool(template.mask.any()):
            raise InputError(
                f"expected pictures of {loaded.name} that share a place of their object; got none; the networks may be "
                "wrong about poses (look at the snapshots of gan2shape train distill)"
            )
        with new_bars(new_console()) as bars:
            bar = bars.add_task("aligning pictures", total=self.count)
            done = {"on_done": lambda count: bars.update(bar, completed=count)}
            units = aligned_units(posed, even, template, start.camera, **done)
        found = {"image": image, "pose": units}
        found |= {f"{TEMPLATE}{name}": tensor for name, tensor in template.tensors().items()}
        return {name: tensor.cpu() for name, tensor in found.items()}

    def _check(self) -> None:
        if self.features is not None:
            raise InputError("--features: pictures are compared by their colours alone; leave it out")
        self.check_start(self.width)
        if not 2 <= self.count <= _MOST:
            raise UserError(f"--count must be from 2 to {_MOST}; got {self.count}")
