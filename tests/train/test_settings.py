"""What the trainings with one Adam share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gan2shape.networks.trained import NetworkSizes
from gan2shape.train.run import iteration_rng
from gan2shape.train.settings import AdamTask, TrainSettings, batch_of, descend, low_precision, seeded


class Stream:
    """Black pictures; keeps which were asked for."""

    size, description = 4, "numbers"

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, start: int, count: int) -> dict[str, torch.Tensor]:
        self.asked.extend(range(start, start + count))
        return {"image": torch.zeros(count, 3, 4, 4)}


def test_the_rate_falls_exponentially_and_then_stays() -> None:
    settings = TrainSettings(learning_rate=1e-3, final_rate=0.01, falling_steps=100)
    assert settings.rate(0) == 1e-3
    assert settings.rate(50) == pytest.approx(1e-4)
    assert settings.rate(100) == settings.rate(500) == pytest.approx(1e-5)
    assert TrainSettings(learning_rate=1e-3).rate(10**6) == 1e-3


def test_iterations_take_successive_pictures() -> None:
    pictures = Stream()
    for index in range(3):
        assert len(batch_of(pictures, index, 5)["image"]) == 5
    assert pictures.asked == list(range(15))


def test_an_update_is_adams_with_the_rate_of_the_iteration() -> None:
    modules = nn.ModuleDict({"a": nn.Linear(1, 1, bias=False)})
    nn.init.constant_(modules["a"].weight, 2.0)
    optimizer = torch.optim.Adam(modules.parameters(), lr=1.0)
    descend(optimizer, 3 * modules["a"].weight.sum(), rate=0.25)
    assert modules["a"].weight.item() == pytest.approx(1.75)  # Adam's first step has the length of the rate.


def test_every_process_draws_other_numbers_and_one_alone_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    class Task(AdamTask):
        def new_networks(self) -> nn.ModuleDict:
            return nn.ModuleDict({"a": nn.Linear(2, 2)})

    device = torch.device("cpu")
    task = Task(Stream(), TrainSettings(seed=3), NetworkSizes(4, 1, 1), device=device)
    draws = []
    for place in ((0, 1), (0, 2), (1, 2)):
        monkeypatch.setattr("gan2shape.train.settings.world", lambda place=place: place)
        draws.append(torch.rand(4, generator=task.rng(5, "mirror")))
        assert torch.equal(draws[-1], torch.rand(4, generator=task.rng(5, "mirror")))
    assert torch.equal(draws[0], torch.rand(4, generator=iteration_rng(3, 5, device, "mirror")))
    assert not torch.equal(draws[1], draws[2])


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
