"""Pixel differences against plain indexing."""

from __future__ import annotations

import pytest
import torch

from gan2shape.losses import photometric


def test_is_mean_absolute_difference() -> None:
    a, b = torch.tensor([1.0, -1.0, 0.5, 0.0]).reshape(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    assert photometric(a, b).item() == pytest.approx(2.5 / 4)


def test_binary_mask_equals_selecting_pixels(rng: torch.Generator) -> None:
    a, b = torch.randn(2, 3, 5, 7, generator=rng), torch.randn(2, 3, 5, 7, generator=rng)
    mask = (torch.rand(2, 1, 5, 7, generator=rng) > 0.4).float()
    kept = mask.bool().expand_as(a)
    assert photometric(a, b, mask).item() == pytest.approx((a - b)[kept].abs().mean().item(), rel=1e-6)


def test_mask_of_one_serves_a_batch_and_its_scale_does_not_matter(rng: torch.Generator) -> None:
    a, b = torch.randn(4, 3, 6, 6, generator=rng), torch.randn(1, 3, 6, 6, generator=rng)
    mask = torch.rand(1, 1, 6, 6, generator=rng)
    expected = ((a - b).abs() * mask).sum() / (mask.sum() * 4 * 3)
    assert photometric(a, b, mask).item() == pytest.approx(expected.item(), rel=1e-6)
    assert photometric(a, b, 0.25 * mask).item() == pytest.approx(expected.item(), rel=1e-6)


def test_pixels_outside_the_mask_get_no_gradient(rng: torch.Generator) -> None:
    a = torch.randn(1, 3, 4, 4, generator=rng).requires_grad_()
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    photometric(a, torch.zeros_like(a), mask).backward()
    assert a.grad is not None
    assert torch.equal(a.grad[..., 2:], torch.zeros(1, 3, 4, 2))
    assert torch.allclose(a.grad[..., :2].abs(), torch.full((1, 3, 4, 2), 1 / 24))


def test_empty_mask_gives_zero_and_a_finite_gradient() -> None:
    a = torch.ones(1, 3, 4, 4, requires_grad=True)
    loss = photometric(a, torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4))
    loss.backward()
    assert loss.item() == 0
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images must be \(B, C, H, W\)"):
        photometric(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 5, 4))
    with pytest.raises(ValueError, match="mask must be"):
        photometric(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4), torch.zeros(1, 2, 4, 4))
