"""``gan2shape train stylegan2``: a generator of one's own from a folder of pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, arg

from gan2shape.cli.training import TrainingFlags
from gan2shape.errors import UserError

if TYPE_CHECKING:
    from gan2shape.train.stylegan2_config import Networks, StyleGAN2Settings

_WIDEST = 16.0


@dataclass(frozen=True)
class Adversarial:
    """How generator and discriminator learn."""

    batch: Annotated[int, arg(metavar="COUNT")] = 32
    """Pictures per iteration, a multiple of 4 (under torchrun: per process, and this is the sum)."""
    learning_rate: Annotated[float, arg(metavar="RATE")] = 0.002
    """Adam's learning rate, for both networks."""
    warm_up: Annotated[int, arg(metavar="COUNT")] = 0
    """Iterations over which the learning rates rise from zero; some 300 with --init."""
    critic_first: Annotated[int, arg(metavar="COUNT")] = 0
    """Iterations at the start in which only the discriminator learns; some 200 with --init."""
    r1_gamma: Annotated[float, arg(metavar="WEIGHT")] = 0.1
    """Weight of the R1 penalty; about 0.1 at 64 pixels, 1 at 256, 10 at 1024."""
    mixing: Annotated[float, arg(metavar="PROBABILITY")] = 0.9
    """How often the styles of a picture come from two latents."""
    path_weight: Annotated[float, arg(metavar="WEIGHT")] = 0.0
    """Weight of the path-length regularisation (0: none; the paper's is 2)."""
    average_kimg: Annotated[float, arg(metavar="THOUSANDS")] = 10.0
    """Half-life of the generator's moving average, in thousands of pictures."""
    warm_start: Annotated[int, arg(metavar="PICTURES")] = 0
    """First train the generator on so many pictures as the decoder of an autoencoder; some 200,000 spare a start from
    random weights the long way to pictures that turn and vary."""
    reconstruction: Annotated[float, arg(metavar="WEIGHT")] = 0.0
    """Keep so much of the autoencoder's loss beside the adversarial one (with --warm-start, 1 is a beginning)."""
    noise: FlagCreatePairsOff[bool] = False
    """Add random noise in every layer while training. Without it a latent says everything about a picture."""
    mirror: bool = True
    """Mirror half of the pictures left to right."""
    shift: Annotated[int, arg(metavar="PIXELS")] = 0
    """Move pictures by up to so many whole pixels; the generator learns to do so too."""


@dataclass(frozen=True)
class Stylegan2:
    """Train a StyleGAN2 on pictures: generator and discriminator for "reconstruct --generator".

    Needs nothing but pictures of one kind of object. Some 500,000 of them, seen again and again, give something to
    look at; watch snapshots/samples_*.png. With torchrun each process takes its part of the batch.

    For example:
      $ gan2shape train stylegan2 --data pictures.zip -o my-gan --minutes 60
      $ gan2shape train stylegan2 --data pictures.zip -o my-gan --minutes 60 --resume
      $ gan2shape train stylegan2 --data heads.npz --init bundled --warm-up 300 --critic-first 200
    """

    training: OmitArgPrefixes[TrainingFlags] = field(default_factory=TrainingFlags)
    """From what, how long and where to."""
    adversarial: OmitArgPrefixes[Adversarial] = field(default_factory=Adversarial)
    """How it learns."""
    init: Annotated[str, arg(metavar="FILE")] = "none"
    """Weights to start from: "bundled", or a checkpoint (.safetensors, .pt); "none" starts from random ones."""
    width: Annotated[float, arg(metavar="FACTOR")] = 1.0
    """Factor on the channels of new networks; 1 is sized for a CPU, 4 for a GPU."""

    resumable = True

    @property
    def resume(self) -> bool:
        """Whether the command already says to go on."""
        return self.training.resume

    def run(self) -> None:
        """Train, with a progress bar.

        Raises:
            UserError: a number out of its range, pictures or weights that cannot be used, or a folder that cannot.
        """
        from gan2shape.distributed import process_group, world
        from gan2shape.train.stylegan2 import StyleGAN2Task

        self.training.check()
        settings = self._settings()
        with process_group(self.training.torch_device()) as device:
            processes = world()[1]
            if settings.batch % (4 * processes):
                raise UserError(f"--batch must be a multiple of {4 * processes}; got {settings.batch}")
            networks, start = self._networks()
            pictures = self.training.open(device)
            task = StyleGAN2Task(networks, pictures, settings, seed=self.training.seed, device=device, start=start)
            self.training.train(task)

    def _settings(self) -> StyleGAN2Settings:
        from dataclasses import asdict, replace

        from gan2shape.train.stylegan2_config import StyleGAN2Settings

        if not 0 < self.width <= _WIDEST:
            raise UserError(f"--width must be more than 0 and at most {_WIDEST:g}; got {self.width}")
        if not 0 <= self.adversarial.shift < self.training.size:
            raise UserError(f"--shift must be from 0 to {self.training.size - 1}; got {self.adversarial.shift}")
        try:
            settings = StyleGAN2Settings(**asdict(self.adversarial))
            # The average of weights that are given is good from the start: no ramp.
            return settings if self.init == "none" else replace(settings, average_ramp=0.0)
        except ValueError as error:
            name, _, rest = str(error).partition(" ")
            raise UserError(f"--{name.replace('_', '-')} {rest}") from None

    def _networks(self) -> tuple[Networks, str]:
        """Networks, and what they are in words that stay the same between runs."""
        from importlib import resources

        from gan2shape.errors import InputError
        from gan2shape.generators.load import BUNDLED, BUNDLED_FILE
        from gan2shape.io.checkpoints import sha256
        from gan2shape.train.stylegan2_config import CHANNELS, new_networks, read_networks

        size, seed = self.training.size, self.training.seed
        if self.init == "none":
            if size > max(CHANNELS):
                raise UserError(f"--size of new networks must be at most {max(CHANNELS)}; got {size}")
            return new_networks(size, width=self.width, seed=seed), f"random weights, width {self.width:g}"
        bundled = Path(str(resources.files("gan2shape") / "assets" / BUNDLED_FILE))
        path = bundled if self.init == BUNDLED else Path(self.init).expanduser()
        networks = read_networks(path, seed=seed)
        if networks.generator.resolution != size:
            raise InputError(f"{self.init}: expected a generator of --size {size}; got {networks.generator.resolution}")
        return networks, f"{path.name} {sha256(path)[:16]}"
