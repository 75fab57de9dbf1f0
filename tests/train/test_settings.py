"""What the trainings of baselines share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gan2shape.train.settings import TrainSettings, batch_of, descend, low_precision, seeded


def test_the_rate_falls_exponentially_and_then_stays() -> None:
    settings = TrainSettings(learning_rate=1e-3, final_rate=0.01, falling_steps=100)
    assert settings.rate(0) == 1e-3
    assert settings.rate(50) == pytest.approx(1e-4)
    assert settings.rate(100) == settings.rate(500) == pytest.approx(1e-5)
    assert TrainSettings(learning_rate=1e-3).rate(10**6) == 1e-3


def test_iterations_take_successive_pictures() -> None:
    asked = []

    class Stream:
        size, description = 4, "numbers"

        def __call__(self, start: int, count: int) -> dict[str, torch.Tensor]:
            asked.extend(range(start, start + count))
            return {"image": torch.zeros(count, 3, 4, 4)}

    for index in range(3):
        assert len(batch_of(Stream(), index, 5)["image"]) == 5
    assert asked == list(range(15))


def test_an_update_is_adams_with_the_rate_of_the_iteration() -> None:
    modules = nn.ModuleDict({"a": nn.Linear(1, 1, bias=False)})
    nn.init.constant_(modules["a"].weight, 2.0)
    optimizer = torch.optim.Adam(modules.parameters(), lr=1.0)
    descend(optimizer, 3 * modules["a"].weight.sum(), rate=0.25)
    assert modules["a"].weight.item() == pytest.approx(1.75)  # Adam's first step has the length of the rate.


def test_initial_weights_depend_on_the_seed_alone() -> None:
    def build() -> nn.ModuleDict:
        return nn.ModuleDict({"a": nn.Linear(3, 3)})

    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second, other = (seeded(build, seed, torch.device("cpu"))["a"].weight for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_low_precision_is_bfloat16_or_nothing() -> None:
    layer, values = nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 2, 2)
    for wanted, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        with low_precision(torch.device("cpu"), wanted):
            assert layer(values).dtype == dtype
