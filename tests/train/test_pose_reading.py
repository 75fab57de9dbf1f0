"""Reading poses off moves that were asked for: heads whose poses are known, and pictures that are rolled."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gan2shape.networks.turning import Turning
from gan2shape.train.pose_reading import read_off_moves, rolled
from tests.reconstruct.known_turns import known_start
from tests.train.turnable import LATENTS, NOD, PITCH_DEG, TURN, YAW_DEG, Heads

SIZE = 16
HEADS = Heads(SIZE)


@pytest.fixture(scope="module")
def turning() -> Turning:
    return known_start().turning


def drawn(count: int, seed: int) -> Tensor:
    return torch.randn(count, LATENTS, generator=torch.Generator().manual_seed(seed))


def read(turning: Turning, rounds: int) -> Turning:
    rng = torch.Generator().manual_seed(1)
    return read_off_moves(turning, drawn(60, 0), HEADS.synthesize, rng=rng, views=6, rounds=rounds)


def test_pitch_and_yaw_of_other_heads_are_read(turning: Turning) -> None:
    assert turning.pose is None
    reading, latents = read(turning, 3), drawn(80, 7)
    units = 60 * reading.pose_units(HEADS.synthesize(latents))
    pitch, yaw = PITCH_DEG * latents[:, NOD], YAW_DEG * latents[:, TURN]
    for read_deg, true_deg, most in ((units[:, 0], pitch, 2.5), (units[:, 1], yaw, 6.0)):
        error = read_deg - true_deg
        assert float((error - error.mean()).square().mean().sqrt()) < most
    assert torch.equal(reading.direction, turning.direction)


def test_more_rounds_take_the_own_nods_of_objects_away(turning: Turning) -> None:
    latents = drawn(60, 0)

    def nods(reading: Turning) -> float:
        return float(PITCH_DEG * reading.facing(latents, HEADS.synthesize)[:, NOD].std())

    before, first, third = (nods(reading) for reading in (turning, read(turning, 1), read(turning, 3)))
    assert before > 0.7 * PITCH_DEG
    assert first < 0.7 * before
    assert third <= 1.05 * first


def test_pictures_look_straight_ahead_in_the_mean(turning: Turning) -> None:
    reading = read(turning, 1)
    units = reading.pose_units(HEADS.synthesize(drawn(60, 0)))
    assert abs(float(units[:, 0].mean())) < 1e-5


def test_it_goes_on_from_a_reading_and_follows_its_random_numbers(turning: Turning) -> None:
    first, same = read(turning, 1).pose, read(turning, 1).pose
    assert first is not None
    assert torch.equal(first, same)  # type: ignore[arg-type]
    assert not torch.equal(first, read(replace(turning, pose=first), 1).pose)  # type: ignore[arg-type]


def test_rolls_are_clockwise(rng: torch.Generator) -> None:
    images = torch.rand(3, 2, 5, 5, generator=rng)
    turned = rolled(images, torch.tensor([0.0, 90.0, -90.0]))
    torch.testing.assert_close(turned[0], images[0])
    torch.testing.assert_close(turned[1], images[1].rot90(-1, (1, 2)))
    torch.testing.assert_close(turned[2], images[2].rot90(1, (1, 2)))
