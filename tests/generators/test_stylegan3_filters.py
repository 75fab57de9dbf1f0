"""Low-pass filters and resampling against their definitions in numpy and loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gan2shape.generators.stylegan3_filters import (
    FilteredActivation,
    lowpass_filter,
    radial_lowpass_filter,
    resample_down,
    resample_up,
)

DESIGNS = [(12, 2.0, 12.0, 32.0), (24, 8.0, 10.4, 128.0), (12, 32.0, 14.8, 128.0)]


def kaiser(taps: int, width: float, rate: float) -> np.ndarray:
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95
    if attenuation > 50:
        return np.kaiser(taps, 0.1102 * (attenuation - 8.7))
    if attenuation > 21:
        return np.kaiser(taps, 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21))
    return np.ones(taps)


def bessel_j1(x: np.ndarray) -> np.ndarray:
    """Bessel's integral, by the midpoint rule."""
    angles = (np.arange(400) + 0.5) * math.pi / 400
    return np.cos(angles - x[..., None] * np.sin(angles)).mean(-1)


@pytest.mark.parametrize(("taps", "cutoff", "width", "rate"), DESIGNS)
def test_filters_follow_their_formulas(taps: int, cutoff: float, width: float, rate: float) -> None:
    place, window = (np.arange(taps) - (taps - 1) / 2) / rate, kaiser(taps, width, rate)
    plain = np.sin(2 * math.pi * cutoff * place) / (math.pi * place) * window
    np.testing.assert_allclose(lowpass_filter(taps, cutoff, width, rate).numpy(), plain / plain.sum(), atol=1e-9)
    radius = math.pi * np.hypot(place[:, None], place[None])
    radial = bessel_j1(2 * cutoff * radius) / radius * np.outer(window, window)
    found = radial_lowpass_filter(taps, cutoff, width, rate).numpy()
    np.testing.assert_allclose(found, radial / radial.sum(), atol=1e-8)  # torch's J1 is good to eight digits.


def test_a_radial_filter_treats_all_directions_alike() -> None:
    taps, cutoff, rate = 24, 8.0, 128.0
    place = (np.arange(taps) - (taps - 1) / 2) / rate
    wave = [np.cos(2 * math.pi * 10 * (c * place[:, None] + s * place[None])) for c, s in ((1, 0), (0.6, 0.8))]
    radial = radial_lowpass_filter(taps, cutoff, 10.4, rate).numpy()
    plain = lowpass_filter(taps, cutoff, 10.4, rate).numpy()
    straight, oblique = ((radial * one).sum() for one in wave)
    assert abs(straight - oblique) < 0.02
    straight, oblique = ((np.outer(plain, plain) * one).sum() for one in wave)
    assert abs(straight - oblique) > 0.1
    with pytest.raises(ValueError, match="even"):
        radial_lowpass_filter(5, cutoff, 10.4, rate)


@pytest.mark.parametrize(
    ("factor", "taps", "padding"), [(2, 12, (9, 8)), (4, 24, (-3, 5)), (2, 6, (30, -7)), (1, 1, (2, 1))]
)
def test_up_sampling_is_zeros_padding_and_convolution(factor: int, taps: int, padding: tuple[int, int]) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 7, 9, generator=rng, dtype=torch.float64)
    kernel = torch.randn(taps, generator=rng, dtype=torch.float64)
    wide = x.new_zeros(2, 3, 7 * factor, 9 * factor)
    wide[:, :, ::factor, ::factor] = x
    wide = F.pad(wide, padding * 2)
    flipped = (kernel.flip(0)[:, None] * kernel.flip(0)) * factor**2
    expected = F.conv2d(wide.reshape(6, 1, *wide.shape[2:]), flipped[None, None])
    found = resample_up(x, None if taps == 1 else kernel, factor, padding)
    if taps == 1:
        expected = wide
    torch.testing.assert_close(found, expected.reshape(found.shape))


def test_down_sampling_with_either_kind_of_filter() -> None:
    x = torch.randn(1, 2, 20, 21, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    row = lowpass_filter(6, 4.0, 4.0, 32.0)
    separate, whole = resample_down(x, row, 2), resample_down(x, row[:, None] * row, 2)
    torch.testing.assert_close(separate, whole)
    torch.testing.assert_close(separate[0, 1, 3, 4], (x[0, 1, 6:12, 8:14] * row[:, None] * row).sum())
    torch.testing.assert_close(resample_down(x, None, 3), x[:, :, ::3, ::3])


def test_the_activation_alone() -> None:
    act = FilteredActivation(up=1, down=1, padding=(0, 0), slope=0.2, gain=2.0, clamp=3.0)
    x = torch.tensor([-5.0, -50.0, 1.0, 5.0]).view(1, 1, 2, 2)
    assert act(x, None, None).flatten().tolist() == [-2.0, -3.0, 2.0, 3.0]


def test_channels_do_not_mix_and_the_input_is_left_as_it_was() -> None:
    """More channels than are worked on together; the gradient takes another way through the clamp."""
    rng = torch.Generator().manual_seed(8)
    x = torch.randn(2, 37, 9, 9, generator=rng, dtype=torch.float64)
    taps = torch.randn(12, generator=rng, dtype=torch.float64)
    for slope, filters in ((0.2, (taps, taps)), (0.2, (None, None)), (1.0, (None, None))):
        up = 2 if filters[0] is not None else 1
        activation = FilteredActivation(up=up, down=up, padding=(9, 8), slope=slope, gain=1.5, clamp=0.4)
        before = x.clone()
        found = activation(x, *filters)
        assert torch.equal(x, before)
        single = torch.cat([activation(x[:, c : c + 1], *filters) for c in range(37)], 1)
        torch.testing.assert_close(found, single)
        watched = x.clone().requires_grad_()
        torch.testing.assert_close(activation(watched, *filters), found)


def test_the_gradient_is_that_of_finite_differences() -> None:
    rng = torch.Generator().manual_seed(9)
    x = torch.randn(1, 2, 5, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    taps, radial = (torch.rand(shape, generator=rng, dtype=torch.float64) for shape in ((12,), (12, 12)))
    activation = FilteredActivation(up=2, down=2, padding=(9, 8), slope=0.2, gain=1.4, clamp=None)
    for down in (taps, radial):
        assert torch.autograd.gradcheck(lambda y, last=down: activation(y, taps, last), (x,))
