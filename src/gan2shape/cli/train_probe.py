"""``gan2shape train probe``: the network that ``gan2shape coverage`` looks at pictures with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from gan2shape.cli.training import AdamFlags, TrainingFlags
from gan2shape.errors import InputError, UserError

if TYPE_CHECKING:
    import torch

    from gan2shape.train.pictures import Pictures


@dataclass(frozen=True)
class Probe(TrainingFlags, AdamFlags):
    """Train the probe of "gan2shape coverage": pose, light and looks, read from pictures that come with their truth.

    Pictures of "gan2shape data synface --npz" have the truth, and so has a head model. The weights are
    snapshots/weights.safetensors in the run folder.

    For example:
      $ gan2shape train probe --data heads.npz -o probe --minutes 10
      $ gan2shape train probe --data heads.npz -o probe --held-out others.npz --resume
    """

    learning_rate: Annotated[float, arg(metavar="RATE")] = 2e-3
    """Adam's learning rate at the first iteration."""
    final_rate: Annotated[float, arg(metavar="FACTOR")] = 0.01
    """Learning rate of the last iteration as a fraction of the first; it falls exponentially over --steps, which
    cannot be changed after the start unless this is 1."""
    width: Annotated[float, arg(metavar="FACTOR")] = 1.0
    """Factor on the channels; 1 gives 0.5 MB of weights."""
    held_out: Annotated[Path | None, arg(metavar="SOURCE", help_behavior_hint="(optional)")] = None
    """Other pictures with truth, of which 1,000 are scored at every snapshot; nothing is learned from them. A head
    model is rendered with the seed after --seed, and may be that of --data."""

    def run(self) -> None:
        """Train.

        Raises:
            UserError: flags, pictures or a folder that cannot be used.
        """
        from gan2shape.distributed import process_group
        from gan2shape.train.probe import ProbeTask

        settings = self.settings(self.seed)
        if self.batch_size < 2:
            raise UserError(
                f"--batch-size must be 2 or more, as the probe normalises over a batch; got {self.batch_size}"
            )
        with process_group(self.torch_device()) as device:
            self.check_share()
            task = ProbeTask(self.open(device), settings, device=device, held_out=self._held_out(device))
            self.train(task)

    def _held_out(self, device: torch.device) -> Pictures | None:
        if self.held_out is None:
            return None
        from gan2shape.data import SynFace, open_pictures

        pictures = open_pictures(self.held_out, size=self.size, seed=self.seed, device=device)
        if isinstance(pictures, SynFace):
            return open_pictures(self.held_out, size=self.size, seed=self.seed + 1, device=device)
        if self.held_out.resolve() == self.data.resolve():
            raise InputError(f"{self.held_out}: expected other pictures than those of --data; got the same")
        return pictures
