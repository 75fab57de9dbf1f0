"""``gan2shape train encoder``: the network that proposes latents of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from tyro.conf import FlagCreatePairsOff, arg

from gan2shape.cli.runtime import Runtime
from gan2shape.cli.training import RunFlags
from gan2shape.errors import UserError


@dataclass(frozen=True)
class Encoder(Runtime, RunFlags):
    """Train the inverse of a generator: pictures to latents, from the generator's own pictures alone.

    The search for the latent of a picture ("gan2shape invert --encoder FILE") starts from what it proposes. The weights
    are snapshots/weights.safetensors in the run folder.

    For example:
      $ gan2shape train encoder --generator ffhq.pt -o encoder --steps 5000 --bfloat16
    """

    resumable: ClassVar[bool] = True

    batch_size: Annotated[int, arg(metavar="COUNT")] = 64
    """Pictures in an iteration."""
    learning_rate: Annotated[float, arg(metavar="RATE")] = 1e-3
    """Adam's learning rate at the first iteration."""
    final_rate: Annotated[float, arg(metavar="FACTOR")] = 0.02
    """Learning rate of the last iteration as a fraction of the first; it falls exponentially over --steps."""
    width: Annotated[float, arg(metavar="FACTOR")] = 1.0
    """Factor on the channels; 1 gives 7 MB of weights at 64 px."""
    size: Annotated[int, arg(metavar="PIXELS")] = 64
    """Side of the pictures that it looks at, a power of two; the generator's are shrunk."""
    bfloat16: FlagCreatePairsOff[bool] = False
    """Compute in bfloat16: faster on processors that have it."""

    def run(self) -> None:
        """Train.

        Raises:
            UserError: flags, a generator or a folder that cannot be used.
        """
        from gan2shape.distributed import process_group, world
        from gan2shape.train.latents import LatentEncoderTask
        from gan2shape.train.settings import TrainSettings

        self.check()
        for flag, value, least, most in (
            ("--batch-size", self.batch_size, 1, 1 << 20),
            ("--width", self.width, 1 / 32, 16),
            ("--learning-rate", self.learning_rate, 1e-8, 1),
            ("--final-rate", self.final_rate, 1e-6, 1),
        ):
            if not least <= value <= most:
                raise UserError(f"{flag} must be from {least:g} to {most:g}; got {value}")
        if not (16 <= self.size <= 1024 and self.size & (self.size - 1) == 0):
            raise UserError(f"--size must be a power of two from 16 to 1024; got {self.size}")
        settings = TrainSettings(
            width_multiplier=self.width,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            final_rate=self.final_rate,
            falling_steps=0 if self.final_rate == 1 else self.steps,
            weight_decay=0.0,
            bfloat16=self.bfloat16,
            seed=self.seed,
        )
        with process_group(self.torch_device()) as device:
            if self.batch_size % world()[1]:
                raise UserError(f"--batch-size must be a multiple of the {world()[1]} processes; got {self.batch_size}")
            loaded = self.load()
            if loaded.draw_latents is None:
                raise UserError(f"--generator {self.generator} has no prior to draw latents from, which this needs")
            self.train(LatentEncoderTask(loaded, settings, image_size=self.size, device=device))
