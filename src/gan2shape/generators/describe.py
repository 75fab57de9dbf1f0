"""Plain facts about a checkpoint, for ``gan2shape info`` and for `LoadedGenerator.about`."""

from __future__ import annotations

import re
from typing import Any

from gan2shape.generators.checkpoint import Checkpoint, Networks, Tensors
from gan2shape.generators.nvidia_records import NvidiaNetwork
from gan2shape.generators.stylegan2 import StyleGAN2Generator
from gan2shape.generators.stylegan3 import StyleGAN3Generator

_BUFFER = re.compile(
    r"(^|\.)(noises\..*|kernel|noise_const|resample_filter|w_avg|up_filter|down_filter|magnitude_ema|freqs|phases"
    r"|transform)$"
)
"""Tensors of a network that were not trained."""


def describe(checkpoint: Checkpoint, networks: Networks) -> dict[str, Any]:
    """Kind, sizes, widths, latent sizes, mapping depth, counts of parameters, classes, and what is missing."""
    generator, discriminator = networks.generator, networks.discriminator
    config = generator.config
    facts: dict[str, Any] = {
        "kind": kind_of(generator),
        "layout": checkpoint.layout,
        "resolution": config.resolution,
        "channels": _channels(generator),
        "discriminator_channels": None if discriminator is None else dict(discriminator.config.channels),
        "z_dim": config.z_dim,
        "w_dim": config.w_dim,
        "num_ws": config.num_ws,
        "mapping_layers": config.mapping_layers,
        "parameters": {"generator": _count(checkpoint.generator), "discriminator": _count(checkpoint.discriminator)},
        "missing": _missing(networks),
        "metadata": dict(checkpoint.metadata),
    }
    architectures = _architectures(checkpoint, networks)
    if architectures:
        facts["architectures"] = architectures
    origin = checkpoint.origin
    if origin is not None:
        facts["converted_from"] = origin.sha256
        facts |= {} if origin.class_index is None else {"class": origin.class_index}
    if checkpoint.classes:
        facts["classes"] = checkpoint.classes
    return facts


def _channels(generator: StyleGAN2Generator | StyleGAN3Generator) -> dict[int, int] | list[int]:
    """By resolution, or layer by layer."""
    if isinstance(generator, StyleGAN2Generator):
        return dict(generator.config.channels)
    return list(generator.config.channels)


def kind_of(generator: StyleGAN2Generator | StyleGAN3Generator) -> str:
    """ "StyleGAN2", "StyleGAN3-T" or "StyleGAN3-R"."""
    if isinstance(generator, StyleGAN2Generator):
        return "StyleGAN2"
    return "StyleGAN3-R" if generator.config.kernel_size == 1 else "StyleGAN3-T"


def _architectures(checkpoint: Checkpoint, networks: Networks) -> dict[str, str]:
    """Of networks other than the usual ones: a generator that adds pictures up, and a residual discriminator."""
    found = {}
    generator, discriminator = networks.generator, networks.discriminator
    if isinstance(generator, StyleGAN2Generator) and generator.config.residual:
        found["generator"] = "resnet"
    elif isinstance(generator, StyleGAN2Generator) and _lacks(checkpoint.generator, "synthesis.b4.torgb.weight"):
        found["generator"] = "orig"
    if discriminator is not None and discriminator.config.sees_every_size:
        found["discriminator"] = "skip"
    elif discriminator is not None and _lacks(checkpoint.discriminator, "b8.skip.weight"):
        found["discriminator"] = "orig"
    return found


def _lacks(source: Tensors | NvidiaNetwork | None, name: str) -> bool:
    """Whether a network under NVIDIA's names has no such tensor; the common layout has none of these architectures."""
    return isinstance(source, NvidiaNetwork) and name not in source.tensors


def _missing(networks: Networks) -> list[str]:
    style2 = isinstance(networks.generator, StyleGAN2Generator)
    absent = {
        "discriminator": networks.discriminator is None,
        "noise maps (seeded ones take their place)": style2 and not networks.has_noise,
        "latent mean (that of 4096 samples takes its place)": networks.w_mean is None,
    }
    return [what for what, is_absent in absent.items() if is_absent]


def _count(source: Tensors | NvidiaNetwork | None) -> int:
    """Count of what was trained in the file; networks as they are used have other sizes where layers were folded."""
    if source is None:
        return 0
    tensors = source.tensors if isinstance(source, NvidiaNetwork) else source
    return sum(tensor.numel() for name, tensor in tensors.items() if not _BUFFER.search(name))
