"""Any readable checkpoint as one safetensors file that says where it came from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from gan2shape._version import __version__
from gan2shape.errors import CheckpointError, OutputError
from gan2shape.generators.checkpoint import open_checkpoint
from gan2shape.generators.describe import kind_of
from gan2shape.generators.functional import is_reference
from gan2shape.generators.origin import CLASS, HEADER, ORIGIN, SOURCE
from gan2shape.generators.save import save_generator
from gan2shape.generators.stylegan2 import StyleGAN2Generator
from gan2shape.io.checkpoints import sha256

ENDING = ".safetensors"


def convert(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    class_index: int | None = None,
    half: bool = False,
) -> dict[str, Any]:
    """Write the averaged generator, the discriminator and the mean latent of a checkpoint as one safetensors file.

    Args:
        source: a file that `load_generator` reads.
        output: the file to write, whole or not at all; its name ends in .safetensors.
        class_index: which class of a conditional generator; the file then holds that class alone.
        half: store weights in half precision.

    Returns:
        What the header's entry "generator" says: the source's name, SHA-256, kind, layout and class, the precision, and
        of a source that was converted itself the SHA-256 of the first file.

    Raises:
        CheckpointError: the source cannot be read, or a weight does not fit into half precision.
        OutputError: the output is the source itself, is named otherwise, or cannot be written.
    """
    if is_reference(str(source)):
        raise CheckpointError(f"{source} is Python code; only files can be converted")
    path, target = checked_places(source, output)
    checkpoint = open_checkpoint(path)
    networks = checkpoint.networks(class_index)
    record: dict[str, Any] = {
        "source": path.name,
        SOURCE: sha256(path),
        "source_layout": checkpoint.layout,
        "kind": kind_of(networks.generator),
        "precision": "float16" if half else "float32",
        "written_by": f"gan2shape {__version__}",
    }
    origin = checkpoint.origin
    if origin is not None:
        record[ORIGIN] = origin.sha256
        record |= {} if origin.class_index is None else {CLASS: origin.class_index}
    elif class_index is not None:
        record |= {CLASS: class_index, "classes": checkpoint.classes}
    if isinstance(networks.generator, StyleGAN2Generator) and not networks.has_noise:
        record["noise"] = "seeded, the source had none"
    earlier = {name: text for name, text in checkpoint.metadata.items() if name != HEADER}
    save_generator(
        target,
        networks.generator,
        networks.discriminator,
        w_mean=networks.w_mean,
        metadata={**earlier, HEADER: record},
        dtype=torch.float16 if half else torch.float32,
    )
    return record


def checked_places(source: str | os.PathLike[str], output: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The file to convert and the one to write.

    Raises:
        OutputError: both are the same file, or the output is named otherwise than .safetensors.
    """
    path, target = Path(os.path.expanduser(source)), Path(os.path.expanduser(output))
    if target.suffix.lower() != ENDING:
        raise OutputError(f"the output must end in {ENDING}; got {target.name}")
    if os.path.exists(target) and os.path.exists(path) and target.samefile(path):
        raise OutputError(f"{target} is the file to convert itself; name another output")
    return path, target
