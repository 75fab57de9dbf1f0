"""What the trainings that go on from networks of one pass start from: flags, checks, and what goes along."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from tyro.conf import arg

from gan2shape.errors import CheckpointError, UserError

if TYPE_CHECKING:
    from torch import Tensor

    from gan2shape.generators import LoadedGenerator
    from gan2shape.networks.one_pass import TurnedStart


@dataclass(frozen=True)
class StartFlags:
    """Networks of one pass and the encoder that they were made with, and what is drawn and scored besides."""

    made_by: ClassVar[str] = "gan2shape train turned"
    """What makes the networks that it takes."""

    init: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: the bundled ones)")] = None
    """Networks of the same generator to start from: of gan2shape train turned, or of what goes on from these."""
    encoder: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: the bundled generator's)")] = None
    """The generator's inverse that they were made with, as gan2shape train encoder writes it."""

    truncation: float = 1.0
    """How far the generator's pictures and objects may be from the mean latent, from 0 to 1."""
    validate: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """Truth file (.npz) whose pictures are scored at every snapshot; nothing is learned from it."""

    def check_start(self, width: float) -> None:
        """Refuse a width of networks other than their own, and a truncation that none can have.

        Raises:
            UserError: naming the flag.
        """
        if width != 1:
            raise UserError(f"--width: networks have the widths of those they start from; got {width:g}")
        if not 0 < self.truncation <= 1:
            raise UserError(f"--truncation must be above 0 and at most 1; got {self.truncation:g}")

    def start_of(self, loaded: LoadedGenerator) -> tuple[Path, TurnedStart]:
        """The file of the networks, and these with their directions.

        Raises:
            CheckpointError: networks or an encoder that have to be named and are not, or do not belong.
        """
        return start_of(loaded, self.init, self.encoder, made_by=self.made_by)


def start_of(
    loaded: LoadedGenerator, init: Path | None, encoder: Path | None, *, made_by: str
) -> tuple[Path, TurnedStart]:
    """The file of the networks that ``--init`` names, or the bundled one, and these with their directions.

    Raises:
        CheckpointError: networks or an encoder that have to be named and are not, or do not belong.
    """
    from gan2shape.networks.latents import encoder_of
    from gan2shape.networks.turned import bundled_turned
    from gan2shape.reconstruct.turned import is_bundled, load_start

    if init is None and not is_bundled(loaded):
        raise CheckpointError(f"expected --init FILE, networks for {loaded.name}; make them with {made_by}")
    if encoder_of(loaded.identity, encoder, latent_dim=loaded.generator.latent_dim) is None:
        raise CheckpointError(
            f"expected --encoder FILE, the inverse of {loaded.name}; make it with gan2shape train encoder"
        )
    file = bundled_turned() if init is None else init
    return file, load_start(loaded, file, encoder=encoder)


def encoder_along(loaded: LoadedGenerator, start: TurnedStart) -> dict[str, Tensor]:
    """The tensors of the encoder, unless it is the bundled one, so that the networks' file alone reconstructs in one
    pass."""
    from gan2shape.networks.latents import encoder_of, encoder_tensors
    from gan2shape.networks.trained import fingerprint

    bundled, own = encoder_of(loaded.identity), start.turning.encoder
    same = bundled is not None and fingerprint(bundled) == fingerprint(own)
    return {} if same else encoder_tensors(own)
