"""The inverse of a generator: a network that proposes the latent of a picture, as a start for the search."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan2shape.errors import CheckpointError
from gan2shape.io.checkpoints import read_tensors
from gan2shape.networks.encoder import ResidualEncoder
from gan2shape.networks.trained import NetworkSizes, filled, load_networks, read_about

LATENT_ENCODER = "latent encoder"
"""What its files say they are."""
BUNDLED_FILE = "encoder_synface64.safetensors"
"""The encoder of the bundled generator."""
_PREFIX = "encoder."
_WIDEST = 1 << 14
"""Channels and latent numbers that are believed of a file."""


class LatentEncoder(nn.Module):
    """A picture to a latent: a `ResidualEncoder` that speaks in spreads about the mean latent.

    Args:
        sizes: ``image_size``, ``vector_width`` (channels after the first convolution), ``code_size`` (latent_dim).
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.image_size = sizes.image_size
        self.network = ResidualEncoder(sizes.code_size, sizes.image_size, sizes.vector_width)
        # Buffers in single precision, so that weights in half precision keep them nearly exact.
        self.register_buffer("mean", torch.zeros(sizes.code_size))
        self.register_buffer("spread", torch.ones(1))

    def forward(self, image: Tensor) -> Tensor:
        """Signed pictures (B, 3, R, R), R a power of two, → latents (B, latent_dim)."""
        return self.mean + self.spread * self.network(self.shrunk(image))

    def shrunk(self, image: Tensor) -> Tensor:
        """Pictures (B, 3, R, R) at the network's size, see `shrunk`."""
        return shrunk(image, self.image_size)


def shrunk(image: Tensor, size: int) -> Tensor:
    """Pictures (B, C, R, R) at a network's size: area average when larger, bilinear when smaller."""
    if image.shape[-1] > size:
        return F.adaptive_avg_pool2d(image, size)
    if image.shape[-1] < size:
        return F.interpolate(image, size=(size,) * 2, mode="bilinear", align_corners=False)
    return image


def load_latent_encoder(file: Path) -> tuple[LatentEncoder, str]:
    """The encoder of a file that ``gan2shape train encoder`` wrote, frozen, on the CPU in float32, and the identity
    (`LoadedGenerator.identity`) of the generator that it inverts.

    Raises:
        CheckpointError: damaged, of another kind, or with weights that do not fit.
    """
    encoder = load_networks(file, LATENT_ENCODER, LatentEncoder)
    return encoder, str(read_about(file).get("generator", ""))


def encoder_tensors(encoder: LatentEncoder) -> dict[str, Tensor]:
    """An encoder's weights in half precision, to be kept in a file of other networks; `encoder_beside` reads them."""
    return {f"{_PREFIX}{name}": tensor.half().cpu() for name, tensor in encoder.state_dict().items()}


def encoder_beside(file: Path, image_size: int) -> LatentEncoder | None:
    """The encoder in a file of networks that look at pictures of this side, frozen, on the CPU; None if there is none.

    Raises:
        CheckpointError: damaged.
    """
    found = {name.removeprefix(_PREFIX): t for name, t in read_tensors(file).items() if name.startswith(_PREFIX)}
    if not found:
        return None
    shapes = (tuple(found[name].shape) if name in found else () for name in ("network.stem.weight", "mean"))
    width, latent_dim = (max(1, min(shape[0], _WIDEST)) if shape else 1 for shape in shapes)
    return filled(LatentEncoder, NetworkSizes(image_size, 1, width, latent_dim), found, file, _PREFIX)


def encoder_of(generator: str, file: Path | None = None, *, latent_dim: int | None = None) -> LatentEncoder | None:
    """The encoder of a file, or the bundled one, for a generator of this identity (`LoadedGenerator.identity`).

    ``latent_dim`` is the generator's; a converted file may claim to be a generator that it is not.

    None where no file is named and the bundled encoder belongs to another generator.

    Raises:
        CheckpointError: a named file that cannot be used, or that belongs to another generator.
    """
    bundled = Path(str(resources.files("gan2shape") / "assets" / BUNDLED_FILE))
    encoder, inverts = load_latent_encoder(bundled if file is None else file)
    found = len(encoder.mean)
    if inverts == generator and latent_dim in (None, found):
        return encoder
    if file is None:
        return None
    if inverts == generator:
        raise CheckpointError(
            f"{file}: expected an encoder to {latent_dim} numbers, the generator's latent; got {found}"
        )
    raise CheckpointError(
        f"{file}: expected an encoder of this generator ({_shown(generator)}); got one of {_shown(inverts)}"
    )


def _shown(identity: str) -> str:
    """An identity for people: of a hash its first twelve digits, everything else as it is."""
    return re.sub(r"^([0-9a-f]{12})[0-9a-f]{52}", r"\1", identity) or "none"
