"""``gan2shape train turned``: shape, pose and light in one pass, from views that a generator turns by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from gan2shape.cli.runtime import Runtime, say
from gan2shape.cli.training import AdamFlags
from gan2shape.errors import CheckpointError, InputError, UserError
from gan2shape.reconstruct.presets import PRESETS


@dataclass(frozen=True)
class Turned(Runtime, AdamFlags):
    """Train the networks of "reconstruct --method turned" on a generator's own pictures, without any truth.

    The generator turns and lights its object along directions of its latents, which are found from mirror images and
    crude renderings; the category should look alike in a mirror. The weights, with these directions, are
    snapshots/weights.safetensors in the run folder.

    For example:
      $ gan2shape train turned -o turned --width 0.5 --bfloat16
      $ gan2shape train turned --generator ffhq.pt --encoder encoder/snapshots/weights.safetensors -o turned
    """

    encoder: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: the bundled generator's)")] = None
    """The generator's inverse, as gan2shape train encoder writes it."""
    learning_rate: Annotated[float, arg(metavar="RATE")] = 3e-4
    """Adam's learning rate at the first iteration."""
    final_rate: Annotated[float, arg(metavar="FACTOR")] = 0.6
    """Learning rate of the last iteration as a fraction of the first; it falls exponentially over --steps, which
    cannot be changed after the start unless this is 1."""
    batch_size: Annotated[int, arg(metavar="COUNT")] = 8
    """Pictures in an iteration; two views of each are used."""
    steps: Annotated[int, arg(metavar="COUNT")] = 1_000
    """Iterations in all, those of earlier runs included."""
    count: Annotated[int, arg(metavar="COUNT")] = 1_000
    """Pictures that the generator makes."""
    views: Annotated[int, arg(metavar="COUNT")] = 4
    """Views of each, turned and lit anew."""
    truncation: float = 0.6
    """How far objects may be from the mean latent, from 0 to 1: typical ones turn better."""
    mask: Annotated[str, arg(metavar="auto|none")] = "auto"
    """The objects: "auto" (a classical method), or "none" (everything)."""
    validate: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """Truth file (.npz) whose pictures are scored at every snapshot; nothing is learned from it."""

    def run(self) -> None:
        """Train.

        Raises:
            UserError: flags, a generator, an encoder or a folder that cannot be used.
        """
        settings = self.settings(self.seed)
        self._check()
        from gan2shape.cli.validation import read_validation
        from gan2shape.distributed import process_group
        from gan2shape.networks.latents import encoder_of
        from gan2shape.networks.turned import camera_of
        from gan2shape.priors.masks import auto_mask, no_mask
        from gan2shape.train.turned import TurnedTask
        from gan2shape.train.turned_views import TurnedViews

        with process_group(self.torch_device()) as device:
            self.check_share()
            loaded = self.load()
            encoder = encoder_of(loaded.identity, self.encoder, latent_dim=loaded.generator.latent_dim)
            if encoder is None:
                raise CheckpointError(
                    f"expected --encoder FILE, the inverse of {loaded.name}; make it with gan2shape train encoder"
                )
            validate = None if self.validate is None else read_validation(self.validate, encoder.image_size)
            say(f"making {self.count} objects, their views and masks")
            pictures = TurnedViews(
                loaded,
                encoder.to(device),
                masker=auto_mask if self.mask == "auto" else no_mask,
                prior=PRESETS["ellipsoid"].prior,
                camera=camera_of(encoder.image_size),
                count=self.count,
                views=self.views,
                seed=self.seed,
                truncation=self.truncation,
            )
            self.train(TurnedTask(pictures, settings, device=device, validate=validate))

    def _check(self) -> None:
        if self.features is not None:
            raise InputError("--features: turned views are compared by their colours alone; leave it out")
        if self.mask not in ("auto", "none"):
            raise UserError(f'--mask must be "auto" or "none" here; got {self.mask}')
        if not 0 < self.truncation <= 1:
            raise UserError(f"--truncation must be above 0 and at most 1; got {self.truncation:g}")
        for flag, value, least, most in (("--count", self.count, 8, 1_000_000), ("--views", self.views, 1, 100)):
            if not least <= value <= most:
                raise UserError(f"{flag} must be from {least} to {most}; got {value}")
