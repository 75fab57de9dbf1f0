"""`minimize`: a known minimum, Adam's arithmetic by hand, and what happens when a loss runs away."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from gan2shape.reconstruct.optimize import Adam, DivergedError, Record, minimize


class Point(nn.Module):
    """One parameter vector."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor(values))


def test_a_quadratic_ends_at_its_minimum() -> None:
    point, wanted = Point(3.0, -2.0), torch.tensor([0.5, 1.5])
    history = minimize(
        [point],
        lambda _: {"total": (point.place - wanted).square().sum()},
        steps=600,
        adam=Adam(0.05),
    )
    torch.testing.assert_close(point.place.detach(), wanted, atol=1e-3, rtol=0)
    assert len(history) == 600
    assert history[0]["total"] == pytest.approx(2.5**2 + 3.5**2)


def test_steps_are_those_of_adam_with_coupled_weight_decay() -> None:
    rate, decay = 0.1, 0.3
    point = Point(2.0)
    minimize([point], lambda i: {"total": (i + 1) * point.place.sum()}, steps=4, adam=Adam(rate, decay))
    value, first, second = 2.0, 0.0, 0.0
    for step in range(1, 5):
        slope = step + decay * value
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        value -= rate * (first / (1 - 0.9**step)) / (math.sqrt(second / (1 - 0.999**step)) + 1e-8)
    assert float(point.place.detach()) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("final", [1.0, 0.1])
def test_the_rate_falls_exponentially_from_the_first_to_the_last_iteration(final: float) -> None:
    """Constant slopes make every step of Adam as long as its rate, so the way tells the rates."""
    first, steps, places = 0.02, 6, list[float]()
    point = Point(1.0)

    def losses(iteration: int) -> dict[str, Tensor]:
        places.append(float(point.place.detach()))
        return {"total": 1e3 * point.place.sum()}

    minimize([point], losses, steps=steps, adam=Adam(first, final=final))
    places.append(float(point.place.detach()))
    taken = [before - after for before, after in itertools.pairwise(places)]
    expected = [first * math.exp(math.log(final) * index / (steps - 1)) for index in range(steps)]
    assert taken == pytest.approx(expected, rel=1e-4)
    assert taken[-1] / taken[0] == pytest.approx(final, rel=1e-4)


def test_a_single_iteration_has_the_first_rate() -> None:
    assert Adam(0.3, final=0.1).rate(0, 1) == 0.3


def test_only_the_given_modules_move() -> None:
    moving, still = Point(1.0), Point(1.0)
    minimize([moving], lambda _: {"total": (moving.place * still.place).sum()}, steps=3, adam=Adam(0.1))
    assert float(still.place.detach()) == 1
    assert float(moving.place.detach()) < 1


def test_every_iteration_is_told_with_all_terms() -> None:
    point, told = Point(1.0), list[tuple[int, Record]]()
    history = minimize(
        [point],
        lambda i: {"total": point.place.square().sum(), "index": torch.tensor(float(i))},
        steps=3,
        adam=Adam(0.1),
        on_iteration=lambda iteration, record: told.append((iteration, record)),
    )
    assert told == list(enumerate(history))
    assert [record["index"] for record in history] == [0, 1, 2]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_restores_the_last_good_snapshot(bad: float) -> None:
    point, places = Point(5.0), list[float]()

    def losses(iteration: int) -> dict[str, Tensor]:
        places.append(float(point.place.detach()))
        loss = point.place.square().sum()
        return {"total": loss * bad if iteration == 60 else loss}

    with pytest.raises(DivergedError, match="iteration 61; went back to iteration 50") as caught:
        minimize([point], losses, steps=100, adam=Adam(0.01))
    assert float(point.place.detach()) == places[50]
    assert len(caught.value.history) == 60


def test_an_explosion_restores_the_last_good_snapshot() -> None:
    point = Point(1.0)

    def losses(iteration: int) -> dict[str, Tensor]:
        return {"total": (point.place.square() + 1).sum() * (1000 if iteration == 30 else 1)}

    with pytest.raises(DivergedError, match="the loss jumped from about"):
        minimize([point], losses, steps=100, adam=Adam(0.01))
    assert bool(torch.isfinite(point.place).all())


def test_a_bad_batch_is_no_explosion() -> None:
    point = Point(1.0)

    def losses(iteration: int) -> dict[str, Tensor]:
        return {"total": (point.place.square() + 1).sum() * (10 if iteration % 7 == 0 else 1)}

    assert len(minimize([point], losses, steps=40, adam=Adam(0.01))) == 40


def test_a_loss_that_is_nan_from_the_start_leaves_everything_as_it_was() -> None:
    point = Point(1.0, 2.0)
    with pytest.raises(DivergedError, match="the loss became nan at iteration 1"):
        minimize([point], lambda _: {"total": point.place.sum() * math.nan}, steps=5, adam=Adam(0.1))
    assert point.place.tolist() == [1, 2]


def test_a_gradient_that_is_not_finite_in_the_last_iteration_is_noticed() -> None:
    point = Point(4.0)

    def losses(iteration: int) -> dict[str, Tensor]:
        # The square root's slope at zero is infinite, and infinity times zero is NaN, while the loss is 0.
        harmless = point.place.sum()
        return {"total": harmless if iteration < 2 else harmless + (point.place * 0).sqrt().sum()}

    with pytest.raises(DivergedError, match="gradient"):
        minimize([point], losses, steps=3, adam=Adam(0.1))
    assert float(point.place.detach()) == 4


def test_no_steps_change_nothing() -> None:
    point = Point(1.0)
    assert minimize([point], lambda _: {"total": point.place.sum()}, steps=0, adam=Adam(0.1)) == []
    assert float(point.place.detach()) == 1
