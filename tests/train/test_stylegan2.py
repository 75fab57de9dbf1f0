"""The adversarial training on tiny networks: exact resume, warm start, hand-over of weights, and that it learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.generators import load_generator
from gan2shape.train.run import Schedule, run_training
from gan2shape.train.stylegan2 import StyleGAN2Task, lazy_adam, sample_rows
from gan2shape.train.stylegan2_config import Networks, StyleGAN2Settings, new_networks

SETTINGS = StyleGAN2Settings(batch=8, learning_rate=0.01, r1_every=4, path_weight=1.0, path_every=3, average_kimg=0.1)


class Discs:
    """Bright discs of random places on a background of one colour."""

    description = "discs"

    def __init__(self, size: int = 16, background: tuple[float, float, float] = (0.6, -0.5, 0.1)) -> None:
        self.size, self.background = size, torch.tensor(background)

    def __call__(self, start: int, count: int) -> Mapping[str, Tensor]:
        axis = torch.arange(self.size) / self.size
        images = []
        for number in range(start, start + count):
            x, y = torch.rand(2, generator=torch.Generator().manual_seed(number)) * 0.5 + 0.25
            disc = ((axis[:, None] - y) ** 2 + (axis[None] - x) ** 2 < 0.04).float()
            images.append(self.background[:, None, None] * (1 - disc) + disc)
        return {"image": torch.stack(images)}


def _networks(seed: int = 0, size: int = 16) -> Networks:
    return new_networks(size, width=0.1, seed=seed)


def _task(settings: StyleGAN2Settings = SETTINGS, **options: Any) -> StyleGAN2Task:
    return StyleGAN2Task(_networks(), Discs(), settings, dtype=options.pop("dtype", torch.float32), **options)


def _everything(task: StyleGAN2Task) -> dict[str, Tensor]:
    tensors = dict(task.extra_state())
    for name, module in task.modules().items():
        tensors.update({f"{name}/{key}": value for key, value in module.state_dict().items()})
    for name, optimizer in task.optimizers().items():
        for index, values in optimizer.state_dict()["state"].items():
            tensors.update({f"{name}/{index}/{key}": value for key, value in values.items()})
    return tensors


@pytest.mark.parametrize(
    "settings",
    [
        replace(SETTINGS, noise=True, shift=2, warm_up=15, critic_first=3),
        replace(SETTINGS, warm_start=96, reconstruction=1.0),  # 12 of the 20 iterations; the break is among them.
    ],
    ids=["adversarial", "warm start"],
)
def test_ten_and_ten_iterations_are_twenty_bit_for_bit(tmp_path: Path, settings: StyleGAN2Settings) -> None:
    whole, first, second = (_task(settings) for _ in range(3))
    run_training(whole, tmp_path / "whole", Schedule(20), resume=False)
    run_training(first, tmp_path / "parts", Schedule(10), resume=False)
    run_training(second, tmp_path / "parts", Schedule(20), resume=True)
    wanted, found = _everything(whole), _everything(second)
    assert wanted.keys() == found.keys()
    assert len(wanted) > 100
    for name, tensor in wanted.items():
        assert torch.equal(tensor, found[name]), name


def test_other_settings_are_not_resumed(tmp_path: Path) -> None:
    run_training(_task(), tmp_path, Schedule(1), resume=False)
    with pytest.raises(InputError, match=r"r1_gamma = 0\.1; got 2\.0"):
        run_training(_task(replace(SETTINGS, r1_gamma=2.0)), tmp_path, Schedule(2), resume=True)


def test_snapshot_is_the_average_and_loads(tmp_path: Path) -> None:
    task = _task(replace(SETTINGS, average_ramp=0.0))
    run_training(task, tmp_path, Schedule(3, snapshot_every=2), resume=False)
    loaded = load_generator(tmp_path / "snapshots" / "weights_0000003.safetensors", compute_dtype=torch.float32)
    assert loaded.features is not None
    assert loaded.about["resolution"] == 16
    w = torch.randn(5, 256, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(loaded.generator.synthesize(w), task.average.frozen().synthesize(w))
        assert (task.generator.synthesize(w) - task.average.synthesize(w)).abs().max() > 1e-3
    sheet = np.asarray(Image.open(tmp_path / "snapshots" / "samples_0000003.png"))
    assert sheet.shape == (8 * 16, 8 * 16, 3)
    assert torch.equal(task.samples(2), task.samples(2))


def test_average_follows_the_decay_by_hand() -> None:
    task = _task(replace(SETTINGS, average_ramp=0.0))
    before = {name: value.clone() for name, value in task.average.named_parameters()}
    task.step(0)
    decay = 0.5 ** (8 / 100)
    for name, value in task.average.named_parameters():
        new = dict(task.generator.named_parameters())[name].detach()
        torch.testing.assert_close(value, decay * before[name] + (1 - decay) * new)


def test_critic_first_leaves_the_generator_alone_and_noise_strengths_stay() -> None:
    task = _task(replace(SETTINGS, critic_first=2))
    start = {name: value.detach().clone() for name, value in task.generator.named_parameters()}
    moved = []
    for index in range(4):
        task.step(index)
        moved.append([name for name, value in task.generator.named_parameters() if not torch.equal(value, start[name])])
    assert moved[0] == moved[1] == []
    assert len(moved[3]) > 20
    assert not any("noise" in name for name in moved[3])


def test_regularisations_come_every_few_iterations() -> None:
    task = _task(replace(SETTINGS, r1_every=4, path_every=3))
    numbers = [task.step(index) for index in range(8)]
    assert [index for index, record in enumerate(numbers) if "r1" in record] == [0, 4]
    assert [index for index, record in enumerate(numbers) if "path" in record] == [0, 3, 6]


def test_r1_counts_for_the_iterations_that_are_left_out() -> None:
    task = _task(replace(SETTINGS, r1_gamma=2.0, r1_every=4, r1_share=0.5))
    real = Discs()(0, 8)["image"]
    task._r1_step(real)  # The learning rate is 0 before the first iteration, so weights stay as they are.
    images = real[:4].clone().requires_grad_()
    (slope,) = torch.autograd.grad(task.discriminator(images).sum(), images, create_graph=True)
    loss = 2.0 / 2 * slope.square().sum((1, 2, 3)).mean() * 4
    parameters = dict(task.discriminator.named_parameters())
    wanted = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    for (name, parameter), gradient in zip(parameters.items(), wanted, strict=True):
        found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        expected = torch.zeros_like(parameter) if gradient is None else gradient
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()) + 1e-7, msg=name)


def test_adam_is_corrected_for_lazy_steps() -> None:
    """One more step per 16 iterations: sixteen seventeenths of the rate, and moments that forget as fast in time."""
    (group,) = lazy_adam(torch.nn.Linear(2, 2), 16).param_groups
    assert group["lazy_factor"] == pytest.approx(16 / 17)
    assert group["betas"] == (0.0, pytest.approx(0.99 ** (16 / 17)))
    (group,) = lazy_adam(torch.nn.Linear(2, 2), 0).param_groups
    assert (group["lazy_factor"], group["betas"]) == (1.0, (0.0, 0.99))


def test_style_mixing_takes_rows_of_two_latents() -> None:
    generator = _networks().generator
    rng = torch.Generator().manual_seed(0)
    rows = sample_rows(generator, 200, 0.5, rng=rng)
    kinds = [len(torch.unique(sample.round(decimals=4), dim=0)) for sample in rows.detach()]
    assert set(kinds) == {1, 2}
    assert 70 < kinds.count(2) < 130
    assert all(torch.equal(sample[0], sample[-1]) for sample in sample_rows(generator, 20, 0.0, rng=rng))


def test_mean_colour_of_samples_moves_to_the_data() -> None:
    task = _task(replace(SETTINGS, path_weight=0.0, average_kimg=0.2, mirror=False, r1_every=16))
    wanted = Discs()(0, 64)["image"].mean((0, 2, 3))
    start = (task.samples(4).mean((1, 2)) - wanted).abs().mean().item()
    for index in range(50):
        task.step(index)
    end = (task.samples(4).mean((1, 2)) - wanted).abs().mean().item()
    assert end < 0.5 * start
    assert end < 0.15


def test_warm_start_learns_to_reconstruct() -> None:
    task = _task(replace(SETTINGS, warm_start=400, path_weight=0.0))
    distances = [task.step(index)["distance"] for index in range(50)]
    assert np.mean(distances[-5:]) < 0.6 * np.mean(distances[:5])


def test_bfloat16_trains_too() -> None:
    task = _task(dtype=torch.bfloat16)
    numbers = [task.step(index) for index in range(3)]
    assert all(np.isfinite(list(record.values())).all() for record in numbers)
    assert all(value.dtype == torch.float32 for value in _everything(task).values())


def test_pictures_of_another_size_and_batches_that_do_not_divide() -> None:
    with pytest.raises(InputError, match=r"discs: expected pictures of 16 px.*got 32 px"):
        StyleGAN2Task(_networks(), Discs(32), SETTINGS)
    with pytest.raises(ValueError, match="batch must be a multiple of 4"):
        _task(replace(SETTINGS, batch=6))
