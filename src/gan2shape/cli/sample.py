"""``gan2shape sample``: pictures that a generator makes by itself, with their latents."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, arg

from gan2shape.cli.runtime import Runtime, say
from gan2shape.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

GRID_LIMIT = 100
_CHUNK = 16
_MOST = 1_000_000


@dataclass(frozen=True)
class Sample:
    """Draw pictures from a generator, with the latents that make them.

    For example:
      $ gan2shape sample --count 16 -o samples
      $ gan2shape sample --generator ffhq.pt --truncation 0.5
    """

    output: Annotated[Path, arg(aliases=("-o",), metavar="FOLDER")] = Path("samples")
    """Folder for NNN.png, NNN.safetensors and grid.png (of the first 100 pictures)."""
    count: int = 16
    """Number of pictures."""
    truncation: float = 0.7
    """1 draws as the GAN was trained; smaller values stay nearer to the mean picture, 0 is the mean picture."""
    runtime: OmitArgPrefixes[Runtime] = field(default_factory=Runtime)
    """With what to compute."""

    def run(self) -> None:
        """Write the pictures, each with its latent, the grid last.

        Raises:
            UserError: a number out of its range, or anything with the generator or the folder.
        """
        import torch

        from gan2shape.cli.progress import tracked
        from gan2shape.generators import latent_rng
        from gan2shape.io.checkpoints import write_tensors
        from gan2shape.io.files import FolderLock
        from gan2shape.io.images import write_image

        if not 1 <= self.count <= _MOST:
            raise UserError(f"--count must be from 1 to {_MOST}; got {self.count}")
        if not 0 <= self.truncation <= 10:
            raise UserError(f"--truncation must be from 0 to 10; got {self.truncation}")
        loaded = self.runtime.load()
        rng = latent_rng(self.runtime.seed, loaded.w_mean.device)
        latents = loaded.sample_latents(self.count, rng=rng, truncation=self.truncation)
        made_by = {"generator": json.dumps(loaded.record.to_dict(), sort_keys=True)}
        shown: list[Tensor] = []
        with FolderLock(self.output):
            done = 0
            for chunk in tracked(latents.split(_CHUNK), "pictures"):
                with torch.no_grad():
                    images = loaded.generator.synthesize(chunk).clamp(-1, 1).cpu()
                for image, latent in zip(images, chunk.cpu(), strict=True):
                    write_image(self.output / f"{done:03d}.png", image)
                    write_tensors(self.output / f"{done:03d}.safetensors", {"latent": latent[None]}, made_by)
                    done += 1
                if done - len(chunk) < GRID_LIMIT:
                    shown.append(images)
            write_image(self.output / "grid.png", grid(torch.cat(shown)[:GRID_LIMIT]))
        say(f"{self.count} pictures and their latents: {self.output}")
        say(f"all in one:                {self.output / 'grid.png'}")


def grid(images: Tensor) -> Tensor:
    """Pictures (N, 3, R, R) row by row in one about square, (3, rows R, columns R), white where none is left."""
    import torch

    count, _, side, _ = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    padded = torch.cat([images, images.new_ones(rows * columns - count, 3, side, side)])
    return padded.view(rows, columns, 3, side, side).permute(2, 0, 3, 1, 4).reshape(3, rows * side, columns * side)
