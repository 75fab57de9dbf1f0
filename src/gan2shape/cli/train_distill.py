"""``gan2shape train distill``: what refinements of a generator's objects found becomes knowledge of their category."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from tyro.conf import arg

from gan2shape.cli.runtime import Runtime, say
from gan2shape.cli.start import StartFlags, encoder_along
from gan2shape.cli.training import AdamFlags
from gan2shape.errors import InputError, UserError
from gan2shape.reconstruct.presets import PRESETS

if TYPE_CHECKING:
    from torch import Tensor

    from gan2shape.generators import LoadedGenerator
    from gan2shape.networks.one_pass import TurnedStart
    from gan2shape.reconstruct.config import Turned

OBJECTS = "objects"
"""Folder of the refined objects, in the run folder."""
PRIORS_FILE = "priors.json"
"""File of the priors of pose and light, in the run folder."""
READING = "reading.safetensors"
"""File of the directions with the first reading of poses, in the run folder."""


@dataclass(frozen=True)
class Distill(Runtime, AdamFlags, StartFlags):
    """Teach one pass what refining many of the generator's own objects finds, without the truth of any picture.

    Networks of "train turned" first get a linear reading of poses off the encoder's latents, from moves of many
    objects that are asked for (a minute or two). Then every object is refined once, much as the preset default refines
    a picture (some seconds each; they are kept in the run folder, and the same command goes on with them; --minutes
    does not count them). What all their depths have wrong in common is mended on all views together, and what of the
    depths latents tell is read. A network that begins as the encoder learns the poses of all views. The generator's
    priors of pose and light are read in its own pictures. Distilling what was distilled, with another --seed, goes on
    from the better poses and shapes. Everything, an encoder that is not the bundled one too, is in
    snapshots/weights.safetensors in the run folder, for reconstruct --method turned.

    For example:
      $ gan2shape train distill -o distill --bfloat16
      $ gan2shape train distill --generator ffhq.pt --encoder encoder.safetensors --init turned.safetensors -o distill
    """

    memory_advice: ClassVar[str] = "close other programs, or start anew with a smaller --batch-size or --count"

    learning_rate: Annotated[float, arg(metavar="RATE")] = 3e-4
    """Adam's learning rate at the first iteration."""
    final_rate: Annotated[float, arg(metavar="FACTOR")] = 0.03
    """Learning rate of the last iteration as a fraction of the first; it falls exponentially over --steps, which
    cannot be changed after the start unless this is 1."""
    steps: Annotated[int, arg(metavar="COUNT")] = 1_200
    """Iterations in all, those of earlier runs included."""
    count: Annotated[int, arg(metavar="COUNT")] = 200
    """Objects that are refined."""
    views: Annotated[int, arg(metavar="COUNT")] = 48
    """Views of each, turned and lit anew."""
    refine: Annotated[int, arg(metavar="COUNT")] = 120
    """Iterations of each refinement."""

    def run(self) -> None:
        """Refine, then train.

        Raises:
            UserError: flags, a generator, networks, an encoder or a folder that cannot be used.
        """
        settings = self.settings(self.seed)
        self._check()
        from gan2shape.cli.validation import read_validation
        from gan2shape.distributed import process_group
        from gan2shape.io.checkpoints import sha256
        from gan2shape.networks.trained import NetworkSizes, describe, fingerprint
        from gan2shape.reconstruct.pretrain import PRIORS
        from gan2shape.train.distill import DistillTask, RefinedViews
        from gan2shape.train.run import check_folder

        check_folder(self.output, resume=self.resume)
        with process_group(self.torch_device()) as device:
            self.check_share()
            loaded = self.load()
            file, start = self.start_of(loaded)
            size = start.networks.image_size
            validate = None if self.validate is None else read_validation(self.validate, size)
            start = self._reading(loaded, start)
            objects = self._refined(loaded, start)
            description = f"{len(objects)} objects of {loaded.name}, refined with {self.views} views, seed {self.seed}"
            about: dict[str, Any] = {
                "generator": loaded.identity,
                "encoder": fingerprint(start.turning.encoder),
                "start": sha256(file),
                "refine": self.refine,
                "truncation": self.truncation,
                PRIORS: self._priors(loaded, start),
            }
            task = DistillTask(
                RefinedViews(objects, description, seed=self.seed),
                settings,
                start=self._with_shapes(start, objects),
                sizes=NetworkSizes(**describe(file)["sizes"]),
                about=about,
                along=encoder_along(loaded, start),
                device=device,
                validate=validate,
            )
            self.train(task)

    def _reading(self, loaded: LoadedGenerator, start: TurnedStart) -> TurnedStart:
        """The same start with a reading of poses; one that it lacks is read off moves, once for a run folder."""
        from gan2shape.distributed import any_process, world
        from gan2shape.io.files import FolderLock
        from gan2shape.networks.turning import load_turning, save_turning
        from gan2shape.reconstruct.progress import step_rng
        from gan2shape.reconstruct.turned import framing_for
        from gan2shape.reconstruct.turned_refinement import painter
        from gan2shape.train.pose_reading import MOVED_OBJECTS, read_off_moves

        if start.turning.tells_poses:
            return start
        file = self.output / READING
        if world()[0] == 0 and not file.exists():
            say(f"reading poses off moves of {MOVED_OBJECTS} objects, into {file}")
            with FolderLock(self.output):
                rng = step_rng(self.seed, "moves", loaded.w_mean.device)
                paint = painter(loaded, framing_for(loaded, start.networks))
                latents = loaded.sample_latents(MOVED_OBJECTS, rng=rng, truncation=self.truncation)
                save_turning(file, read_off_moves(start.turning, latents, paint, rng=rng))
        any_process(False)  # All wait for the first.
        return replace(start, turning=load_turning(file, start.turning.encoder))

    def _refined(self, loaded: LoadedGenerator, start: TurnedStart) -> list[dict[str, Tensor]]:
        """The objects, with a progress bar."""
        from gan2shape.cli.progress import new_bars, new_console
        from gan2shape.distributed import world
        from gan2shape.io.files import FolderLock
        from gan2shape.reconstruct.teacher import refined_objects

        refining = self._refining()
        chief = world()[0] == 0
        if chief:
            say(f"refining {self.count} objects, each on {self.views} views, into {self.output / OBJECTS}")
        with FolderLock(self.output) if chief else nullcontext(), new_bars(new_console()) as bars:
            bar = bars.add_task("refining objects", total=self.count, visible=chief)
            objects = refined_objects(
                self.output / OBJECTS,
                loaded,
                start,
                count=self.count,
                settings=refining,
                truncation=self.truncation,
                seed=self.seed,
                on_done=lambda done: bars.update(bar, completed=done),
            )
        if chief and len(objects) < self.count:
            say(f"{self.count - len(objects)} of {self.count} refinements ran away; the others are learned from")
        return objects

    def _refining(self) -> Turned:
        """The settings of refinements: the default preset's, but for what flags say."""
        return replace(PRESETS["default"].turned, views=self.views, refine=self.refine)

    def _with_shapes(self, start: TurnedStart, objects: list[dict[str, Tensor]]) -> TurnedStart:
        """The same start with the reading of shapes off latents that refined objects tell, and without a template that
        was fitted under other shapes. Every process finds the same."""
        from gan2shape.distributed import apart, world
        from gan2shape.train.shape_reading import read_shapes
        from gan2shape.train.shared_shape import corrected, shared_correction

        if world()[0] == 0:
            say("mending what all depths have wrong in common, and reading shapes off latents")
        refining = self._refining()
        weights = {"smoothness": refining.smoothness, "depth_smoothness": refining.depth_smoothness}
        with apart():
            shared = shared_correction(start.networks, objects, seed=self.seed, **weights)
        shape = read_shapes(start.turning.encoder, corrected(objects, shared)).to(start.turning.direction)
        return replace(start, turning=replace(start.turning, shape=shape, template=None))

    def _priors(self, loaded: LoadedGenerator, start: TurnedStart) -> dict[str, Any]:
        """The generator's priors of pose and light, as they are read in its own pictures, once for a run folder."""
        from gan2shape.distributed import any_process, world
        from gan2shape.io.files import FolderLock, write_json
        from gan2shape.reconstruct.pretrain import PRIOR_PICTURES, estimate_priors, priors_to_dict
        from gan2shape.reconstruct.progress import step_rng
        from gan2shape.reconstruct.turned import framing_for

        file = self.output / PRIORS_FILE
        if world()[0] == 0 and not file.exists():
            with FolderLock(self.output):
                rng, base = step_rng(self.seed, "priors", loaded.w_mean.device), PRESETS["ellipsoid"].lighting
                kept: dict[str, Any] = {"count": PRIOR_PICTURES, "rng": rng, "base": base}
                priors = estimate_priors(start.units, loaded, framing_for(loaded, start.networks), **kept)
                write_json(file, priors_to_dict(*priors))
        any_process(False)  # All wait for the first.
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found

    def _check(self) -> None:
        if self.features is not None:
            raise InputError("--features: turned views are compared by their colours alone; leave it out")
        self.check_start(self.width)
        bounds = (
            ("--count", self.count, 1, 1_000_000),
            ("--views", self.views, 1, 1000),
            ("--refine", self.refine, 1, 100_000),
        )
        for flag, value, least, most in bounds:
            if not least <= value <= most:
                raise UserError(f"{flag} must be from {least} to {most}; got {value}")
