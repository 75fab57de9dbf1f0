"""The descent against torch's own Adam, and its schedule against what its words say."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gan2shape.generators.descent import FALL, Pace, Search, descend, has_stalled, jitter, ramp, step_of_adam

TARGET = torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4)


def bowl(latents: Tensor) -> Tensor:
    """Distances from a point, unlike along the axes."""
    weights = torch.tensor([1.0, 10.0, 0.1, 3.0], dtype=latents.dtype)
    return (weights * (latents - TARGET[: len(latents)]).square()).sum(tuple(range(1, latents.ndim)))


def test_steps_are_those_of_torch(rng: torch.Generator) -> None:
    start = torch.randn(3, 4, generator=rng, dtype=torch.float64)
    rates = [0.1, 0.2, 0.05, 0.3, 0.01]
    search = Search.at(start, bowl(start))
    theirs = start.clone().requires_grad_()
    adam = torch.optim.Adam([theirs], eps=0)
    for rate in rates:
        search = step_of_adam(search, bowl, rate)
        adam.zero_grad()
        bowl(theirs).sum().backward()
        adam.param_groups[0]["lr"] = rate
        adam.step()
        assert torch.allclose(search.latents, theirs, atol=1e-12)


def test_steps_after_a_jump_are_those_of_torch_without_one(rng: torch.Generator) -> None:
    """A loss that gains too little: the run skips steps, and Adam must not count them as updates."""
    seen: list[Tensor] = []

    def shallow(latents: Tensor) -> Tensor:
        seen.append(latents.detach().clone())
        return 1 + 1e-6 * bowl(latents)

    start = torch.randn(1, 4, generator=rng, dtype=torch.float64)
    pace = Pace(100, 0.1, patience=8)
    found = descend(Search.at(start, 1 + 1e-6 * bowl(start)), shallow, pace, (0, 100), rng=rng, tell=lambda done: None)
    theirs = start.clone().requires_grad_()
    adam = torch.optim.Adam([theirs], eps=0)
    steps = [*range(9), *range(50, 59)]
    assert len(seen) == len(steps) + 1
    for step, ours in zip(steps, seen, strict=False):
        assert torch.allclose(ours, theirs, atol=1e-12)
        adam.zero_grad()
        bowl(theirs).sum().backward()
        adam.param_groups[0]["lr"] = pace.learning_rate * ramp(step / 100)
        adam.step()
    assert torch.allclose(seen[-1], theirs, atol=1e-12)
    assert found.taken == 18


def test_the_best_latents_are_kept_and_nan_is_never_best() -> None:
    search = Search.at(torch.zeros(2, 1, 1), torch.tensor([1.0, 2.0]))
    moved = Search(torch.ones(2, 1, 1), search.mean, search.square, search.best, search.losses)
    seen = moved.seen(moved.latents, torch.tensor([torch.nan, 1.5]))
    assert seen.losses.tolist() == [1.0, 1.5]
    assert seen.best.flatten().tolist() == [0.0, 1.0]
    assert seen.narrowed(1).losses.tolist() == [1.0]
    assert replace(seen, taken=7).narrowed(1).taken == 7


def test_the_rate_rises_stays_and_falls() -> None:
    assert ramp(0) == pytest.approx(0.02)
    assert ramp(0.049) == pytest.approx(1.0)
    assert ramp(FALL) == 1.0
    assert ramp(0.75) == pytest.approx(0.5)
    assert ramp(0.999999) == pytest.approx(0, abs=1e-6)


def test_noise_has_the_deviation_it_says_and_ends(rng: torch.Generator) -> None:
    like = torch.zeros(100, 100)
    for progress, expected in ((0.0, 2.0), (0.25, 2 * (2 / 3) ** 2), (0.5, 2 / 9)):
        noise = jitter(like, 2.0, progress, rng)
        assert noise is not None
        assert float(noise.std()) == pytest.approx(expected, rel=0.03)
    state = rng.get_state()
    assert jitter(like, 2.0, 0.75, rng) is None
    assert jitter(like, 0.0, 0.0, rng) is None
    assert torch.equal(rng.get_state(), state)


def test_a_run_finds_the_bottom_with_noise_and_without(rng: torch.Generator) -> None:
    start = torch.zeros(1, 4, dtype=torch.float64)
    for noise in (0.0, 0.05):
        told: list[int] = []
        pace = Pace(200, 0.1, jitter=noise)
        search = descend(Search.at(start, bowl(start)), bowl, pace, (0, 200), rng=rng, tell=told.append)
        assert told == list(range(1, 201))
        assert float(search.losses) < 1e-3
        assert torch.allclose(search.best, TARGET[:1], atol=0.05)
        assert torch.equal(bowl(search.best), search.losses)


def test_the_best_loss_is_that_of_the_best_latents_with_noise_too(rng: torch.Generator) -> None:
    start = torch.zeros(1, 4, dtype=torch.float64)
    search = Search.at(start, bowl(start))
    for last in range(1, 12):
        search = descend(search, bowl, Pace(200, 0.05, jitter=0.3), (last - 1, last), rng=rng, tell=lambda done: None)
        assert torch.equal(bowl(search.best), search.losses)


def test_a_run_that_gains_nothing_falls_early_and_then_ends(rng: torch.Generator) -> None:
    def flat(latents: Tensor) -> Tensor:
        return latents.sum(1) * 0 + 1

    told: list[int] = []
    start = torch.zeros(1, 4)
    pace = Pace(100, 0.1, patience=8)
    descend(Search.at(start, flat(start)), flat, pace, (10, 100), rng=rng, tell=told.append)
    # Nine losses are needed to see eight steps without a gain: at step 19 it jumps to the half, at 59 to the end.
    assert told == [*range(11, 19), 50, *range(51, 59), 100]


def test_stalling_is_a_gain_of_less_than_a_thousandth() -> None:
    falling = [math.exp(-0.002 * step) for step in range(20)]
    slow = [math.exp(-0.0002 * step) for step in range(20)]
    assert not has_stalled(falling, 2)
    assert has_stalled(slow, 2)
    assert not has_stalled(slow, 0)
    assert not has_stalled(slow[:3], 3)
