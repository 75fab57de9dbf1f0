"""The random numbers of the benchmark: heads, views, lights and backgrounds as small arrays.

Head h and picture i of a seed have generators of their own, made from (seed, h) and (seed, i). So a picture depends
on nothing but its seed and its number: not on how many are drawn at once, their size, or the device.
Every distribution is one of the benchmark's recipe (docs/benchmark.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Arrays = dict[str, np.ndarray]

IDENTITY_STD = 1.4
"""Standard deviation of the coefficients of the identity modes."""
EXPRESSION_CHANCE = 0.7
"""Share of heads with an expression other than the neutral one."""
EXPRESSIONS_AT_MOST = 4
"""How many expression shapes are mixed at most."""
UNUSED_EXPRESSIONS = ("jaw", "Dilate", "mouthClose", "eyeLook", "Blink")
"""Parts of the names of shapes that open the mouth's inside, close the eyes, or move what has no picture."""
WAVES = 8
"""Waves of which the low-frequency variation of skin and hair is the sum."""
_LIGHT_SKIN = np.array([0.95, 0.78, 0.68])
_DARK_SKIN = np.array([0.40, 0.25, 0.17])
_HAIR = np.array([[0.08, 0.06, 0.05], [0.25, 0.15, 0.08], [0.45, 0.30, 0.15], [0.7, 0.55, 0.3], [0.35, 0.33, 0.32]])
_IRIS = np.array([[0.25, 0.15, 0.07], [0.2, 0.35, 0.5], [0.2, 0.4, 0.25], [0.1, 0.07, 0.05]])
_HEAD_STREAM, _VIEW_STREAM = 0, 1


@dataclass(frozen=True, eq=False)
class Drawn:
    """Named random numbers of B heads or B pictures."""

    values: Mapping[str, Tensor]
    """By name, each (B, ...) float32."""

    def __getitem__(self, name: str) -> Tensor:
        return self.values[name]

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def to(self, device: torch.device | str) -> Drawn:
        """The same numbers on another device."""
        return Drawn({name: value.to(device) for name, value in self.values.items()})

    def select(self, index: Tensor | slice) -> Drawn:
        """Some of them, in the order of ``index``."""
        return Drawn({name: value[index] for name, value in self.values.items()})


def draw_heads(seed: int, heads: Iterable[int], identity_count: int, expressions: Sequence[str]) -> Drawn:
    """Shape and colours of heads.

    Args:
        seed: any whole number; 64 bits of it count.
        heads: numbers of the heads, from 0.
        identity_count: how many identity modes the model has.
        expressions: names of the model's expression shapes.

    Returns:
        ``identity`` (B, identity_count), ``expression`` (B, len(expressions)), and what `gan2shape.data.albedo` needs:
        colours in linear RGB, lengths in cm or in units of the texture's side, chances as weights of 0 or more.
    """
    return _draw(seed, _HEAD_STREAM, heads, lambda rng: _head(rng, identity_count, expressions))


def draw_views(seed: int, pictures: Iterable[int]) -> Drawn:
    """Pose, light and background of pictures.

    Args:
        seed: any whole number; 64 bits of it count.
        pictures: their numbers, from 0.

    Returns:
        ``view`` (B, 3) pitch, yaw, roll in degrees; ``translation`` (B, 3) scene units; ``ambient`` and ``diffuse``
        (B, 1); ``light`` (B, 3), the unit direction in which light travels, camera axes; ``background`` (B, 2, 3)
        linear colours of its two ends, ``background_angle`` (B, 1) radians; ``background_waves`` (B, 4, 3), two wave
        numbers and a phase of each of four waves.
    """
    return _draw(seed, _VIEW_STREAM, pictures, _view)


def _draw(seed: int, stream: int, numbers: Iterable[int], one: Callable[[np.random.Generator], Arrays]) -> Drawn:
    rows = []
    for number in numbers:
        sequence = np.random.SeedSequence([seed % 2**64, stream, number])
        rows.append(one(np.random.Generator(np.random.Philox(sequence))))
    stacked = {name: np.stack([row[name] for row in rows]).astype(np.float32) for name in rows[0]}
    return Drawn({name: torch.from_numpy(value) for name, value in stacked.items()})


