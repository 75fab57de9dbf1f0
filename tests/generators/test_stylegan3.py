"""The alias-free generator against a slow float64 one, and against its promise: the picture moves as its input does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan2shape.generators.protocol import Generator
from gan2shape.generators.stylegan3 import StyleGAN3Generator
from gan2shape.generators.stylegan3_reader import read_stylegan3

State = dict[str, Tensor]
Z, W, SIZE, LAYERS = 5, 6, 64, 4
WIDTHS = (6, 5, 4, 4, 3)
CUTOFFS = (2.0, 8.0, 32.0, 32.0, 32.0)
STOPBANDS = [2**2.1 * (32 * 2**0.3 / 2**2.1) ** min(index / 2, 1) for index in range(5)]
RATES = (16, 32, 64, 64, 64)
SIZES = (36, 52, 84, 64, 64)
HALF_WIDTHS = [max(stop, rate / 2) - cutoff for stop, rate, cutoff in zip(STOPBANDS, RATES, CUTOFFS, strict=True)]


def design(factor: int, layer: int, rate: float, radial: bool) -> Tensor:
    """Kaiser-windowed sinc or jinc, as numpy computes it."""
    taps, cutoff = 6 * factor, CUTOFFS[layer]
    attenuation = 2.285 * (taps - 1) * math.pi * 2 * HALF_WIDTHS[layer] / (rate / 2) + 7.95
    beta = 0.1102 * (attenuation - 8.7)
    if attenuation <= 50:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21) if attenuation > 21 else 0.0
    place, window = (np.arange(taps) - (taps - 1) / 2) / rate, np.kaiser(taps, beta)
    if radial:
        radius = np.hypot(place[:, None], place[None])
        angles = (np.arange(400) + 0.5) * math.pi / 400
        bessel = np.cos(angles - 2 * math.pi * cutoff * radius[..., None] * np.sin(angles)).mean(-1)
        taps_found = bessel / radius * np.outer(window, window)
    else:
        taps_found = np.sinc(2 * cutoff * place) * window
    return torch.tensor(taps_found / taps_found.sum(), dtype=torch.float32)


def factors(layer: int) -> tuple[int, int, float]:
    """Up and down factor and the rate between them."""
    source = RATES[max(layer - 1, 0)]
    high = max(source, RATES[layer]) * (1 if layer == LAYERS else 2)
    return high // source, high // RATES[layer], high


def name_of(layer: int) -> str:
    return f"synthesis.L{layer}_{SIZES[layer]}_{WIDTHS[layer]}"


def random_state(kernel: int = 3, radial: bool = False, seed: int = 0) -> State:
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng)

    state = {"mapping.w_avg": normal(W)}
    for index in range(2):
        state[f"mapping.fc{index}.weight"] = 100 * normal(W, Z if index == 0 else W)
        state[f"mapping.fc{index}.bias"] = normal(W)
    state["synthesis.input.freqs"] = 1.5 * normal(WIDTHS[0], 2)
    state["synthesis.input.phases"] = torch.rand(WIDTHS[0], generator=rng) - 0.5
    state["synthesis.input.weight"] = normal(WIDTHS[0], WIDTHS[0])
    state["synthesis.input.affine.weight"] = 0.2 * normal(4, W)
    state["synthesis.input.affine.bias"] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    state["synthesis.input.transform"] = torch.eye(3)
    for layer, outputs in enumerate(WIDTHS):
        name, inputs = name_of(layer), WIDTHS[max(layer - 1, 0)]
        size = 1 if layer == LAYERS else kernel
        state[f"{name}.weight"], state[f"{name}.bias"] = normal(outputs, inputs, size, size), 0.3 * normal(outputs)
        state[f"{name}.affine.weight"], state[f"{name}.affine.bias"] = 0.3 * normal(inputs, W), 1 + 0.1 * normal(inputs)
        state[f"{name}.magnitude_ema"] = 0.5 + torch.rand((), generator=rng)
        if layer < LAYERS:
            up, down, high = factors(layer)
            state[f"{name}.up_filter"] = design(up, max(layer - 1, 0), high, False)
            state[f"{name}.down_filter"] = design(down, layer, high, radial and layer < 2)
    return state


def filtered(x: Tensor, taps: Tensor) -> Tensor:
    """True convolution without padding, tap by tap; a row of taps acts down the columns, then along the rows."""
    if taps.ndim == 1:
        return filtered(filtered(x, taps[:, None]), taps[None])
    height, width = taps.shape
    rows, columns = x.shape[2] - height + 1, x.shape[3] - width + 1
    y = x.new_zeros(*x.shape[:2], rows, columns)
    for i in range(height):
        for j in range(width):
            y += taps[height - 1 - i, width - 1 - j] * x[:, :, i : i + rows, j : j + columns]
    return y


def slow_input(v: State, w: Tensor, transform: Tensor) -> Tensor:
    """One latent (W,) to (1, C, 36, 36)."""
    t = v["synthesis.input.affine.weight"] @ w / math.sqrt(W) + v["synthesis.input.affine.bias"]
    t = t / torch.hypot(t[0], t[1])
    turn = torch.tensor([[t[0], -t[1], 0], [t[1], t[0], 0], [0, 0, 1]], dtype=torch.float64)
    shift = torch.tensor([[1, 0, -t[2]], [0, 1, -t[3]], [0, 0, 1]], dtype=torch.float64)
    pose = turn @ shift @ transform
    axis = (torch.arange(36, dtype=torch.float64) + 0.5 - 18) / 16
    places = torch.stack([axis.expand(36, 36), axis[:, None].expand(36, 36), torch.ones(36, 36)], 2) @ pose.T
    waves = torch.zeros(36, 36, WIDTHS[0], dtype=torch.float64)
    for channel, frequency in enumerate(v["synthesis.input.freqs"]):
        length = torch.linalg.norm(pose[:2, :2].T @ frequency)
        amplitude = (1 - (length - 2) / (8 - 2)).clamp(0, 1)
        turns = places[..., :2] @ frequency + v["synthesis.input.phases"][channel]
        waves[..., channel] = amplitude * torch.sin(2 * math.pi * turns)
    return (waves @ v["synthesis.input.weight"].T / math.sqrt(WIDTHS[0])).permute(2, 0, 1)[None]


def slow_layer(v: State, layer: int, x: Tensor, w: Tensor) -> Tensor:
    name, last = name_of(layer), layer == LAYERS
    weight = v[f"{name}.weight"]
    style = v[f"{name}.affine.weight"] @ w / math.sqrt(W) + v[f"{name}.affine.bias"]
    if last:
        weight = weight * (style / math.sqrt(weight.shape[1]))[:, None, None]
    else:
        weight = weight / weight.square().mean((1, 2, 3), keepdim=True).sqrt()
        weight = weight * (style / style.square().mean().sqrt())[:, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
    x = F.conv2d(x, weight / v[f"{name}.magnitude_ema"].sqrt(), padding=weight.shape[-1] - 1)
    x = x + v[f"{name}.bias"][:, None, None]
    if last:
        return x.clamp(-256, 256)
    up, down, _ = factors(layer)
    total = (SIZES[layer] - 1) * down + 1 - x.shape[-1] * up + 6 * up + 6 * down - 2
    before = (total + up) // 2
    wide = x.new_zeros(*x.shape[:2], x.shape[2] * up, x.shape[3] * up)
    wide[:, :, ::up, ::up] = x
    y = filtered(F.pad(wide, (before, total - before) * 2), v[f"{name}.up_filter"]) * up**2
    y = (torch.where(y > 0, y, 0.2 * y) * math.sqrt(2)).clamp(-256, 256)
    return filtered(y, v[f"{name}.down_filter"])[:, :, ::down, ::down]


def slow_picture(state: State, ws: Tensor, transform: Tensor) -> Tensor:
    v = {name: tensor.double() for name, tensor in state.items()}
    pictures = []
    for rows in ws:
        x = slow_input(v, rows[0], transform)
        for layer in range(LAYERS + 1):
            x = slow_layer(v, layer, x, rows[layer + 1])
        pictures.append(0.25 * x)
    return torch.cat(pictures)


def moved(angle_deg: float = 0.0, x: float = 0.0, y: float = 0.0) -> Tensor:
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return torch.tensor([[cos, -sin, x], [sin, cos, y], [0, 0, 1]], dtype=torch.float64)


def reader(kernel: int, radial: bool) -> StyleGAN3Generator:
    return read_stylegan3(random_state(kernel, radial))


@pytest.mark.parametrize(
    ("kernel", "radial"), [pytest.param(3, False, marks=pytest.mark.slow), (1, True)], ids=["T", "R"]
)
def test_pictures_are_those_of_the_definition(kernel: int, radial: bool) -> None:
    state = random_state(kernel, radial)
    generator = read_stylegan3(state)
    ws = torch.randn(2, LAYERS + 2, W, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    transform = moved(17, 0.05, -0.1)
    expected = slow_picture(state, ws, transform)
    assert expected.std() > 0.05
    found = generator.double().synthesize(ws, transform=transform)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    single = generator.float().synthesize(ws.float(), transform=transform.float())
    torch.testing.assert_close(single.double(), expected, rtol=1e-3, atol=1e-4)


def test_the_mapping_is_that_of_the_definition() -> None:
    state = {name: tensor.double() for name, tensor in random_state().items()}
    z = torch.randn(3, Z, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    y = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for index, width in enumerate((Z, W)):
        weight, bias = state[f"mapping.fc{index}.weight"], state[f"mapping.fc{index}.bias"]
        y = y @ weight.T * 0.01 / math.sqrt(width) + 0.01 * bias
        y = torch.where(y > 0, y, 0.2 * y) * math.sqrt(2)
    torch.testing.assert_close(reader(3, False).double().map(z), y, rtol=1e-6, atol=1e-8)


def test_it_is_a_generator_with_a_gradient_to_the_latent() -> None:
    generator = reader(3, False)
    assert isinstance(generator, Generator)
    assert (generator.resolution, generator.latent_dim, generator.num_ws) == (SIZE, W, LAYERS + 2)
    w = torch.randn(1, W, generator=torch.Generator().manual_seed(5)).requires_grad_()
    picture = generator.synthesize(w)
    assert picture.shape == (1, 3, SIZE, SIZE)
    (slope,) = torch.autograd.grad(picture.square().mean(), w)
    assert bool((slope != 0).all())
    assert not any(parameter.requires_grad for parameter in generator.parameters())
    with pytest.raises(ValueError, match=r"w must be \(B, 6\) or \(B, 6, 6\)"):
        generator.synthesize(torch.zeros(1, 7))


@torch.no_grad()
def test_shifting_the_input_shifts_the_picture() -> None:
    """Five pixels are 1.25 samples of the first layers, so that only band limits make this hold."""
    generator = reader(3, False).double()
    w = torch.randn(2, W, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    still = generator.synthesize(w)
    right = generator.synthesize(w, transform=moved(x=-5 / SIZE))
    inside = slice(8, SIZE - 8)
    error = (right[:, :, inside, inside] - still[:, :, inside, 3 : SIZE - 13]).square().mean()
    unmoved = (still[:, :, inside, inside] - still[:, :, inside, 3 : SIZE - 13]).square().mean()
    assert 10 * math.log10(unmoved / error) > 45  # Six random networks had 50 to 57 dB.


@torch.no_grad()
def test_a_quarter_turn_of_the_input_turns_the_picture_exactly() -> None:
    w = torch.randn(2, W, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    generator = reader(1, True).double()
    turned = generator.synthesize(w).flip(-1).transpose(-1, -2)
    torch.testing.assert_close(generator.synthesize(w, transform=moved(90)), turned, rtol=1e-9, atol=1e-9)
