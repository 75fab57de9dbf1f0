"""A file of a StyleGAN, sorted before anything is built: which networks it holds, and under whose names.

Two namings are told apart by the tensors themselves: that of the common PyTorch layout (``style.1.weight``) and
NVIDIA's (``synthesis.b4.const``), whether in one of their pickles or in somebody's conversion of one. A file of our own
has one of both.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gan2shape.errors import CheckpointError
from gan2shape.generators.discriminator import StyleGAN2Discriminator
from gan2shape.generators.nvidia import class_count, latent_average, read_nvidia_generator, snapshot_networks
from gan2shape.generators.nvidia_discriminator import read_nvidia_discriminator
from gan2shape.generators.nvidia_records import NvidiaNetwork, Setting
from gan2shape.generators.origin import HEADER, Origin, origin_of
from gan2shape.generators.rosinality import read_discriminator, read_generator
from gan2shape.generators.stylegan2 import StyleGAN2Generator
from gan2shape.generators.stylegan3 import StyleGAN3Generator
from gan2shape.generators.stylegan3_reader import is_stylegan3, read_stylegan3
from gan2shape.io.checkpoints import read_metadata, read_tensors
from gan2shape.io.pickles import read_pickle

COMMON, NVIDIA, PICKLE = "common PyTorch layout", "NVIDIA's names", "NVIDIA pickle"
SETTINGS = "settings"
_MEAN_NAMES = ("w_mean", "latent_avg", "mapping.w_avg")
_GENERATOR_MARKS = ("synthesis.b4.const", "synthesis.input.freqs")
_DISCRIMINATOR_MARK = "b4.out.weight"
_BLOCK = re.compile(r"b\d+\.")

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Networks:
    """The networks of a checkpoint, in float32, trainable as they are."""

    generator: StyleGAN2Generator | StyleGAN3Generator
    """The averaged generator."""
    discriminator: StyleGAN2Discriminator | None
    """None where the file holds none."""
    w_mean: Tensor | None
    """Stored mean latent (latent_dim,); None where there is none."""
    has_noise: bool
    """Whether noise maps were stored (StyleGAN3 needs none)."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What `open_checkpoint` found."""

    path: Path
    """The file."""
    layout: str
    """Whose names the tensors have, for people."""
    generator: Tensors | NvidiaNetwork
    """Its tensors: of the common layout, or a network under NVIDIA's names."""
    discriminator: Tensors | NvidiaNetwork | None
    """The same for the discriminator, where there is one."""
    w_mean: Tensor | None
    """The stored mean latent, not checked yet."""
    metadata: Mapping[str, str]
    """The texts of a safetensors header."""

    @property
    def classes(self) -> int:
        """Count of classes of a conditional generator, 0 for an unconditional one."""
        return class_count(self.generator) if isinstance(self.generator, NvidiaNetwork) else 0

    @property
    def origin(self) -> Origin | None:
        """The file that this one was converted from; a conversion holds one class alone."""
        return None if self.classes else origin_of(self.metadata)

    def networks(self, class_index: int | None = None) -> Networks:
        """Build the networks; of a conditional generator, those of one class.

        The class that a converted file holds may be named, or not.

        Raises:
            CheckpointError: tensors that do not fit together, or a class that does not suit the file.
        """
        self._check_class(class_index)
        try:
            generator = _generator_of(self.generator, class_index)
            discriminator = None if self.discriminator is None else _discriminator_of(self.discriminator, class_index)
        except CheckpointError as error:
            raise CheckpointError(f"{self.path}: {error}") from error
        source = self.generator
        names = source.tensors if isinstance(source, NvidiaNetwork) else source
        return Networks(
            generator=generator,
            discriminator=discriminator,
            w_mean=_checked_mean(self.w_mean, generator.latent_dim, self.path),
            has_noise=any("noises." in name or name.endswith(".noise_const") for name in names),
        )

    def _check_class(self, class_index: int | None) -> None:
        count, origin = self.classes, self.origin
        held = None if origin is None else origin.class_index
        if count == 0 and class_index not in (None, held):
            if held is not None:
                raise CheckpointError(
                    f"{self.path} holds class {held} alone; leave out the class {class_index} (--class)"
                )
            raise CheckpointError(f"{self.path} knows no classes; leave out the class {class_index} (--class)")
        if count and (class_index is None or not 0 <= class_index < count):
            came = "none was chosen" if class_index is None else f"got {class_index}"
            raise CheckpointError(f"{self.path} is conditional: choose a class from 0 to {count - 1} (--class); {came}")


