"""StyleGAN2's discriminators as NVIDIA's PyTorch programs store them, in the common layout's names.

What the common layout's residual discriminator does not have is folded into its weights, exactly:

- one class of a conditional discriminator becomes part of the last layer;
- "orig" and "skip" discriminators have no shortcuts: they are zero, and the block's factor 1/sqrt(2) is undone;
- the from-RGB layers that a "skip" discriminator has at every size are named ``from_rgbs.0.0.weight`` and so on.

Deviations of a minibatch are taken over groups of four samples, whatever a training's ``mbstd_group_size`` was; that
concerns the score and no feature.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gan2shape.errors import CheckpointError
from gan2shape.generators.discriminator import StyleGAN2Discriminator
from gan2shape.generators.mapping import MAPPING_LR_MUL
from gan2shape.generators.nvidia import block_sides, check_layers, class_condition, mapping_layers
from gan2shape.generators.nvidia_records import NvidiaNetwork, Source, network_of
from gan2shape.generators.ops import activate
from gan2shape.generators.rosinality import read_discriminator

State = dict[str, Tensor]


def read_nvidia_discriminator(node: object, class_index: int | None = None) -> StyleGAN2Discriminator:
    """The discriminator of a record or state dict with NVIDIA's names, in float32.

    Args:
        node: a module's record (see `nvidia_records`), a `NvidiaNetwork`, or a mapping of names to tensors.
        class_index: which class a conditional network scores; None for an unconditional one.

    Raises:
        CheckpointError: it is no StyleGAN2 discriminator, has tensors that do not fit, or `class_index` does not suit.
    """
    return read_discriminator(discriminator_state(network_of(node), class_index))


def discriminator_state(network: NvidiaNetwork, class_index: int | None = None) -> State:
    """Its tensors under the common layout's names; arguments and errors as `read_nvidia_discriminator`."""
    source = Source(network, "discriminator")
    sides = block_sides(source, "b{}.conv0.weight", 8)
    if not sides:
        raise CheckpointError("this is no StyleGAN2 discriminator: it needs the tensor b8.conv0.weight")
    check_layers(source)
    state: State = {}
    _from_rgb(source, sides[-1], "convs.0", state)
    for index, side in enumerate(reversed(sides), start=1):
        block, target = f"b{side}", f"convs.{index}"
        if index > 1 and f"{block}.fromrgb.weight" in source:
            _from_rgb(source, side, f"from_rgbs.{index - 2}", state)
        _conv(source, f"{block}.conv0", f"{target}.conv1.0", f"{target}.conv1.1", state)
        _conv(source, f"{block}.conv1", f"{target}.conv2.1", f"{target}.conv2.2", state)
        if f"{block}.skip.weight" in source:
            state[f"{target}.skip.1.weight"] = source.take(f"{block}.skip.weight", 4)
        else:
            outputs, inputs = state[f"{target}.conv2.1.weight"].shape[:2]
            state[f"{target}.skip.1.weight"] = torch.zeros(outputs, inputs, 1, 1)
            for name in (f"{target}.conv2.1.weight", f"{target}.conv2.2.bias"):
                state[name] = state[name] * math.sqrt(2.0)
    if "b4.fromrgb.weight" in source:
        _from_rgb(source, 4, f"from_rgbs.{len(sides) - 1}", state)
    _conv(source, "b4.conv", "final_conv.0", "final_conv.1", state)
    for layer, target in (("b4.fc", "final_linear.0"), ("b4.out", "final_linear.1")):
        state[f"{target}.weight"] = source.take(f"{layer}.weight", 2)
        state[f"{target}.bias"] = source.take(f"{layer}.bias", 1)
    _fold_class_of_score(source, class_index, state)
    source.finish()
    return state


def _fold_class_of_score(source: Source, class_index: int | None, state: State) -> None:
    """One score from as many as the class embedding has numbers."""
    embedded = class_condition(source, class_index)
    if embedded is None:
        return
    for weight, bias in mapping_layers(source, None):
        if weight.shape != (len(bias), len(embedded)):
            raise CheckpointError("the discriminator's mapping layers do not fit together")
        scale = MAPPING_LR_MUL / math.sqrt(len(embedded))
        embedded = activate((weight @ embedded) * scale + bias * MAPPING_LR_MUL)
    for name in ("final_linear.1.weight", "final_linear.1.bias"):
        if len(state[name]) != len(embedded):
            raise CheckpointError(f"the discriminator's tensor b4.out must have {len(embedded)} rows")
        folded = (embedded @ state[name]) / math.sqrt(len(embedded))
        state[name] = folded.reshape(1, *state[name].shape[1:])


def _from_rgb(source: Source, side: int, target: str, state: State) -> None:
    _conv(source, f"b{side}.fromrgb", f"{target}.0", f"{target}.1", state)
    channels = state[f"{target}.0.weight"].shape[1]
    if channels != 3:
        raise CheckpointError(f"the discriminator scores {channels} channels instead of RGB")


def _conv(source: Source, layer: str, weight: str, bias: str, state: State) -> None:
    state[f"{weight}.weight"] = source.take(f"{layer}.weight", 4)
    state[f"{bias}.bias"] = source.take(f"{layer}.bias", 1)
