"""Feature distances against numpy re-derivations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gan2shape.losses import feature_distance, perceptual_distance


def _pyramid(rng: torch.Generator, batch: int = 2) -> list[Tensor]:
    return [torch.randn(batch, c, s, s, generator=rng, dtype=torch.float64) for c, s in ((4, 16), (6, 8), (8, 4))]


def test_feature_distance_sums_the_maps_means(rng: torch.Generator) -> None:
    a, b = _pyramid(rng), _pyramid(rng)
    expected = sum(np.abs(fa.numpy() - fb.numpy()).mean() for fa, fb in zip(a, b, strict=True))
    assert feature_distance(a, b).item() == pytest.approx(expected)


def test_feature_distance_pools_the_mask(rng: torch.Generator) -> None:
    a, b = _pyramid(rng), _pyramid(rng)
    mask = (torch.rand(2, 1, 32, 32, generator=rng) > 0.5).double()
    expected = 0.0
    for fa, fb in zip(a, b, strict=True):
        size = fa.shape[-1]
        factor = 32 // size
        pooled = mask.numpy().reshape(2, 1, size, factor, size, factor).mean(axis=(3, 5))
        weights = np.broadcast_to(pooled, fa.shape)
        expected += (np.abs(fa.numpy() - fb.numpy()) * weights).sum() / weights.sum()
    assert feature_distance(a, b, mask).item() == pytest.approx(expected)


def _perceptual_reference(a: list[Tensor], b: list[Tensor], heads: list[np.ndarray] | None) -> float:
    per_map = []
    for index, (fa, fb) in enumerate(zip(a, b, strict=True)):
        head = np.ones(fa.shape[1]) if heads is None else heads[index]
        pixels = []
        for n in range(fa.shape[0]):
            for i in range(fa.shape[2]):
                for j in range(fa.shape[3]):
                    u, v = fa[n, :, i, j].numpy(), fb[n, :, i, j].numpy()
                    u, v = u / (np.sqrt((u * u).sum()) + 1e-10), v / (np.sqrt((v * v).sum()) + 1e-10)
                    pixels.append((head * (u - v) ** 2).sum())
        per_map.append(np.mean(pixels))
    return float(np.mean(per_map) if heads is None else np.sum(per_map))


def test_perceptual_distance_with_and_without_heads(rng: torch.Generator) -> None:
    a, b = _pyramid(rng), _pyramid(rng)
    heads = [torch.rand(1, f.shape[1], 1, 1, generator=rng, dtype=torch.float64) for f in a]
    flat = [head.numpy().ravel() for head in heads]
    assert perceptual_distance(a, b).item() == pytest.approx(_perceptual_reference(a, b, None))
    assert perceptual_distance(a, b, heads).item() == pytest.approx(_perceptual_reference(a, b, flat))


def test_perceptual_distance_of_opposite_features_is_four(rng: torch.Generator) -> None:
    a = _pyramid(rng)
    assert perceptual_distance(a, [-3 * f for f in a]).item() == pytest.approx(4)
    assert perceptual_distance(a, [7 * f for f in a]).item() == pytest.approx(0, abs=1e-12)


def test_gradients(rng: torch.Generator) -> None:
    a, b = (
        torch.randn(1, 3, 4, 4, generator=rng).double().requires_grad_(),
        torch.randn(1, 3, 4, 4, generator=rng).double(),
    )
    assert torch.autograd.gradcheck(lambda x: perceptual_distance([x], [b]), (a,))
    assert torch.autograd.gradcheck(lambda x: feature_distance([x], [b], torch.ones(1, 1, 8, 8).double()), (a,))


def test_dead_features_have_a_finite_gradient() -> None:
    dead = torch.zeros(1, 3, 4, 4, requires_grad=True)
    perceptual_distance([dead], [torch.zeros(1, 3, 4, 4)]).backward()
    assert dead.grad is not None
    assert torch.isfinite(dead.grad).all()


def test_misfits_are_refused(rng: torch.Generator) -> None:
    a = _pyramid(rng)
    with pytest.raises(ValueError, match="same, positive number of maps"):
        feature_distance(a, a[:2])
    with pytest.raises(ValueError, match="feature maps 0"):
        perceptual_distance(a, a[::-1])
    with pytest.raises(ValueError, match="one weight per feature map"):
        perceptual_distance(a, a, [torch.ones(4)])
    with pytest.raises(ValueError, match="weight 1 must have 6"):
        perceptual_distance(a, a, [torch.ones(4), torch.ones(4), torch.ones(8)])
    with pytest.raises(ValueError, match="cannot be average-pooled"):
        feature_distance(a, a, torch.ones(2, 1, 20, 20).double())
