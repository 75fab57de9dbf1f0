"""NVIDIA's StyleGAN2 layout against a slow float64 network that is written down from the published definition."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan2shape.errors import CheckpointError
from gan2shape.generators.nvidia import (
    class_count,
    latent_average,
    read_nvidia_generator,
    snapshot_networks,
)
from gan2shape.generators.nvidia_records import network_of

State = dict[str, Tensor]
CHANNELS = {4: 6, 8: 5, 16: 4}
Z, W, CLASSES = 7, 8, 3
FIR = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8
FIR = FIR[:, None] * FIR[None]


def normals(seed: int):
    rng = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=rng)


def generator_tensors(architecture: str = "skip", classes: int = 0, noise: bool = True) -> State:
    normal = normals(1)
    state = {"mapping.w_avg": normal(W)}
    if classes:
        state["mapping.embed.weight"], state["mapping.embed.bias"] = normal(W, classes), normal(W)
    for index in range(3):
        width = Z + (W if classes else 0) if index == 0 else W
        state[f"mapping.fc{index}.weight"] = 100 * normal(W, width)
        state[f"mapping.fc{index}.bias"] = 20 * normal(W)
    state["synthesis.b4.const"] = normal(CHANNELS[4], 4, 4)

    def layer(name: str, inputs: int, outputs: int, size: int, side: int) -> None:
        state[f"{name}.weight"] = normal(outputs, inputs, size, size)
        state[f"{name}.bias"] = normal(outputs)
        state[f"{name}.affine.weight"], state[f"{name}.affine.bias"] = normal(inputs, W), 1 + normal(inputs)
        if size == 3:
            state[f"{name}.resample_filter"] = FIR.float()
            if noise:
                state[f"{name}.noise_const"], state[f"{name}.noise_strength"] = normal(side, side), normal()

    for side, channels in CHANNELS.items():
        state[f"synthesis.b{side}.resample_filter"] = FIR.float()
        if side > 4:
            layer(f"synthesis.b{side}.conv0", CHANNELS[side // 2], channels, 3, side)
        layer(f"synthesis.b{side}.conv1", channels, channels, 3, side)
        if architecture == "resnet" and side > 4:
            state[f"synthesis.b{side}.skip.weight"] = normal(channels, CHANNELS[side // 2], 1, 1)
            state[f"synthesis.b{side}.skip.resample_filter"] = FIR.float()
        if architecture == "skip" or side == max(CHANNELS):
            layer(f"synthesis.b{side}.torgb", channels, 3, 1, side)
    return state


def upfirdn(x: Tensor, up: int = 1, down: int = 1, pads: tuple[int, int] = (0, 0), gain: float = 1) -> Tensor:
    """Zeros after every sample, padding, true convolution with the filter, every `down`-th sample."""
    batch, channels, height, width = x.shape
    wide = x.new_zeros(batch, channels, height * up, width * up)
    wide[:, :, ::up, ::up] = x
    wide = F.pad(wide, (*pads, *pads))
    rows, columns = wide.shape[2] - 3, wide.shape[3] - 3
    y = x.new_zeros(batch, channels, rows, columns)
    for i in range(4):
        for j in range(4):
            y = y + gain * FIR[3 - i, 3 - j] * wide[:, :, i : i + rows, j : j + columns]
    return y[:, :, ::down, ::down]


def lrelu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)


def normalised(x: Tensor) -> Tensor:
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


def dense(v: State, name: str, x: Tensor, lr: float = 1.0) -> Tensor:
    weight = v[f"{name}.weight"]
    return x @ (weight * lr / math.sqrt(weight.shape[1])).T + v[f"{name}.bias"] * lr


def mapped(v: State, x: Tensor | None, label: Tensor | None, lr: float = 0.01) -> Tensor:
    parts = [] if x is None else [normalised(x)]
    if label is not None:
        parts.append(normalised(dense(v, "mapping.embed", label)))
    y = torch.cat(parts, 1)
    index = 0
    while f"mapping.fc{index}.weight" in v:
        y = lrelu(dense(v, f"mapping.fc{index}", y, lr))
        index += 1
    return y


def modulated(v: State, name: str, x: Tensor, w: Tensor) -> Tensor:
    weight, style = v[f"{name}.weight"], dense(v, f"{name}.affine", w)
    size = weight.shape[-1]
    if size == 1:
        style = style / math.sqrt(weight.shape[1])
    outputs = []
    for sample in range(len(x)):
        kernel = weight * style[sample][None, :, None, None]
        if size == 3:
            kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        one = x[sample : sample + 1]
        if name.endswith("conv0"):  # Up-sample with the filter, then a true convolution.
            outputs.append(F.conv2d(upfirdn(one, up=2, pads=(3, 2), gain=4), kernel.flip(2, 3)))
        else:
            outputs.append(F.conv2d(one, kernel, padding=size // 2))
    return torch.cat(outputs)


def slow_picture(state: State, ws: Tensor, architecture: str = "skip") -> Tensor:
    """Latents (B, num_ws, W) to pictures, in float64."""
    v = {name: tensor.double() for name, tensor in state.items()}
    x, picture, row = v["synthesis.b4.const"].expand(len(ws), -1, -1, -1), None, 0
    for side in CHANNELS:
        shortcut = v.get(f"synthesis.b{side}.skip.weight")
        if shortcut is not None:
            wide = upfirdn(x, up=2, pads=(2, 1), gain=4)
            shortcut = torch.einsum("oi,bihw->bohw", shortcut[:, :, 0, 0] / math.sqrt(shortcut.shape[1]), wide)
        for conv in ("conv1",) if side == 4 else ("conv0", "conv1"):
            name = f"synthesis.b{side}.{conv}"
            x = modulated(v, name, x, ws[:, row])
            if f"{name}.noise_const" in v:
                x = x + v[f"{name}.noise_const"] * v[f"{name}.noise_strength"]
            x = lrelu(x + v[f"{name}.bias"][None, :, None, None])
            row += 1
        if shortcut is not None:
            x = (x + shortcut) / math.sqrt(2)
        if picture is not None:
            picture = upfirdn(picture, up=2, pads=(2, 1), gain=4)
        if architecture == "skip" or side == max(CHANNELS):
            name = f"synthesis.b{side}.torgb"
            colour = modulated(v, name, x, ws[:, row]) + v[f"{name}.bias"][None, :, None, None]
            picture = colour if picture is None else picture + colour
    return picture


def record(state: State, **settings: object) -> SimpleNamespace:
    """The same tensors as nested modules; settings by dotted name with "__" for "."."""
    root: dict = {"_parameters": {}, "_buffers": {}, "_modules": {}, "training": False}

    def module_of(path: list[str]) -> dict:
        node = root
        for name in path:
            child = SimpleNamespace(state={"_parameters": {}, "_buffers": {}, "_modules": {}})
            node = node["_modules"].setdefault(name, child).state
        return node

    for name, tensor in state.items():
        *path, last = name.split(".")
        group = "_buffers" if last in ("noise_const", "resample_filter", "w_avg") else "_parameters"
        module_of(path)[group][last] = tensor
    for name, value in settings.items():
        *path, last = name.split("__")
        module_of(path)[last] = value
    return SimpleNamespace(module="training.networks", name="Network", state=root, arguments=())


def one_hot(index: int, count: int = 1) -> Tensor:
    return F.one_hot(torch.full((count,), index), CLASSES).double()


@pytest.mark.parametrize("architecture", ["skip", "orig", "resnet"])
@pytest.mark.parametrize("noise", [True, False])
def test_a_generator_draws_what_the_definition_says(architecture: str, noise: bool) -> None:
    state = generator_tensors(architecture, noise=noise)
    generator = read_nvidia_generator(record(state)).double()
    ws = normals(5)(2, 6, W).double()
    expected = slow_picture(state, ws, architecture)
    assert expected.abs().max() > 1
    torch.testing.assert_close(generator.synthesize(ws), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(generator.frozen(torch.float64).synthesize(ws), expected, rtol=1e-5, atol=1e-5)
    z = normals(6)(3, Z).double()
    slow = mapped({name: tensor.double() for name, tensor in state.items()}, z, None)
    torch.testing.assert_close(generator.map(z), slow, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("index", [0, 2])
def test_one_class_of_a_conditional_generator(index: int) -> None:
    state = generator_tensors(classes=CLASSES)
    generator = read_nvidia_generator(state, index).double()
    z = normals(6)(3, Z).double()
    slow = mapped({name: tensor.double() for name, tensor in state.items()}, z, one_hot(index, 3))
    torch.testing.assert_close(generator.map(z), slow, rtol=1e-5, atol=1e-5)
    assert class_count(network_of(state)) == CLASSES


def test_a_mapping_with_another_learning_rate() -> None:
    state = generator_tensors()
    settings = {f"mapping__fc{index}__bias_gain": 0.05 for index in range(3)}
    z = normals(6)(3, Z).double()
    slow = mapped({name: tensor.double() for name, tensor in state.items()}, z, None, lr=0.05)
    torch.testing.assert_close(
        read_nvidia_generator(record(state, **settings)).double().map(z), slow, rtol=1e-5, atol=1e-5
    )


def test_a_snapshot_gives_its_averaged_generator() -> None:
    state = generator_tensors()
    tree = {
        "G": None,
        "D": record({"b8.conv0.weight": torch.zeros(4, 4, 3, 3)}),
        "G_ema": record(state),
        "augment_pipe": None,
    }
    networks = snapshot_networks(tree)
    assert set(networks) == {"generator", "discriminator"}
    average = latent_average(networks["generator"])
    assert average is not None
    torch.testing.assert_close(average, state["mapping.w_avg"])
    assert set(snapshot_networks(record(state))) == {"generator"}
    with pytest.raises(CheckpointError, match="holds no generator"):
        snapshot_networks({"D": record({"b8.conv0.weight": torch.zeros(4, 4, 3, 3)})})
    with pytest.raises(CheckpointError, match=r"legacy\.py"):
        snapshot_networks((1, 2, 3))


def without(state: State, *names: str, **more: Tensor) -> State:
    return {name: tensor for name, tensor in state.items() if name not in names} | more


@pytest.mark.parametrize(
    ("node", "index", "message"),
    [
        (generator_tensors() | {"synthesis.b8.skip.weight": torch.zeros(5, 6, 1, 1)}, None, "missing skips.1.weight"),
        (generator_tensors() | {"synthesis.b8.extra": torch.zeros(1)}, None, "unknown tensors: synthesis.b8.extra"),
        (generator_tensors() | {"synthesis.b8.resample_filter": torch.ones(2, 2)}, None, r"not the filter \[1, 3, 3"),
        (generator_tensors() | {"synthesis.b4.const": torch.full((6, 4, 4), math.nan)}, None, "finite"),
        (without(generator_tensors(), "synthesis.b8.conv0.affine.weight"), None, "lacks the tensor"),
        (without(generator_tensors(), "synthesis.b16.torgb.weight"), None, "unknown tensors|lacks the tensor"),
        (without(generator_tensors(), "mapping.fc0.weight"), None, "lacks the tensor mapping.fc0.weight"),
        (generator_tensors() | {"synthesis.b8.conv1.bias": torch.zeros(4)}, None, "must be"),
        (generator_tensors(), 1, "knows no classes"),
        (generator_tensors(classes=CLASSES), None, "choose a class from 0 to 2; none was chosen"),
        (generator_tensors(classes=CLASSES), 3, "choose a class from 0 to 2; got 3"),
        (record(generator_tensors(), synthesis__b8__conv0__activation="tanh"), None, "only leaky ReLU"),
        ({"b8.conv0.weight": torch.zeros(4, 4, 3, 3)}, None, "no StyleGAN2 generator"),
        ("text", None, "no PyTorch module"),
    ],
)
def test_a_generator_that_does_not_fit_is_refused_in_one_line(node: object, index: int | None, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_nvidia_generator(node, index)
    assert "\n" not in str(caught.value)


def test_modules_nested_without_end_are_refused() -> None:
    inner: dict = {"_modules": {}}
    inner["_modules"]["again"] = SimpleNamespace(state=inner)
    with pytest.raises(CheckpointError, match="no PyTorch module"):
        network_of(SimpleNamespace(state=inner))
