"""Readings of low rank: what is kept of them, and what is not."""

import torch

from gan2shape.networks.readings import factored, product


def _reading(rank: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.cat([torch.randn(20, rank, generator=rng) @ torch.randn(rank, 64, generator=rng), torch.ones(1, 64)])


def test_a_reading_of_low_rank_comes_back_and_takes_less_room():
    reading = _reading(3)
    parts = factored(reading)
    assert parts["maps"].shape == (3, 64)
    assert parts["numbers"].shape == (20, 3)
    torch.testing.assert_close(product(parts), reading, atol=1e-4, rtol=1e-4)


def test_the_mean_is_kept_as_it_is():
    reading = _reading(3)
    assert torch.equal(product(factored(reading))[-1], reading[-1])


def test_what_is_left_out_is_small():
    reading = _reading(3)
    noisy = reading.clone()
    noisy[:-1] += 1e-5 * torch.randn(20, 64, generator=torch.Generator().manual_seed(1))
    parts = factored(noisy)
    assert parts["maps"].shape[0] == 3
    torch.testing.assert_close(product(parts), noisy, atol=1e-4, rtol=0)


def test_a_reading_that_tells_nothing_keeps_its_mean():
    reading = torch.zeros(5, 16)
    reading[-1] = 2
    assert torch.equal(product(factored(reading)), reading)
