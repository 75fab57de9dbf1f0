"""Small random checkpoints of the common PyTorch layout, named tensor by tensor, and a slow float64 StyleGAN2.

Nothing here uses the package: names and arithmetic are written down from the published layout, so that the package's
modules have something independent to be compared with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]
FIR = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)
FIR = FIR[:, None] * FIR[None] / 64


def sides(resolution: int) -> list[int]:
    return [2**level for level in range(2, int(math.log2(resolution)) + 1)]


def generator_state(
    channels: Mapping[int, int], *, z_dim: int, w_dim: int, layers: int, seed: int = 0, with_buffers: bool = True
) -> State:
    """Random ``g_ema`` tensors; blur kernels and noise maps only `with_buffers`."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    state: State = {}
    for index in range(1, layers + 1):
        state[f"style.{index}.weight"] = normal(w_dim, z_dim if index == 1 else w_dim) * 100
        state[f"style.{index}.bias"] = normal(w_dim) * 10

    def modulated(name: str, inputs: int, outputs: int, size: int) -> None:
        state[f"{name}.weight"] = normal(1, outputs, inputs, size, size)
        state[f"{name}.modulation.weight"] = normal(inputs, w_dim)
        state[f"{name}.modulation.bias"] = 1 + 0.1 * normal(inputs)

    def styled(name: str, inputs: int, outputs: int) -> None:
        modulated(f"{name}.conv", inputs, outputs, 3)
        state[f"{name}.noise.weight"] = 0.3 * normal(1)
        state[f"{name}.activate.bias"] = 0.2 * normal(outputs)

    def to_rgb(name: str, inputs: int) -> None:
        modulated(f"{name}.conv", inputs, 3, 1)
        state[f"{name}.bias"] = 0.2 * normal(1, 3, 1, 1)

    resolution = max(channels)
    state["input.input"] = normal(1, channels[4], 4, 4)
    styled("conv1", channels[4], channels[4])
    to_rgb("to_rgb1", channels[4])
    for block, side in enumerate(sides(resolution)[1:]):
        styled(f"convs.{2 * block}", channels[side // 2], channels[side])
        styled(f"convs.{2 * block + 1}", channels[side], channels[side])
        to_rgb(f"to_rgbs.{block}", channels[side])
        if with_buffers:
            state[f"convs.{2 * block}.conv.blur.kernel"] = (FIR * 4).float()
            state[f"to_rgbs.{block}.upsample.kernel"] = (FIR * 4).float()
    if with_buffers:
        for index in range(2 * len(sides(resolution)) - 1):
            side = 2 ** ((index + 5) // 2)
            state[f"noises.noise_{index}"] = normal(1, 1, side, side)
    return state


def discriminator_state(channels: Mapping[int, int], *, seed: int = 1, with_buffers: bool = True) -> State:
    """Random ``d`` tensors; blur kernels only `with_buffers`."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    resolution = max(channels)
    state: State = {"convs.0.0.weight": normal(channels[resolution], 3, 1, 1)}
    state["convs.0.1.bias"] = 0.2 * normal(channels[resolution])
    for block, side in enumerate(reversed(sides(resolution)[1:]), start=1):
        inputs, outputs = channels[side], channels[side // 2]
        state[f"convs.{block}.conv1.0.weight"] = normal(inputs, inputs, 3, 3)
        state[f"convs.{block}.conv1.1.bias"] = 0.2 * normal(inputs)
        state[f"convs.{block}.conv2.1.weight"] = normal(outputs, inputs, 3, 3)
        state[f"convs.{block}.conv2.2.bias"] = 0.2 * normal(outputs)
        state[f"convs.{block}.skip.1.weight"] = normal(outputs, inputs, 1, 1)
        if with_buffers:
            state[f"convs.{block}.conv2.0.kernel"] = FIR.float()
            state[f"convs.{block}.skip.0.kernel"] = FIR.float()
    last = channels[4]
    state["final_conv.0.weight"] = normal(last, last + 1, 3, 3)
    state["final_conv.1.bias"] = 0.2 * normal(last)
    state["final_linear.0.weight"] = normal(last, last * 16)
    state["final_linear.0.bias"] = 0.2 * normal(last)
    state["final_linear.1.weight"] = normal(1, last)
    state["final_linear.1.bias"] = normal(1)
    return state


def slow_mapping(state: State, x: Tensor, first: int, last: int) -> Tensor:
    """Entries `first` to `last` inclusive, one sample and one output at a time, in float64."""
    x = x.double()
    for entry in range(first, last + 1):
        if entry == 0:
            x = torch.stack([row / math.sqrt(float((row**2).mean()) + 1e-8) for row in x])
            continue
        weight = state[f"style.{entry}.weight"].double() * 0.01 / math.sqrt(x.shape[1])
        bias = state[f"style.{entry}.bias"].double() * 0.01
        x = lrelu(torch.stack([weight @ row + bias for row in x]))
    return x


def lrelu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)


def filter_each(x: Tensor, kernel: Tensor, before: int, after: int) -> Tensor:
    """Pad and filter every channel of (B, C, H, W) with one symmetric kernel."""
    x = F.pad(x, (before, after, before, after))
    return torch.cat([F.conv2d(x[:, i : i + 1], kernel[None, None]) for i in range(x.shape[1])], 1)


def insert_zeros(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, 2H, 2W), every sample followed by a zero along both axes."""
    out = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    out[:, :, ::2, ::2] = x
    return out


def slow_modulated_conv(x: Tensor, style: Tensor, weight: Tensor, *, demodulate: bool, up: bool) -> Tensor:
    """Weights modulated for every sample; up-sampling by zero insertion, true convolution, and the FIR times 4."""
    outputs = []
    for sample, scales in zip(x, style, strict=True):
        filters = weight / math.sqrt(weight[0].numel()) * scales[None, :, None, None]
        if demodulate:
            filters = filters / torch.sqrt((filters**2).sum((1, 2, 3), keepdim=True) + 1e-8)
        if up:
            spread = insert_zeros(sample[None])[:, :, :-1, :-1]
            full = F.conv2d(F.pad(spread, (2, 2, 2, 2)), filters.flip(2, 3))
            outputs.append(filter_each(full, FIR * 4, 1, 1))
        else:
            outputs.append(F.conv2d(sample[None], filters, padding=weight.shape[-1] // 2))
    return torch.cat(outputs)


def slow_synthesis(state: State, w: Tensor, noises: list[Tensor]) -> Tensor:
    """Latents (B, num_ws, w_dim) to pictures, in float64."""
    values = {name: tensor.double() for name, tensor in state.items()}
    w = w.double()

    def style(name: str, row: int) -> Tensor:
        weight = values[f"{name}.conv.modulation.weight"] / math.sqrt(w.shape[2])
        return w[:, row] @ weight.T + values[f"{name}.conv.modulation.bias"]

    def styled(name: str, x: Tensor, row: int, noise: Tensor, *, up: bool) -> Tensor:
        weight = values[f"{name}.conv.weight"][0]
        y = slow_modulated_conv(x, style(name, row), weight, demodulate=True, up=up)
        y = y + values[f"{name}.noise.weight"] * noise.double()
        return lrelu(y + values[f"{name}.activate.bias"][None, :, None, None])

    def to_rgb(name: str, x: Tensor, row: int) -> Tensor:
        y = slow_modulated_conv(x, style(name, row), values[f"{name}.conv.weight"][0], demodulate=False, up=False)
        return y + values[f"{name}.bias"]

    x = styled("conv1", values["input.input"].expand(len(w), -1, -1, -1), 0, noises[0], up=False)
    picture = to_rgb("to_rgb1", x, 1)
    for block in range(sum(name.startswith("to_rgbs.") and name.endswith(".conv.weight") for name in values)):
        row = 2 * block + 1
        x = styled(f"convs.{2 * block}", x, row, noises[2 * block + 1], up=True)
        x = styled(f"convs.{2 * block + 1}", x, row + 1, noises[2 * block + 2], up=False)
        picture = to_rgb(f"to_rgbs.{block}", x, row + 2) + filter_each(insert_zeros(picture), FIR * 4, 2, 1)
    return picture


def slow_features(state: State, images: Tensor) -> list[Tensor]:
    """Outputs of all residual blocks of a discriminator, in float64: FIR, then a plain convolution of stride 2."""
    values = {name: tensor.double() for name, tensor in state.items()}

    def conv(name: str, x: Tensor, bias: str | None, **options: int) -> Tensor:
        weight = values[name]
        y = F.conv2d(x, weight / math.sqrt(weight[0].numel()), **options)
        return y if bias is None else lrelu(y + values[bias][None, :, None, None])

    x = conv("convs.0.0.weight", images.double(), "convs.0.1.bias")
    features = []
    for block in range(1, sum(name.endswith("conv2.1.weight") for name in values) + 1):
        name = f"convs.{block}"
        main = conv(f"{name}.conv1.0.weight", x, f"{name}.conv1.1.bias", padding=1)
        main = conv(f"{name}.conv2.1.weight", filter_each(main, FIR, 2, 2), f"{name}.conv2.2.bias", stride=2)
        skip = conv(f"{name}.skip.1.weight", filter_each(x, FIR, 1, 1), None, stride=2)
        x = (main + skip) / math.sqrt(2)
        features.append(x)
    return features


def slow_score(state: State, images: Tensor) -> Tensor:
    """Scores (B, 1) of a discriminator, in float64, its minibatch deviation gathered sample by sample."""
    values = {name: tensor.double() for name, tensor in state.items()}
    x = slow_features(state, images)[-1]
    count = len(x)
    group = min(count, 4)
    stride = count // group
    extra = []
    for index in range(count):
        members = torch.stack([x[(index % stride) + k * stride] for k in range(group)])
        deviation = torch.sqrt(((members - members.mean(0)) ** 2).mean(0) + 1e-8).mean()
        extra.append(deviation.expand(1, *x.shape[2:]))
    x = torch.cat([x, torch.stack(extra)], 1)
    weight = values["final_conv.0.weight"]
    x = F.conv2d(x, weight / math.sqrt(weight[0].numel()), padding=1)
    x = lrelu(x + values["final_conv.1.bias"][None, :, None, None]).flatten(1)
    first, second = values["final_linear.0.weight"], values["final_linear.1.weight"]
    x = lrelu(x @ first.T / math.sqrt(first.shape[1]) + values["final_linear.0.bias"])
    return x @ second.T / math.sqrt(second.shape[1]) + values["final_linear.1.bias"]
