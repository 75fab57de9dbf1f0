"""``gan2shape sample``: pictures that a generator makes by itself, with their latents."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, arg

from gan2shape.cli.runtime import Runtime, say
from gan2shape.errors import UserError


@dataclass(frozen=True)
class Sample:
    """Draw pictures from a generator, with the latents that make them.

    Example: gan2shape sample --count 16 -o samples
    """

    output: Annotated[Path, arg(aliases=("-o",))] = Path("samples")
    """Folder for NNN.png, NNN.safetensors and grid.png."""
    count: int = 16
    """Number of pictures."""
    truncation: float = 0.7
    """1 draws as the GAN was trained; smaller values stay nearer to the mean picture."""
    runtime: OmitArgPrefixes[Runtime] = field(default_factory=Runtime)
    """Where to compute."""

    def run(self) -> None:
        """Write the pictures.

        Raises:
            UserError: a count below 1.
        """
        import math

        import torch

        from gan2shape.io.checkpoints import write_tensors
        from gan2shape.io.files import FolderLock
        from gan2shape.io.images import write_image

        if self.count < 1:
            raise UserError(f"--count must be 1 or more; got {self.count}")
        loaded = self.runtime.load()
        rng = torch.Generator(loaded.w_mean.device).manual_seed(self.runtime.seed)
        latents = loaded.sample_latents(self.count, rng=rng, truncation=self.truncation)
        with torch.no_grad():
            images = torch.cat([loaded.generator.synthesize(chunk).clamp(-1, 1).cpu() for chunk in latents.split(16)])
        columns = math.ceil(math.sqrt(self.count))
        rows = math.ceil(self.count / columns)
        padded = torch.cat([images, images.new_ones(rows * columns - self.count, *images.shape[1:])])
        side = images.shape[-1]
        grid = padded.view(rows, columns, 3, side, side).permute(2, 0, 3, 1, 4).reshape(3, rows * side, columns * side)
        with FolderLock(self.output):
            for index, (image, latent) in enumerate(zip(images, latents.cpu(), strict=True)):
                write_image(self.output / f"{index:03d}.png", image)
                write_tensors(self.output / f"{index:03d}.safetensors", {"latent": latent[None]}, {})
            write_image(self.output / "grid.png", grid)
        say(f"{self.count} pictures and their latents: {self.output}")
        say(f"all in one:                {self.output / 'grid.png'}")
