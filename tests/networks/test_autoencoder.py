"""The autoencoder against a functional re-derivation from its description."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan2shape.networks import Autoencoder


def _reference(parameters: Iterator[Tensor], x: Tensor, size: int, base: int, groups: int, tanh: bool) -> Tensor:
    """Section by section as the networks' description has it; parameters come in the order of use."""

    def norm(x: Tensor, count: int) -> Tensor:
        weight, bias = next(parameters), next(parameters)
        b, c, h, w = x.shape
        g = x.reshape(b, count, -1)
        g = (g - g.mean(dim=2, keepdim=True)) / torch.sqrt(g.var(dim=2, unbiased=False, keepdim=True) + 1e-5)
        return g.reshape(b, c, h, w) * weight[:, None, None] + bias[:, None, None]

    extra = size.bit_length() - 1 - 6
    nf, gn = base, groups
    for count in (gn, 2 * gn, 4 * gn):
        x = F.leaky_relu(norm(F.conv2d(x, next(parameters), stride=2, padding=1), count), 0.2)
    x = F.conv2d(x, next(parameters), stride=2, padding=1)
    for _ in range(extra):
        nf, gn = 2 * nf, 2 * gn
        x = F.conv2d(F.leaky_relu(norm(x, 4 * gn), 0.2), next(parameters), stride=2, padding=1)
    x = F.relu(F.conv2d(F.leaky_relu(x, 0.2), next(parameters)))
    x = F.relu(F.conv_transpose2d(x, next(parameters)))
    x = F.relu(F.conv2d(x, next(parameters), padding=1))
    for count in [4 * gn, 2 * gn, gn] + [gn // 2**k for k in range(1, extra + 1)]:
        x = F.relu(norm(F.conv_transpose2d(x, next(parameters), stride=2, padding=1), count))
        x = F.relu(norm(F.conv2d(x, next(parameters), padding=1), count))
    assert x.shape[1] == base
    x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    x = F.relu(norm(F.conv2d(x, next(parameters), padding=1), groups))
    x = F.relu(norm(F.conv2d(x, next(parameters), padding=2), groups))
    x = F.conv2d(x, next(parameters), padding=2)
    assert next(parameters, None) is None
    return torch.tanh(x) if tanh else x


@pytest.mark.parametrize(
    ("size", "base", "groups", "tanh"), [(64, 64, 16, False), (64, 8, 2, True), (128, 16, 4, True)]
)
def test_equals_its_description(size: int, base: int, groups: int, tanh: bool, rng: torch.Generator) -> None:
    torch.manual_seed(0)
    net = Autoencoder(3, size, base_width=base, code_size=24, activation="tanh" if tanh else None)
    for parameter in net.parameters():
        if parameter.ndim == 1:  # norms that are not the identity
            parameter.data.uniform_(0.5, 1.5, generator=rng)
    image = torch.randn(2, 3, size, size, generator=rng)
    with torch.no_grad():
        expected = _reference(iter(net.parameters()), image, size, base, groups, tanh)
        assert torch.allclose(net(image), expected, atol=2e-5)


def test_has_no_convolution_biases_and_the_papers_code() -> None:
    net = Autoencoder(1, 64)
    convolutions = [m for m in net.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))]
    assert all(conv.bias is None for conv in convolutions)
    assert tuple(convolutions[4].weight.shape) == (256, 512, 4, 4)  # 8 nf -> code


@pytest.mark.parametrize("size", [32, 256])
def test_other_sizes_keep_the_shape(size: int) -> None:
    """Smoke test."""
    assert Autoencoder(1, size, base_width=4, code_size=8)(torch.zeros(1, 3, size, size)).shape == (1, 1, size, size)


def test_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="activation must be"):
        Autoencoder(1, 32, 4, activation="relu")  # type: ignore[arg-type]


def test_the_last_layer_keeps_full_precision_under_autocast(rng: torch.Generator) -> None:
    net, image = Autoencoder(1, 16, 8, code_size=8), torch.randn(1, 3, 16, 16, generator=rng)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        low = net(image)
    assert low.dtype == torch.float32
    assert not torch.equal(low, low.bfloat16().float())  # Not the steps of bfloat16,
    assert torch.allclose(low, net(image).detach(), atol=0.05)  # and not far off either.
