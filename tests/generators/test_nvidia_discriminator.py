"""NVIDIA's discriminators against a slow float64 one that is written down from the published definition."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan2shape.errors import CheckpointError
from gan2shape.generators.nvidia_discriminator import read_nvidia_discriminator
from tests.generators.test_nvidia import (
    CHANNELS,
    CLASSES,
    FIR,
    State,
    W,
    dense,
    lrelu,
    mapped,
    normals,
    one_hot,
    record,
    upfirdn,
)


def discriminator_tensors(architecture: str = "resnet", classes: int = 0) -> State:
    normal = normals(2)
    state: State = {}

    def conv(name: str, inputs: int, outputs: int, size: int, bias: bool = True) -> None:
        state[f"{name}.weight"] = normal(outputs, inputs, size, size)
        if bias:
            state[f"{name}.bias"] = normal(outputs)

    conv("b16.fromrgb", 3, CHANNELS[16], 1)
    if architecture == "skip":
        conv("b8.fromrgb", 3, CHANNELS[8], 1)
        conv("b4.fromrgb", 3, CHANNELS[4], 1)
    for side in (16, 8):
        conv(f"b{side}.conv0", CHANNELS[side], CHANNELS[side], 3)
        conv(f"b{side}.conv1", CHANNELS[side], CHANNELS[side // 2], 3)
        state[f"b{side}.conv1.resample_filter"] = FIR.float()
        if architecture == "resnet":
            conv(f"b{side}.skip", CHANNELS[side], CHANNELS[side // 2], 1, bias=False)
    conv("b4.conv", CHANNELS[4] + 1, CHANNELS[4], 3)
    state["b4.fc.weight"], state["b4.fc.bias"] = normal(CHANNELS[4], 16 * CHANNELS[4]), normal(CHANNELS[4])
    outputs = W if classes else 1
    state["b4.out.weight"], state["b4.out.bias"] = normal(outputs, CHANNELS[4]), normal(outputs)
    if classes:
        state["mapping.embed.weight"], state["mapping.embed.bias"] = normal(W, classes), normal(W)
        for index in range(2):
            state[f"mapping.fc{index}.weight"], state[f"mapping.fc{index}.bias"] = 100 * normal(W, W), 20 * normal(W)
    return state


def slow_score(state: State, images: Tensor, label: Tensor | None = None) -> Tensor:
    v = {name: tensor.double() for name, tensor in state.items()}

    def conv(name: str, x: Tensor, down: bool = False, activated: bool = True) -> Tensor:
        weight = v[f"{name}.weight"] / math.sqrt(v[f"{name}.weight"][0].numel())
        size = weight.shape[-1]
        if down:  # The layer's padding plus that of a 4-tap filter before a reduction by two: 1 before, 1 after.
            x = upfirdn(x, pads=(size // 2 + 1, size // 2 + 1))
        y = F.conv2d(x, weight, stride=2 if down else 1, padding=0 if down else size // 2)
        return lrelu(y + v[f"{name}.bias"][None, :, None, None]) if activated else y

    x = conv("b16.fromrgb", images)
    for side in (16, 8):
        if side < 16 and f"b{side}.fromrgb.weight" in v:
            x = x + conv(f"b{side}.fromrgb", images)
        images = upfirdn(images, down=2, pads=(1, 1))
        y = conv(f"b{side}.conv1", conv(f"b{side}.conv0", x), down=True)
        skip = f"b{side}.skip"
        x = (y + conv(skip, x, down=True, activated=False)) / math.sqrt(2) if f"{skip}.weight" in v else y
    if "b4.fromrgb.weight" in v:
        x = x + conv("b4.fromrgb", images)
    spread = ((x - x.mean(0)).square().mean(0) + 1e-8).sqrt().mean()
    x = conv("b4.conv", torch.cat([x, spread.expand(len(x), 1, 4, 4)], 1))
    x = dense(v, "b4.out", lrelu(dense(v, "b4.fc", x.flatten(1))))
    if label is not None:
        x = (x * mapped(v, None, label)).sum(1, keepdim=True) / math.sqrt(W)
    return x


@pytest.mark.parametrize("architecture", ["resnet", "skip", "orig"])
@pytest.mark.parametrize("index", [None, 1])
def test_a_discriminator_scores_as_the_definition_says(architecture: str, index: int | None) -> None:
    state = discriminator_tensors(architecture, classes=0 if index is None else CLASSES)
    discriminator = read_nvidia_discriminator(record(state), index).double()
    images = normals(7)(3, 3, 16, 16).double()
    expected = slow_score(state, images, None if index is None else one_hot(index, 3))
    torch.testing.assert_close(discriminator(images), expected, rtol=1e-5, atol=1e-5)


def test_features_are_those_of_the_blocks_before_the_picture_is_added() -> None:
    """The first block's maps do not depend on the smaller from-RGB layers, the second block's do."""
    state = discriminator_tensors("skip")
    images = normals(7)(2, 3, 16, 16)
    silent = state | {"b8.fromrgb.weight": torch.zeros(5, 3, 1, 1), "b8.fromrgb.bias": torch.zeros(5)}
    found, without = (read_nvidia_discriminator(one).block_features(images) for one in (state, silent))
    torch.testing.assert_close(found[0], without[0])
    assert (found[1] - without[1]).abs().max() > 0.1
    frozen = read_nvidia_discriminator(state).frozen_features()(images)
    for ours, plain in zip(frozen, found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (discriminator_tensors() | {"b4.fromrgb.weight": torch.zeros(6, 3, 1, 1)}, "lacks the tensor b4.fromrgb.bias"),
        (discriminator_tensors("skip") | {"b8.fromrgb.weight": torch.zeros(5, 1, 1, 1)}, "instead of RGB"),
        (discriminator_tensors() | {"b8.extra": torch.zeros(1)}, "unknown tensors: b8.extra"),
        (discriminator_tensors() | {"b16.fromrgb.weight": torch.zeros(4, 1, 1, 1)}, "instead of RGB"),
        (discriminator_tensors(classes=CLASSES), "choose a class"),
        ({"synthesis.b4.const": torch.zeros(6, 4, 4)}, "no StyleGAN2 discriminator"),
    ],
)
def test_a_discriminator_that_does_not_fit_is_refused_in_one_line(node: object, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_nvidia_discriminator(node)