def _head(rng: np.random.Generator, identity_count: int, expressions: Sequence[str]) -> Arrays:
    shape = {"identity": rng.normal(0, IDENTITY_STD, identity_count), "expression": _expression(rng, expressions)}
    return shape | _skin(rng) | _hair(rng)


def _expression(rng: np.random.Generator, names: Sequence[str]) -> np.ndarray:
    weights = np.zeros(len(names))
    if rng.uniform() < EXPRESSION_CHANCE:
        for index in rng.choice(len(names), min(EXPRESSIONS_AT_MOST, len(names)), replace=False):
            weight = rng.uniform(0, 0.8)
            if not any(part in names[index] for part in UNUSED_EXPRESSIONS):
                weights[index] = weight
    return weights


def _skin(rng: np.random.Generator) -> Arrays:
    darkness = rng.beta(1.2, 1.2)
    skin = (_LIGHT_SKIN * (1 - darkness) + _DARK_SKIN * darkness) * rng.uniform(0.9, 1.05) + rng.normal(0, 0.02, 3)
    return {
        "skin": skin,
        "waves": rng.normal(0, 1, (WAVES, 3)) * rng.uniform(0.1, 0.6, (WAVES, 1)),
        "wave_phases": rng.uniform(0, 2 * np.pi, WAVES),
        "cheeks": rng.uniform(0, 1.2, 1),
        "lips": skin * [0.8, 0.45, 0.45] + np.array([0.15, 0, 0.02]) * rng.uniform(0, 1.5),
        "lips_weight": rng.uniform(0.6, 1, 1),
        "lips_extent": rng.uniform(0, 1, 1),
        "iris": _IRIS[rng.integers(len(_IRIS))],
    }


def _hair(rng: np.random.Generator) -> Arrays:
    return {
        "hair": _HAIR[rng.integers(len(_HAIR))] * rng.uniform(0.7, 1.2),
        "brow_height": rng.normal(0, 0.004, 1),
        "brow_width": rng.uniform(0.010, 0.020, 1),
        "brow_weight": rng.uniform(0.6, 1, 1),
        "hair_weight": np.array([rng.uniform() < 0.85]),
        "hair_line": np.array([rng.uniform(6.5, 9.5), rng.uniform(0.2, 0.7), rng.uniform(-0.2, 0.2)]),
        "beard_weight": np.array([(rng.uniform() < 0.25) * rng.uniform(0.2, 0.6)]),
        "strand_phases": rng.uniform(0, 2 * np.pi, 4),
    }


def _view(rng: np.random.Generator) -> Arrays:
    pitch, yaw = np.clip(rng.normal(0, 8), -20, 20), np.clip(rng.normal(0, 25), -60, 60)
    direction = np.array([rng.uniform(-1, 1), rng.uniform(-0.9, 0.4), -1.0])
    if rng.uniform() < 0.3:
        direction[:2] *= 1.5
    colours = rng.uniform(0.15, 0.85, (3, 1)) + rng.uniform(-0.15, 0.15, (3, 3))
    turns, phases = rng.uniform(-9, 9, (4, 2)), rng.uniform(0, 2 * np.pi, (4, 1))
    return {
        "view": np.array([pitch, yaw, rng.normal(0, 3)]),
        "translation": np.array([rng.normal(0, 0.002), rng.normal(0, 0.002), 0.0]),
        "ambient": rng.uniform(0.25, 0.65, 1),
        "diffuse": rng.uniform(0.35, 0.85, 1),
        "light": -direction / np.linalg.norm(direction),
        "background": np.stack([colours[0], colours[0] * 0.5 + colours[1] * 0.5]),
        "background_angle": rng.uniform(0, 6.28, 1),
        "background_waves": np.concatenate([turns, phases], 1),
    }
