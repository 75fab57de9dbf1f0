"""Write a generator as one safetensors file that `load_generator` reads."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gan2shape.errors import CheckpointError
from gan2shape.generators.checkpoint import SETTINGS
from gan2shape.generators.discriminator import StyleGAN2Discriminator
from gan2shape.generators.loaded import latent_mean
from gan2shape.generators.origin import HEADER
from gan2shape.generators.stylegan2 import StyleGAN2Generator
from gan2shape.generators.stylegan3 import StyleGAN3Generator
from gan2shape.io.checkpoints import write_tensors

_STYLE = "style."


def save_generator(
    path: str | os.PathLike[str],
    generator: StyleGAN2Generator | StyleGAN3Generator,
    discriminator: StyleGAN2Discriminator | None = None,
    *,
    w_mean: Tensor | None = None,
    metadata: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a safetensors file: ``g_ema/...`` and ``d/...`` in `dtype`, ``w_mean`` in float32.

    A StyleGAN2 has the common layout's names. A StyleGAN3 has NVIDIA's, only the weights of its mapping and its layers
    in `dtype` and all else in float32, and its settings in the header. `metadata` goes into the header: texts as they
    are, other values as JSON.

    Raises:
        CheckpointError: a weight does not fit into `dtype`.
        OutputError: the place cannot be written.
        ValueError: `metadata` has an entry "generator", where a StyleGAN3's settings go, that is no mapping.
    """
    header: dict[str, Any] = dict(metadata or {})
    if isinstance(generator, StyleGAN3Generator):
        if not isinstance(header.get(HEADER, {}), Mapping):
            raise ValueError(f"metadata's {HEADER!r} must be a mapping; got {type(header[HEADER]).__name__}")
        named = {f"g_ema/{name}": tensor for name, tensor in nvidia_names(generator).items()}
        header[HEADER] = {**header.get(HEADER, {}), SETTINGS: nvidia_settings(generator)}
        narrow = {name for name in named if name.endswith(".weight") and "synthesis.input." not in name}
    else:
        named = {f"g_ema/{name}": tensor for name, tensor in generator.state_dict().items()}
        narrow = set(named)
    if discriminator is not None:
        scoring = {f"d/{name}": tensor for name, tensor in discriminator.state_dict().items()}
        named |= scoring
        narrow |= set(scoring)
    tensors = {name: tensor.detach().to(dtype) if name in narrow else tensor.detach() for name, tensor in named.items()}
    overflown = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if overflown:
        raise CheckpointError(f"the tensor {overflown[0]} does not fit into {dtype}")
    tensors["w_mean"] = (latent_mean(generator) if w_mean is None else w_mean).detach().float()
    texts = {
        key: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for key, value in header.items()
    }
    write_tensors(path, tensors, texts)


def nvidia_names(generator: StyleGAN3Generator) -> dict[str, Tensor]:
    """A StyleGAN3's tensors under NVIDIA's names, as `read_stylegan3` takes them."""
    tensors = {}
    for name, tensor in generator.state_dict().items():
        if name.startswith(_STYLE):
            index, _, kind = name.removeprefix(_STYLE).partition(".")
            name = f"mapping.fc{int(index) - 1}.{kind}"
        tensors[name] = tensor
    return tensors


def nvidia_settings(generator: StyleGAN3Generator) -> dict[str, float | None]:
    """What a StyleGAN3's tensors do not tell, under the names of NVIDIA's attributes."""
    config = generator.config
    return {
        "synthesis.num_critical": config.critical_layers,
        "synthesis.margin_size": config.margin,
        "synthesis.output_scale": config.output_scale,
        f"synthesis.{generator.synthesis.names[0]}.conv_clamp": config.clamp,
    }
