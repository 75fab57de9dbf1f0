"""The fused kernels against zero insertion, filtering and plain convolution in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gan2shape.generators import ops
from tests.generators import common_layout as slow


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def test_fir_kernel_is_the_normalised_binomial() -> None:
    assert torch.equal(ops.fir_kernel(_normal(1)), slow.FIR)


@pytest.mark.parametrize("side", [1, 4, 7])
def test_up_convolution_equals_zero_insertion_convolution_and_fir(side: int) -> None:
    x, weight = _normal(2, 3, side, side + 1), _normal(5, 3, 3, 3)
    spread = slow.insert_zeros(x)[:, :, :-1, :-1]
    expected = slow.filter_each(F.conv2d(F.pad(spread, (2, 2, 2, 2)), weight.flip(2, 3)), 4 * slow.FIR, 1, 1)
    torch.testing.assert_close(ops.conv_up(x, ops.fuse_up(weight)), expected)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("side", [4, 8, 9])
def test_down_convolution_equals_fir_and_strided_convolution(size: int, side: int) -> None:
    x, weight = _normal(2, 3, side, side), _normal(5, 3, size, size)
    padding = 2 if size == 3 else 1
    expected = F.conv2d(slow.filter_each(x, slow.FIR, padding, padding), weight, stride=2)
    torch.testing.assert_close(ops.conv_down(x, ops.fuse_blur(weight)), expected)
    torch.testing.assert_close(ops.conv_down_separate(x, weight, ops.depthwise_blur(weight)), expected)


def test_upsample_equals_zero_insertion_and_fir() -> None:
    x = _normal(2, 3, 4, 5)
    torch.testing.assert_close(ops.upsample(x), slow.filter_each(slow.insert_zeros(x), 4 * slow.FIR, 2, 1))


def test_downsample_equals_fir_and_every_second_sample() -> None:
    for height, width in ((4, 6), (7, 5)):
        x = _normal(2, 3, height, width)
        expected = slow.filter_each(x, slow.FIR, 1, 1)[:, :, ::2, ::2]
        torch.testing.assert_close(ops.downsample(x), expected)


def test_upsample_keeps_a_constant_away_from_the_border() -> None:
    assert torch.allclose(ops.upsample(torch.ones(1, 1, 6, 6))[..., 2:-2, 2:-2], torch.ones(()))


def test_pixel_norm_gives_a_mean_square_of_one() -> None:
    x = _normal(4, 6) * 30
    torch.testing.assert_close(ops.pixel_norm(x).square().mean(1), torch.ones(4, dtype=torch.float64))
    assert torch.equal(ops.pixel_norm(torch.zeros(1, 6)), torch.zeros(1, 6))


def test_equal_linear_scales_weight_and_bias() -> None:
    layer = ops.EqualLinear(16, 3, lr_mul=0.01, bias=1.0, activated=True).double()
    x = _normal(5, 16)
    expected = slow.lrelu(x @ (layer.weight * 0.01 / 4).T + 1.0)
    torch.testing.assert_close(layer(x), expected)
