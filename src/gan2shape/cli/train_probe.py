"""``gan2shape train probe``: the network that ``gan2shape coverage`` looks at pictures with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from tyro.conf import FlagCreatePairsOff, arg

from gan2shape.cli.training import TrainingFlags
from gan2shape.errors import InputError, UserError

if TYPE_CHECKING:
    import torch

    from gan2shape.train.pictures import Pictures


@dataclass(frozen=True)
class Probe(TrainingFlags):
    """Train the probe of "gan2shape coverage": pose, light and looks, read from pictures that come with their truth.

    Pictures of "gan2shape data synface --npz" have the truth, and so has a head model. The weights are
    snapshots/weights.safetensors in the run folder.

    For example:
      $ gan2shape train probe --data heads.npz -o probe --minutes 10
      $ gan2shape train probe --data heads.npz -o probe --held-out others.npz --resume
    """

    resumable: ClassVar[bool] = True

    batch_size: Annotated[int, arg(metavar="COUNT")] = 64
    """Pictures in an iteration."""
    learning_rate: Annotated[float, arg(metavar="RATE")] = 2e-3
    """Adam's learning rate at the first iteration."""
    final_rate: Annotated[float, arg(metavar="FACTOR")] = 0.01
    """Learning rate of the last iteration as a fraction of the first; it falls exponentially over --steps."""
    width: Annotated[float, arg(metavar="FACTOR")] = 1.0
    """Factor on the channels; 1 gives 0.5 MB of weights."""
    bfloat16: FlagCreatePairsOff[bool] = False
    """Compute in bfloat16: a fourth faster on processors that have it."""
    held_out: Annotated[Path | None, arg(metavar="SOURCE", help_behavior_hint="(optional)")] = None
    """Other pictures with truth, of which 1,000 are scored at every snapshot; nothing is learned from them."""

    def run(self) -> None:
        """Train.

        Raises:
            UserError: flags, pictures or a folder that cannot be used.
        """
        from gan2shape.distributed import process_group, world
        from gan2shape.train.probe import ProbeTask
        from gan2shape.train.settings import TrainSettings

        self.check()
        for flag, value, least, most in (
            ("--batch-size", self.batch_size, 2, 1 << 20),
            ("--width", self.width, 1 / 64, 16),
            ("--learning-rate", self.learning_rate, 1e-8, 1),
            ("--final-rate", self.final_rate, 1e-6, 1),
        ):
            if not least <= value <= most:
                raise UserError(f"{flag} must be from {least:g} to {most:g}; got {value}")
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
            task = ProbeTask(self.open(device), settings, device=device, held_out=self._held_out(device))
            self.train(task)

    def _held_out(self, device: torch.device) -> Pictures | None:
        if self.held_out is None:
            return None
        from gan2shape.data import open_pictures

        if self.held_out.resolve() == self.data.resolve():
            raise InputError(f"{self.held_out}: expected other pictures than those of --data; got the same")
        return open_pictures(self.held_out, size=self.size, seed=self.seed, device=device)
