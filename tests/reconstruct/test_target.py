"""Target and Framing, against clamp, crop and area average written out pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gan2shape.reconstruct.target import Framing, Target, resize


def slow_shrink(picture: np.ndarray, size: int) -> np.ndarray:
    """Mean over the source pixels that each target pixel's square touches."""
    side = picture.shape[-1]
    out = np.zeros((*picture.shape[:-2], size, size))
    for row in range(size):
        for column in range(size):
            top, bottom = math.floor(row * side / size), math.ceil((row + 1) * side / size)
            left, right = math.floor(column * side / size), math.ceil((column + 1) * side / size)
            out[..., row, column] = picture[..., top:bottom, left:right].mean((-2, -1))
    return out


def slow_grow(picture: np.ndarray, size: int) -> np.ndarray:
    """Bilinear between pixel centres, whose squares tile both pictures; the edge repeats."""
    side = picture.shape[-1]
    out = np.zeros((*picture.shape[:-2], size, size))
    for row in range(size):
        for column in range(size):
            y, x = (max((index + 0.5) * side / size - 0.5, 0) for index in (row, column))
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, side - 1), min(x0 + 1, side - 1)
            above = picture[..., y0, x0] * (1 - x + x0) + picture[..., y0, x1] * (x - x0)
            below = picture[..., y1, x0] * (1 - x + x0) + picture[..., y1, x1] * (x - x0)
            out[..., row, column] = above * (1 - y + y0) + below * (y - y0)
    return out


@pytest.mark.parametrize(
    ("resolution", "crop", "size"),
    [(16, 16, 16), (16, 16, 8), (16, 12, 8), (17, 10, 8), (16, 11, 8), (16, 5, 8), (8, 8, 32)],
)
def test_framing_is_clamp_crop_and_resize(resolution: int, crop: int, size: int, rng: torch.Generator) -> None:
    images = 1.5 * torch.randn(2, 3, resolution, resolution, generator=rng)
    clamped = np.clip(images.double().numpy(), -1, 1)
    margin = (resolution - crop) // 2
    cut = clamped[:, :, margin : resolution - margin, margin : resolution - margin][:, :, :crop, :crop]
    expected = slow_shrink(cut, size) if size <= crop else slow_grow(cut, size)
    result = Framing(resolution, size, crop).to_working(images)
    np.testing.assert_allclose(result.numpy(), expected, atol=2e-6)


def test_halving_averages_two_by_two_pixels() -> None:
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert resize(image, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_the_gradient_reaches_the_generator(rng: torch.Generator) -> None:
    images = (0.5 * torch.rand(1, 3, 16, 16, generator=rng)).requires_grad_()
    Framing(16, 8, 12).to_working(images).sum().backward()
    assert images.grad is not None
    inside = images.grad[0, 0, 2:14, 2:14]
    assert bool((inside > 0).all())
    assert float(images.grad.sum()) == pytest.approx(3 * 64)


def test_a_target_keeps_what_it_is_given() -> None:
    target = Target(torch.zeros(1, 3, 8, 8), torch.zeros(1, 5), torch.ones(1, 1, 8, 8))
    assert target.to(torch.device("cpu")).latent.shape == (1, 5)
    Target(torch.zeros(1, 3, 8, 8), torch.zeros(1, 4, 5), torch.ones(1, 1, 8, 8))


@pytest.mark.parametrize(
    ("image", "latent", "mask", "message"),
    [
        ((2, 3, 8, 8), (1, 5), (2, 1, 8, 8), r"latent must be \(2, D\) or \(2, L, D\); got \(1, 5\)"),
        ((0, 3, 8, 8), (0, 5), (0, 1, 8, 8), r"image must be \(N, 3, S, S\); got \(0, 3, 8, 8\)"),
        ((1, 3, 8, 9), (1, 5), (1, 1, 8, 9), r"image must be \(N, 3, S, S\)"),
        ((3, 8, 8), (1, 5), (1, 1, 8, 8), r"image must be \(N, 3, S, S\)"),
        ((1, 3, 8, 8), (5,), (1, 1, 8, 8), r"latent must be \(1, D\) or \(1, L, D\); got \(5,\)"),
        ((1, 3, 8, 8), (2, 5), (1, 1, 8, 8), r"latent must be"),
        ((1, 3, 8, 8), (1, 5), (1, 1, 4, 4), r"mask must be \(1, 1, S, S\) like the image; got \(1, 1, 4, 4\)"),
    ],
)
def test_a_target_refuses_shapes_that_do_not_belong_together(
    image: tuple[int, ...], latent: tuple[int, ...], mask: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Target(torch.zeros(image), torch.zeros(latent), torch.ones(mask))


def test_pictures_take_turns_and_none_is_left_out() -> None:
    five = Target(torch.arange(5.0)[:, None, None, None].expand(5, 3, 2, 2), torch.zeros(5, 4), torch.ones(5, 1, 2, 2))
    turns = [five.in_turn(iteration, 2).tolist() for iteration in range(5)]
    assert turns == [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]]
    assert five.in_turn(7, 99).tolist() == [0, 1, 2, 3, 4]
    assert five[torch.tensor([3, 1])].image[:, 0, 0, 0].tolist() == [3, 1]
    assert five[:1].in_turn(12, 4).tolist() == [0]