def open_checkpoint(path: Path) -> Checkpoint:
    """Read a file (.safetensors, .pt, .pth, NVIDIA's .pkl) and find its networks.

    Raises:
        CheckpointError: the file cannot be read, or holds no generator of a known kind.
    """
    if path.suffix.lower() == ".pkl" and not _is_tensor_file(path):
        tree = read_pickle(path)
        try:
            networks = snapshot_networks(tree)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error
        generator = networks["generator"]
        return Checkpoint(path, PICKLE, generator, networks.get("discriminator"), latent_average(generator), {})
    tensors, metadata = read_tensors(path), read_metadata(path)
    return _nvidia_parts(tensors, metadata, path) or _common_parts(tensors, metadata, path)


def _is_tensor_file(path: Path) -> bool:
    """Whether a file with the ending of a pickle is a zip file of torch.save or a safetensors file."""
    try:
        with open(path, "rb") as file:
            head = file.read(9)
    except OSError:
        return False  # The reader tells what is wrong.
    return head.startswith(b"PK\x03\x04") or head[8:9] == b"{"


def _common_parts(tensors: Tensors, metadata: Mapping[str, str], path: Path) -> Checkpoint:
    generator, discriminator = _under("g_ema/", tensors), _under("d/", tensors)
    if not generator and "style.1.weight" in tensors:
        generator = {name: tensor for name, tensor in tensors.items() if name not in _MEAN_NAMES}
    if not generator:
        found = sorted({name.split("/")[0] for name in tensors})
        shown = ", ".join(found[:4]) + (", ..." if len(found) > 4 else "")
        raise CheckpointError(f"{path} holds no StyleGAN generator: expected 'g_ema'; found {shown}")
    return Checkpoint(path, COMMON, generator, discriminator or None, _mean_among(tensors), metadata)


def _nvidia_parts(tensors: Tensors, metadata: Mapping[str, str], path: Path) -> Checkpoint | None:
    """The networks under NVIDIA's names with any prefix; None where there are none."""
    prefix = _prefix(tensors, _GENERATOR_MARKS)
    if prefix is None:
        return None
    own = _under(prefix, tensors)
    if not prefix:
        own = {name: tensor for name, tensor in own.items() if name.startswith(("synthesis.", "mapping."))}
    generator = NvidiaNetwork(own, _settings(metadata, path))
    start = _prefix(tensors, (_DISCRIMINATOR_MARK,))
    discriminator: Tensors | NvidiaNetwork | None = _under("d/", tensors) or None
    if start is not None:
        scoring = _under(start, tensors)
        if not start:
            scoring = {name: tensor for name, tensor in scoring.items() if _BLOCK.match(name)}
        discriminator = NvidiaNetwork(scoring)
    mean = _mean_among(tensors)
    return Checkpoint(
        path, NVIDIA, generator, discriminator, latent_average(generator) if mean is None else mean, metadata
    )


def _prefix(tensors: Tensors, marks: tuple[str, ...]) -> str | None:
    """What stands before a tensor that only such a network has; that of an averaged network where there are several."""
    found = [name.removesuffix(mark) for name in tensors for mark in marks if name.endswith(mark)]
    found = [prefix for prefix in found if not prefix or prefix[-1] in "/."]
    return min(found, key=lambda prefix: ("ema" not in prefix.lower(), len(prefix), prefix), default=None)


def _settings(metadata: Mapping[str, str], path: Path) -> dict[str, Setting]:
    """Settings of the layers, from the header of a file of ours; none in any other."""
    if HEADER not in metadata:
        return {}
    try:
        settings = json.loads(metadata[HEADER]).get(SETTINGS, {})
        sound = all(value is None or math.isfinite(float(value)) for value in settings.values())
    except (ValueError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise CheckpointError(f"{path}: the header's entry {HEADER!r} is damaged")
    return {str(name): None if value is None else float(value) for name, value in settings.items()}


def _under(prefix: str, tensors: Tensors) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _mean_among(tensors: Tensors) -> Tensor | None:
    return next((tensors[name] for name in _MEAN_NAMES if name in tensors), None)


def _checked_mean(mean: Tensor | None, latent_dim: int, path: Path) -> Tensor | None:
    if mean is None:
        return None
    found = mean.float().squeeze()
    if tuple(found.shape) != (latent_dim,) or not bool(torch.isfinite(found).all()):
        raise CheckpointError(f"{path}: the mean latent must be {latent_dim} finite numbers; got {tuple(mean.shape)}")
    return found


def _generator_of(source: Tensors | NvidiaNetwork, class_index: int | None) -> StyleGAN2Generator | StyleGAN3Generator:
    if not isinstance(source, NvidiaNetwork):
        return read_generator(source)
    return read_stylegan3(source, class_index) if is_stylegan3(source) else read_nvidia_generator(source, class_index)


def _discriminator_of(source: Tensors | NvidiaNetwork, class_index: int | None) -> StyleGAN2Discriminator:
    if not isinstance(source, NvidiaNetwork):
        return read_discriminator(source)
    return read_nvidia_discriminator(source, class_index if class_count(source) else None)
