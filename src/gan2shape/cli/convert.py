"""``gan2shape convert``: a checkpoint of a GAN, or networks of the original program, as one safetensors file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import FlagCreatePairsOff, Positional, arg

from gan2shape.cli.runtime import say
from gan2shape.errors import CheckpointError, UserError

_AS_IT_IS = {
    "Gaussian": "a Gaussian of the original program, which reconstruct reads as it is (--view-mvn, --light-mvn)",
    "latent": "a latent, which reconstruct reads as it is (--latent, --latents)",
    "configuration": "a configuration of the original program, which reconstruct reads as it is (--config)",
    "list": "a list of pictures, which reconstruct reads as it is (in place of a PICTURE)",
}
"""By `gan2shape.io.official.kind_of_release`."""


@dataclass(frozen=True)
class Convert:
    """Turn a StyleGAN checkpoint, or networks of the original program, into one safetensors file.

    The file says where it came from, and no code can hide in it. Of StyleGAN2 and StyleGAN3 it holds the averaged
    generator, the discriminator and the mean latent; results, encoders and pre-trainings of the source are taken with
    it. Of the original program's networks (celeba_pretrain.pth) it holds netD, netA, netV, netL and netEnc, for
    reconstruct --pretrained. Its Gaussians, latents, lists and configurations are read as they are.

    For example:
      $ gan2shape convert ffhq.pkl -o ffhq.safetensors
      $ gan2shape convert cifar10.pkl --class 3 --half -o frogs.safetensors
      $ gan2shape convert celeba_pretrain.pth -o celeba_pretrain.safetensors
    """

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """Checkpoint: .pt or .pth of the common PyTorch layout or with NVIDIA's names, NVIDIA's .pkl, or .safetensors; or
    the original program's networks."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="OUT.safetensors")]
    """File to write; an earlier one of this name is replaced, but never FILE itself."""
    class_index: Annotated[int | None, arg(name="class", metavar="N", help_behavior_hint="(optional)")] = None
    """Which class of a conditional GAN, from 0; the new file holds this class alone."""
    half: FlagCreatePairsOff[bool] = False
    """Store weights in half precision: half the size, pictures the same to about a hundredth of their range."""

    def run(self) -> None:
        """Write the file.

        Raises:
            UserError: a file that cannot be read or need not be converted, or a place that cannot be written.
        """
        from gan2shape.generators.convert import convert

        try:
            record = convert(self.file, self.output, class_index=self.class_index, half=self.half)
        except CheckpointError as error:
            record = self._of_a_release(error)
        size = self.output.expanduser().stat().st_size
        chosen = f", class {record['class']}" if "class" in record else ""
        say(f"{record['kind']}{chosen} from {record['source']}: {size / 1e6:.1f} MB in {record['precision']}")
        say(f"written: {self.output}")

    def _of_a_release(self, error: CheckpointError) -> dict[str, Any]:
        """Convert networks of the original program, where the file holds no generator.

        Raises:
            UserError: the file cannot be converted; ``error`` where nothing more is known of it.
        """
        from gan2shape.io.official import RELEASED_NETWORKS, kind_of_release
        from gan2shape.reconstruct.official import convert_networks

        kind = kind_of_release(self.file.expanduser())
        if kind in _AS_IT_IS:
            known = "convertible are StyleGAN checkpoints and the original program's networks"
            raise UserError(f"{self.file} is {_AS_IT_IS[kind]}; {known}") from None
        if kind != RELEASED_NETWORKS:
            raise error
        if self.class_index is not None:
            raise UserError(f"{self.file} holds networks, which know no classes; leave out --class") from None
        return convert_networks(self.file, self.output, half=self.half)
