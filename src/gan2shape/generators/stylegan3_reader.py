"""StyleGAN3 generators from NVIDIA's names."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from gan2shape.errors import CheckpointError
from gan2shape.generators.nvidia import mapping_layers
from gan2shape.generators.nvidia_records import NvidiaNetwork, Source, network_of
from gan2shape.generators.rosinality import check_claim
from gan2shape.generators.stylegan3 import StyleGAN3Generator
from gan2shape.generators.stylegan3_config import FIRST_CUTOFF, StyleGAN3Config, layer_plans

_LAYER = re.compile(r"synthesis\.(L(\d+)_(\d+)_(\d+))\.weight")


def is_stylegan3(network: NvidiaNetwork) -> bool:
    """Whether these are the tensors of an alias-free generator."""
    return "synthesis.input.freqs" in network.tensors


def read_stylegan3(node: object, class_index: int | None = None) -> StyleGAN3Generator:
    """The generator of a record or state dict with NVIDIA's names, in float32, frozen.

    Args:
        node: a module's record (see `nvidia_records`), a `NvidiaNetwork`, or a mapping of names to tensors.
        class_index: which class a conditional network draws; None for an unconditional one.

    Raises:
        CheckpointError: it is no StyleGAN3 generator, its layers do not follow the published schedule, tensors do not
            fit, or `class_index` does not suit it.
    """
    network = network_of(node)
    source = Source(network, "generator")
    source.left.pop("mapping.w_avg", None)
    mapping = mapping_layers(source, class_index)
    names = _layer_names(network)
    config = _config(network, names, mapping)
    generator = _build(config, names, network)
    state = {f"style.{index}.weight": weight for index, (weight, _) in enumerate(mapping, start=1)}
    state |= {f"style.{index}.bias": bias for index, (_, bias) in enumerate(mapping, start=1)}
    wanted = generator.state_dict()
    for name, tensor in wanted.items():
        if name.startswith("synthesis."):
            state[name] = source.take(name, tensor.ndim)
    source.finish()
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            raise CheckpointError(
                f"the generator's tensor {name} must be {tuple(wanted[name].shape)}; got {tuple(tensor.shape)}"
            )
    _check_magnitudes(state)
    generator.load_state_dict(state)
    return generator.eval().requires_grad_(False)


def _layer_names(network: NvidiaNetwork) -> list[tuple[str, int, int]]:
    """Name, size and channels of every layer in order, the to-RGB layer last."""
    found = {}
    for name in network.tensors:
        if match := _LAYER.fullmatch(name):
            found[int(match.group(2))] = (match.group(1), int(match.group(3)), int(match.group(4)))
    if len(found) < 4 or sorted(found) != list(range(len(found))):
        raise CheckpointError("this is no StyleGAN3 generator: it needs tensors synthesis.L0_*.weight and so on")
    return [found[index] for index in range(len(found))]


def _config(
    network: NvidiaNetwork, names: list[tuple[str, int, int]], mapping: list[tuple[Tensor, Tensor]]
) -> StyleGAN3Config:
    first, last = names[0][0], names[-1][0]
    if names[-1][2] != 3:
        raise CheckpointError(f"the generator draws {names[-1][2]} channels instead of RGB")
    tensors = network.tensors
    bandwidth = network.setting("synthesis.input.bandwidth", FIRST_CUTOFF)
    if abs(bandwidth - FIRST_CUTOFF) > 1e-6:
        raise CheckpointError(f"the generator's first cutoff is {bandwidth:g}; only {FIRST_CUTOFF:g} can be read")
    limit = f"synthesis.{first}.conv_clamp"
    unlimited = network.settings.get(limit, 256.0) is None
    try:
        return StyleGAN3Config(
            resolution=names[-1][1],
            channels=tuple(channels for _, _, channels in names[:-1]),
            z_dim=int(mapping[0][0].shape[1]),
            w_dim=int(mapping[-1][0].shape[0]),
            mapping_layers=len(mapping),
            kernel_size=int(tensors[f"synthesis.{first}.weight"].shape[-1]),
            radial=any(t.ndim == 2 for name, t in tensors.items() if name.endswith(".down_filter")),
            critical_layers=int(network.setting("synthesis.num_critical", 2)),
            margin=int(network.setting("synthesis.margin_size", 10)),
            output_scale=network.setting("synthesis.output_scale", 0.25),
            clamp=None if unlimited else network.setting(limit, 256.0),
        )
    except (ValueError, IndexError) as error:
        raise CheckpointError(f"the sizes of {first} to {last} do not fit together: {error}") from error


def _build(config: StyleGAN3Config, names: list[tuple[str, int, int]], network: NvidiaNetwork) -> StyleGAN3Generator:
    """A new generator whose layers have the names found; torch's random state stays as it was."""
    plans = layer_plans(config)
    for index, ((name, _, _), plan) in enumerate(zip(names, plans, strict=True)):
        if plan.name(index) != name:
            raise CheckpointError(
                f"the layers do not follow the published schedule: {name} should be {plan.name(index)}"
            )
    mapping = config.w_dim * (config.z_dim + (config.mapping_layers - 1) * config.w_dim)
    weights = sum(plan.in_channels * plan.out_channels * config.kernel_size**2 for plan in plans)
    check_claim(mapping + weights + config.channels[0] ** 2, network.tensors, "generator")
    with torch.random.fork_rng(devices=[]):
        return StyleGAN3Generator(config)


def _check_magnitudes(state: dict[str, Tensor]) -> None:
    for name, tensor in state.items():
        if name.endswith(".magnitude_ema") and not bool(tensor > 0):
            raise CheckpointError(f"the generator's tensor {name} must be positive; got {float(tensor)}")
