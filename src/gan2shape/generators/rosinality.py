"""State dicts of the common PyTorch StyleGAN2 layout (``g_ema``, ``d``) as our modules.

Every size is read from the tensors. The buffers of blur kernels may be absent; where they are present they must be the
filter [1, 3, 3, 1] that the layers are built on. Noise maps may be absent too: a seeded set then takes their place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from gan2shape.errors import CheckpointError
from gan2shape.generators.discriminator import DiscriminatorConfig, StyleGAN2Discriminator
from gan2shape.generators.ops import fir_kernel
from gan2shape.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator

_Network = TypeVar("_Network", bound=nn.Module)
_CLAIM_FACTOR, _CLAIM_SPARE = 4, 1_000_000
_FIR_NAME = re.compile(r"(^|\.)kernel$")


def read_generator(state: Mapping[str, Tensor]) -> StyleGAN2Generator:
    """A generator of ``g_ema``'s tensors, in float32.

    Raises:
        CheckpointError: a tensor is missing, unknown, of a wrong shape or not finite, or sizes contradict each other.
    """
    state = _clean(state, "generator")
    config = generator_config(state)
    check_claim(config.weight_count, state, "generator")
    generator = _build(lambda: StyleGAN2Generator(config), "generator")
    optional = {name for name in generator.state_dict() if name.startswith("noises.")}
    _load(generator, state, optional, "generator")
    return generator


def read_discriminator(state: Mapping[str, Tensor]) -> StyleGAN2Discriminator:
    """A discriminator of ``d``'s tensors, in float32.

    Raises:
        CheckpointError: a tensor is missing, unknown, of a wrong shape or not finite, or sizes contradict each other.
    """
    state = _clean(state, "discriminator")
    config = discriminator_config(state)
    check_claim(config.weight_count, state, "discriminator")
    discriminator = _build(lambda: StyleGAN2Discriminator(config), "discriminator")
    _load(discriminator, state, set(), "discriminator")
    return discriminator


def generator_config(state: Mapping[str, Tensor]) -> StyleGAN2Config:
    """Resolution, widths, latent sizes and mapping depth from a generator's tensors.

    Raises:
        CheckpointError: a tensor that tells a size is missing or has a wrong rank.
    """
    mapping = _count(state, r"style\.(\d+)\.weight", first=1)
    blocks = _count(state, r"convs\.(\d+)\.conv\.weight", first=0) // 2
    if mapping == 0 or blocks == 0:
        raise CheckpointError("this is no StyleGAN2 generator: it needs tensors style.1.weight and convs.0.conv.weight")
    channels = {4: _shape(state, "input.input", 4)[1]}
    for block in range(blocks):
        channels[8 * 2**block] = _shape(state, f"convs.{2 * block}.conv.weight", 5)[1]
    try:
        return StyleGAN2Config(
            resolution=4 * 2**blocks,
            channels=channels,
            z_dim=_shape(state, "style.1.weight", 2)[1],
            w_dim=_shape(state, f"style.{mapping}.weight", 2)[0],
            mapping_layers=mapping,
            residual="skips.0.weight" in state,
        )
    except ValueError as error:
        raise CheckpointError(f"the generator's sizes do not fit together: {error}") from error


def discriminator_config(state: Mapping[str, Tensor]) -> DiscriminatorConfig:
    """Resolution and widths from a discriminator's tensors.

    Raises:
        CheckpointError: a tensor that tells a size is missing or has a wrong rank.
    """
    blocks = _count(state, r"convs\.(\d+)\.conv2\.1\.weight", first=1)
    if blocks == 0:
        raise CheckpointError("this is no StyleGAN2 discriminator: it needs the tensor convs.1.conv2.1.weight")
    resolution = 4 * 2**blocks
    channels = {resolution: _shape(state, "convs.0.0.weight", 4)[0]}
    for block in range(1, blocks + 1):
        channels[resolution // 2**block] = _shape(state, f"convs.{block}.conv2.1.weight", 4)[0]
    sees_every_size = "from_rgbs.0.0.weight" in state
    return DiscriminatorConfig(resolution=resolution, channels=channels, sees_every_size=sees_every_size)


def check_claim(claimed: int, state: Mapping[str, Tensor], what: str) -> None:
    """Refuse sizes that ask for much more than there is: a few small tensors can claim any number of bytes.

    Raises:
        CheckpointError: `claimed` weights are many times those of `state`. What is a little too much is left to the
            comparison with the built module, which names the tensor.
    """
    held = sum(tensor.numel() for tensor in state.values())
    if claimed > _CLAIM_FACTOR * held + _CLAIM_SPARE:
        raise CheckpointError(
            f"the {what}'s sizes do not fit together: they ask for {claimed} weights, and there are {held} numbers"
        )


def _clean(state: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Float32 tensors without blur kernels and without the prefix that data-parallel training adds."""
    cleaned = {}
    for name, tensor in state.items():
        name = name.removeprefix("module.")
        if _FIR_NAME.search(name):
            _check_fir(name, tensor, what)
        elif not tensor.is_floating_point():
            raise CheckpointError(f"the {what}'s tensor {name} must hold floating-point numbers; got {tensor.dtype}")
        else:
            cleaned[name] = tensor.float()
            if not bool(torch.isfinite(cleaned[name]).all()):
                raise CheckpointError(f"the {what}'s tensor {name} holds NaN or infinite numbers")
    return cleaned


def _check_fir(name: str, kernel: Tensor, what: str) -> None:
    expected = fir_kernel(torch.ones(()))
    total = kernel.double().sum()
    if tuple(kernel.shape) != (4, 4) or not torch.allclose(kernel.double() / total, expected.double(), atol=1e-3):
        raise CheckpointError(
            f"the {what}'s blur kernel {name} is not the filter [1, 3, 3, 1]; no other one is supported"
        )


def _build(build: Callable[[], _Network], what: str) -> _Network:
    """A new module; its random initialisation, soon overwritten, leaves torch's random state as it was."""
    try:
        with torch.random.fork_rng(devices=[]):
            return build()
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"the {what}'s sizes do not fit together: {error}") from error


def _load(module: nn.Module, state: Mapping[str, Tensor], optional: set[str], what: str) -> None:
    wanted = module.state_dict()
    missing = [name for name in wanted if name not in state and name not in optional]
    unknown = [name for name in state if name not in wanted]
    if missing or unknown:
        parts = [_listed("missing", missing), _listed("unknown", unknown)]
        raise CheckpointError(f"the {what}'s tensors do not fit: {'; '.join(part for part in parts if part)}")
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            raise CheckpointError(
                f"the {what}'s tensor {name} must be {tuple(wanted[name].shape)}; got {tuple(tensor.shape)}"
            )
    module.load_state_dict(dict(state), strict=False)


def _listed(label: str, names: list[str]) -> str:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{label} {shown}" if names else ""


def _count(state: Mapping[str, Tensor], pattern: str, *, first: int) -> int:
    """How many consecutive indices from `first` on the tensors' names have."""
    found = {int(match.group(1)) for name in state if (match := re.fullmatch(pattern, name))}
    count = 0
    while first + count in found:
        count += 1
    return count


def _shape(state: Mapping[str, Tensor], name: str, rank: int) -> tuple[int, ...]:
    if name not in state:
        raise CheckpointError(f"the checkpoint lacks the tensor {name}")
    shape = tuple(state[name].shape)
    if len(shape) != rank or math.prod(shape) == 0:
        raise CheckpointError(f"the tensor {name} must have {rank} dimensions, none empty; got {shape}")
    return shape
