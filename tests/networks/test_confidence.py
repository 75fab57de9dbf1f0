"""The confidence network, layer by layer."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from gan2shape.networks.confidence import ConfidenceNetwork


def test_its_layers_at_64_px_are_the_papers() -> None:
    network = ConfidenceNetwork(64)
    shapes = [tuple(p.shape) for p in network.parameters() if p.ndim == 4]
    down = [(64, 3, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4), (512, 256, 4, 4), (128, 512, 4, 4)]
    up = [(128, 512, 4, 4), (512, 256, 4, 4), (256, 128, 4, 4)]
    assert shapes == [*down, *up, (128, 64, 4, 4), (64, 64, 4, 4), (2, 128, 3, 3), (2, 64, 5, 5)]
    groups = [m.num_groups for m in network.modules() if isinstance(m, torch.nn.GroupNorm)]
    assert groups == [16, 32, 64, 64, 32, 16, 16]
    assert not any(
        isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d) and m.bias is not None for m in network.modules()
    )


def test_maps_equal_their_description(rng: torch.Generator) -> None:
    torch.manual_seed(0)
    network = ConfidenceNetwork(16, base_width=8, code_size=6).double()
    image = torch.rand(3, 3, 16, 16, generator=rng, dtype=torch.float64) * 2 - 1
    weights = [p for p in network.parameters() if p.ndim == 4]
    x = F.conv2d(image, weights[0], stride=2, padding=1)
    x = F.leaky_relu(F.group_norm(x, network.encoder[1].num_groups), 0.2)
    x = F.leaky_relu(F.conv2d(x, weights[1], stride=2, padding=1), 0.2)
    x = F.relu(F.conv2d(x, weights[2]))
    quarter = F.relu(F.conv_transpose2d(x, weights[3]))
    x = quarter
    for weight, norm in ((weights[4], network.to_full[1]), (weights[5], network.to_full[4])):
        x = F.relu(F.group_norm(F.conv_transpose2d(x, weight, stride=2, padding=1), norm.num_groups))
    fine, coarse = (maps.detach() for maps in network(image))
    assert torch.allclose(coarse, F.softplus(F.conv2d(quarter, weights[6], padding=1)))
    assert torch.allclose(fine, F.softplus(F.conv2d(x, weights[7], padding=2)))
    assert fine.shape == (3, 2, 16, 16)
    assert coarse.shape == (3, 2, 4, 4)
    assert float(fine.min()) > 0
    assert float(coarse.min()) > 0


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="16 or more"):
        ConfidenceNetwork(8)
    with pytest.raises(ValueError, match="must be"):
        ConfidenceNetwork(16, 8)(torch.zeros(1, 3, 32, 32))
