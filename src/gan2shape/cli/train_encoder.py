"""``gan2shape train encoder``: the network that proposes latents of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg

from gan2shape.cli.runtime import Runtime
from gan2shape.cli.training import AdamFlags, check_side
from gan2shape.errors import UserError


@dataclass(frozen=True)
class Encoder(Runtime, AdamFlags):
    """Train the inverse of a generator: pictures to latents, from the generator's own pictures alone.

    The search for the latent of a picture ("gan2shape invert --encoder FILE") starts from what it proposes. The weights
    are snapshots/weights.safetensors in the run folder.

    For example:
      $ gan2shape train encoder --generator ffhq.pt -o encoder --steps 5000 --bfloat16
    """

    learning_rate: Annotated[float, arg(metavar="RATE")] = 1e-3
    """Adam's learning rate at the first iteration."""
    final_rate: Annotated[float, arg(metavar="FACTOR")] = 0.02
    """Learning rate of the last iteration as a fraction of the first; it falls exponentially over --steps, which
    cannot be changed after the start unless this is 1."""
    width: Annotated[float, arg(metavar="FACTOR")] = 1.0
    """Factor on the channels; 1 gives 7 MB of weights at 64 px."""
    size: Annotated[int, arg(metavar="PIXELS")] = 64
    """Side of the pictures that it looks at, a power of two; the generator's are shrunk."""

    def run(self) -> None:
        """Train.

        Raises:
            UserError: flags, a generator or a folder that cannot be used.
        """
        from gan2shape.distributed import process_group
        from gan2shape.train.latents import LatentEncoderTask

        settings = self.settings(self.seed)
        if self.features is not None:
            raise UserError("--features: an encoder learns from pictures and their latents alone; leave it out")
        check_side(self.size)
        with process_group(self.torch_device()) as device:
            self.check_share()
            self.train(LatentEncoderTask(self.load(), settings, image_size=self.size, device=device))
