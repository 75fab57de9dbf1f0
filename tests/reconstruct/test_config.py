"""Configurations: JSON and back without loss, and unknown keys named with their place."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest

from gan2shape.reconstruct import PRESETS, ReconstructConfig, Stage, config_from_dict
from gan2shape.reconstruct.config import Inversion, Turned


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_json(name: str) -> None:
    config = PRESETS[name]
    back = config_from_dict(json.loads(json.dumps(config.to_dict())))
    assert back == config
    assert hash(back) == hash(config), "lists must have become tuples again"


def test_values_that_differ_from_the_default_survive_json() -> None:
    covariance = tuple(tuple(0.01 if row == column else 0.0 for column in range(6)) for row in range(6))
    config = dataclasses.replace(
        ReconstructConfig(),
        stages=(Stage(1, 2, 3, mirror_refine=True), Stage(4, 5, 6, batches=7, warmup=8)),
        pose=dataclasses.replace(ReconstructConfig().pose, covariance=covariance, yaw_scale=1.5),
        networks=dataclasses.replace(ReconstructConfig().networks, map_base_width=12),
        crop=0.5,
        start="turned",
        turned=Turned(views=5, refine=0, lit=0.5),
        inversion=Inversion(encoder=True, samples=3),
    )
    assert config_from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_missing_key_takes_its_default() -> None:
    assert config_from_dict({"crop": 0.5}) == dataclasses.replace(ReconstructConfig(), crop=0.5)


@pytest.mark.parametrize(
    ("values", "place", "key"),
    [
        ({"cropp": 0.5}, "config", "cropp"),
        ({"geometry": {"fov": 10}}, "config.geometry", "fov"),
        ({"stages": [{"albedo": 1, "project": 1, "refine": 1}, {"steps": 3}]}, "config.stages[1]", "steps"),
        ({"pose": {"sigma": 1}}, "config.pose", "sigma"),
        ({"turned": {"view": 1}}, "config.turned", "view"),
    ],
)
def test_an_unknown_key_is_named_with_its_place(values: dict[str, Any], place: str, key: str) -> None:
    with pytest.raises(ValueError) as caught:
        config_from_dict(values)
    assert str(caught.value).startswith(f"{place} has unknown key {key!r}; known: ")


def test_a_configuration_of_an_earlier_version_starts_from_the_ellipsoid() -> None:
    older = PRESETS["ellipsoid"].to_dict()
    del older["start"], older["turned"], older["inversion"]["encoder"]
    assert config_from_dict(older) == PRESETS["ellipsoid"]


def test_a_table_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"config\.geometry must be a table of settings; got int"):
        config_from_dict({"geometry": 3})


def test_configurations_are_frozen() -> None:
    for part in _parts(ReconstructConfig()):
        field = dataclasses.fields(part)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, field, None)


def _parts(value: Any) -> Iterator[Any]:
    yield value
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        for item in inner if isinstance(inner, tuple) else (inner,):
            if dataclasses.is_dataclass(item):
                yield from _parts(item)
