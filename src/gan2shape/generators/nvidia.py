"""StyleGAN2's generator as NVIDIA's programs store it (stylegan2-ada-pytorch, stylegan3), in the common layout's names.

The arithmetic is that of the common layout: the same run-time scales, FIR filter and kernel orientation (convolution
where a layer up-samples, correlation elsewhere). What differs is folded into the weights, exactly:

- one class of a conditional network becomes part of the first mapping layer's bias;
- "orig" and "resnet" generators have no to-RGB layers but the last: the others are zero;
- the shortcuts of a "resnet" generator are named ``skips.0.weight`` and so on, which the common layout does not have.

The clamp of activations (``conv_clamp``, 256 as a rule), which keeps training in float16 from overflowing, is left
out: it would change a picture only where an activation exceeds it. Discriminators: `nvidia_discriminator`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from gan2shape.errors import CheckpointError
from gan2shape.generators.mapping import MAPPING_LR_MUL
from gan2shape.generators.nvidia_records import NvidiaNetwork, Source, network_of
from gan2shape.generators.ops import fir_kernel, pixel_norm
from gan2shape.generators.rosinality import read_generator
from gan2shape.generators.stylegan2 import StyleGAN2Generator

State = dict[str, Tensor]
_FILTER = "resample_filter"
_ACTIVATIONS = ("lrelu", "linear")


def read_nvidia_generator(node: object, class_index: int | None = None) -> StyleGAN2Generator:
    """The generator of a record or state dict with NVIDIA's names, in float32.

    Args:
        node: a module's record (see `nvidia_records`), a `NvidiaNetwork`, or a mapping of names to tensors.
        class_index: which class a conditional network draws; None for an unconditional one.

    Raises:
        CheckpointError: it is no StyleGAN2 generator, has an architecture that our layers cannot express, tensors that
            do not fit, or `class_index` does not suit it.
    """
    return read_generator(generator_state(network_of(node), class_index))


def snapshot_networks(tree: object) -> dict[str, NvidiaNetwork]:
    """The networks "generator" and, where there is one, "discriminator" of a training snapshot or a lone network.

    Raises:
        CheckpointError: there is no generator, or it is one of the TensorFlow programs.
    """
    if isinstance(tree, tuple | list) or str(getattr(tree, "module", "")).startswith("dnnlib.tflib"):
        raise CheckpointError(
            "this is a pickle of the TensorFlow programs; convert it first with legacy.py of stylegan2-ada-pytorch"
        )
    if isinstance(tree, Mapping) and not any(isinstance(value, Tensor) for value in tree.values()):
        found = {"generator": tree.get("G_ema") or tree.get("G"), "discriminator": tree.get("D")}
    else:
        found = {"generator": tree, "discriminator": None}
    if found["generator"] is None:
        raise CheckpointError("this snapshot holds no generator: expected 'G_ema'")
    return {what: network_of(node) for what, node in found.items() if node is not None}


def latent_average(network: NvidiaNetwork) -> Tensor | None:
    """The running mean (w_dim,) of a generator's latents, None where it was not kept."""
    average = network.tensors.get("mapping.w_avg")
    return None if average is None else average.float()


def generator_state(network: NvidiaNetwork, class_index: int | None = None) -> State:
    """A generator's tensors under the common layout's names; arguments and errors as `read_nvidia_generator`."""
    source = Source(network, "generator")
    source.left.pop("mapping.w_avg", None)
    sides = block_sides(source, "synthesis.b{}.conv1.weight", 4)
    if len(sides) < 2:
        raise CheckpointError("this is no StyleGAN2 generator: it needs synthesis.b4.conv1.weight and b8.conv1.weight")
    check_layers(source)
    state = _mapping_state(source, class_index)
    state["input.input"] = source.take("synthesis.b4.const", 3)[None]
    for level, side in enumerate(sides):
        block, first = f"synthesis.b{side}", 2 * level - 2
        if level:
            _styled(source, f"{block}.conv0", f"convs.{first}", state, noise=first + 1)
            _styled(source, f"{block}.conv1", f"convs.{first + 1}", state, noise=first + 2)
        else:
            _styled(source, f"{block}.conv1", "conv1", state, noise=0)
        if f"{block}.skip.weight" in source:
            state[f"skips.{level - 1}.weight"] = source.take(f"{block}.skip.weight", 4)
        before = f"convs.{first + 1}" if level else "conv1"
        _to_rgb(source, f"{block}.torgb", f"to_rgbs.{level - 1}" if level else "to_rgb1", state, before)
    if f"synthesis.b{sides[-1]}.torgb.weight" not in network.tensors:
        raise CheckpointError(f"the generator lacks the tensor synthesis.b{sides[-1]}.torgb.weight")
    source.finish()
    return state


def class_count(network: NvidiaNetwork) -> int:
    """Count of classes of a conditional network, 0 for an unconditional one."""
    embedding = network.tensors.get("mapping.embed.weight")
    return 0 if embedding is None or embedding.ndim != 2 else int(embedding.shape[1])


