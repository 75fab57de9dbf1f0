"""``gan2shape convert``: any checkpoint of a GAN as one safetensors file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, Positional, arg

from gan2shape.cli.runtime import say


@dataclass(frozen=True)
class Convert:
    """Turn a checkpoint of StyleGAN2 or StyleGAN3 into one safetensors file that says where it came from.

    The file holds the averaged generator, the discriminator and the mean latent; no code can hide in it.

    For example:
      $ gan2shape convert ffhq.pkl -o ffhq.safetensors
      $ gan2shape convert cifar10.pkl --class 3 --half -o frogs.safetensors
    """

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """Checkpoint: .pt or .pth of the common PyTorch layout or with NVIDIA's names, NVIDIA's .pkl, or .safetensors."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="OUT.safetensors")]
    """File to write; an earlier one of this name is replaced, but never FILE itself."""
    class_index: Annotated[int | None, arg(name="class", metavar="N", help_behavior_hint="(optional)")] = None
    """Which class of a conditional GAN, from 0; the new file holds this class alone."""
    half: FlagCreatePairsOff[bool] = False
    """Store weights in half precision: half the size, pictures the same to about a hundredth of their range."""

    def run(self) -> None:
        """Write the file.

        Raises:
            UserError: a checkpoint that cannot be read, or a place that cannot be written.
        """
        from gan2shape.generators.convert import convert

        record = convert(self.file, self.output, class_index=self.class_index, half=self.half)
        size = self.output.expanduser().stat().st_size
        chosen = f", class {record['class']}" if "class" in record else ""
        say(f"{record['kind']}{chosen} from {record['source']}: {size / 1e6:.1f} MB in {record['precision']}")
        say(f"written: {self.output}")