def mapping_layers(source: Source, class_index: int | None) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases of a mapping network at the learning-rate factor 0.01, one class folded into the first.

    Raises:
        CheckpointError: a layer is missing or does not fit, or `class_index` does not suit the network.
    """
    condition = class_condition(source, class_index)
    layers: list[tuple[Tensor, Tensor]] = []
    while (name := f"mapping.fc{len(layers)}") and f"{name}.weight" in source:
        factor = source.network.setting(f"{name}.bias_gain", MAPPING_LR_MUL) / MAPPING_LR_MUL
        weight, bias = source.take(f"{name}.weight", 2) * factor, source.take(f"{name}.bias", 1) * factor
        if len(bias) != len(weight):
            raise CheckpointError(f"the {source.what}'s tensor {name}.bias must hold {len(weight)} numbers")
        layers.append((weight, bias))
    if not layers:
        raise CheckpointError(f"the {source.what} lacks the tensor mapping.fc0.weight")
    if condition is not None and layers[0][0].shape[1] > len(condition):
        weight, bias = layers[0]
        width = weight.shape[1]
        z_dim = width - len(condition)
        bias = bias + weight[:, z_dim:] @ condition / math.sqrt(width)
        layers[0] = (weight[:, :z_dim] * math.sqrt(z_dim / width), bias)
    return layers


def class_condition(source: Source, class_index: int | None) -> Tensor | None:
    """The normalised embedding of a class (width,), None for an unconditional network.

    Raises:
        CheckpointError: `class_index` does not suit the network, or its tensors do not fit.
    """
    if "mapping.embed.weight" not in source:
        if class_index is not None:
            raise CheckpointError(f"the {source.what} knows no classes; leave out the class {class_index}")
        return None
    weight, bias = source.take("mapping.embed.weight", 2), source.take("mapping.embed.bias", 1)
    count = weight.shape[1]
    if class_index is None or not 0 <= class_index < count:
        came = "none was chosen" if class_index is None else f"got {class_index}"
        raise CheckpointError(f"the {source.what} is conditional: choose a class from 0 to {count - 1}; {came}")
    if len(bias) != len(weight):
        raise CheckpointError(f"the {source.what}'s tensor mapping.embed.bias must hold {len(weight)} numbers")
    return pixel_norm((weight[:, class_index] / math.sqrt(count) + bias)[None])[0]


def _mapping_state(source: Source, class_index: int | None) -> State:
    state = {}
    embeds = "mapping.embed.weight" in source
    if embeds and source.width("mapping.fc0.weight", 1) <= source.width("mapping.embed.weight", 0):
        raise CheckpointError("the generator takes no random numbers, only a class")
    for index, (weight, bias) in enumerate(mapping_layers(source, class_index), start=1):
        state[f"style.{index}.weight"], state[f"style.{index}.bias"] = weight, bias
    return state


def block_sides(source: Source, pattern: str, first: int) -> list[int]:
    """The sides `first`, twice that, and so on, for which the tensors that the pattern names are there."""
    sides = []
    side = first
    while pattern.format(side) in source:
        sides.append(side)
        side *= 2
    return sides


def check_layers(source: Source) -> None:
    """Forget the filters, after a look whether they and the activations are those of our layers.

    Raises:
        CheckpointError: they are others.
    """
    expected = fir_kernel(torch.ones(()))
    for name in [name for name in source.left if name.rpartition(".")[2] == _FILTER]:
        kernel = source.left.pop(name)
        if kernel.shape != expected.shape or not torch.allclose(kernel.float(), expected, atol=1e-4):
            raise CheckpointError(f"the {source.what}'s {name} is not the filter [1, 3, 3, 1]; no other is supported")
    for name, value in source.network.settings.items():
        if name.endswith(".activation") and value not in _ACTIVATIONS:
            raise CheckpointError(f"the {source.what}'s {name} is {value!r}; only leaky ReLU can be read")


def _affine(source: Source, layer: str, target: str, state: State) -> None:
    state[f"{target}.conv.weight"] = source.take(f"{layer}.weight", 4)[None]
    state[f"{target}.conv.modulation.weight"] = source.take(f"{layer}.affine.weight", 2)
    state[f"{target}.conv.modulation.bias"] = source.take(f"{layer}.affine.bias", 1)


def _styled(source: Source, layer: str, target: str, state: State, *, noise: int) -> None:
    _affine(source, layer, target, state)
    state[f"{target}.activate.bias"] = source.take(f"{layer}.bias", 1)
    state[f"{target}.noise.weight"] = torch.zeros(1)
    if f"{layer}.noise_strength" in source:
        state[f"{target}.noise.weight"] = source.take(f"{layer}.noise_strength", 0)[None]
        state[f"noises.noise_{noise}"] = source.take(f"{layer}.noise_const", 2)[None, None]


def _to_rgb(source: Source, layer: str, target: str, state: State, before: str) -> None:
    """A to-RGB layer, or where there is none one that adds nothing, as wide as the convolution before it."""
    if f"{layer}.weight" in source:
        _affine(source, layer, target, state)
        state[f"{target}.bias"] = source.take(f"{layer}.bias", 1)[None, :, None, None]
        if state[f"{target}.bias"].shape[1] != 3:
            raise CheckpointError(f"the generator draws {state[f'{target}.bias'].shape[1]} channels instead of RGB")
        return
    modulation = torch.zeros_like(state[f"{before}.conv.modulation.weight"])
    state[f"{target}.conv.weight"] = torch.zeros(1, 3, len(modulation), 1, 1)
    state[f"{target}.conv.modulation.weight"] = modulation
    state[f"{target}.conv.modulation.bias"] = torch.zeros(len(modulation))
    state[f"{target}.bias"] = torch.zeros(1, 3, 1, 1)
