"""Settings that no run can use are refused in one line; those of the presets are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gan2shape.cli.settings import check_settings
from gan2shape.reconstruct.presets import PRESETS

Mistake = Callable[..., str]


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_is_accepted(name: str) -> None:
    check_settings(PRESETS[name])


@pytest.mark.parametrize(
    "flag, value, said",
    [
        ("--config.optimizer.batch-size", "0", "must be 1 or more; got 0"),
        ("--config.optimizer.refine-learning-rate", "nan", "must be a finite number; got nan"),
        ("--config.optimizer.refine-learning-rate", "-1", "must be from 0 to 1"),
        ("--config.geometry.working-size-px", "48", "must be a power of two; got 48"),
        ("--config.geometry.working-size-px", "4", "must be from 16 to 1024"),
        ("--config.geometry.near", "1.2", "must be less than --config.geometry.far; got 1.2 and 1.1"),
        ("--config.geometry.fov-deg", "0", "must be from 0.1 to 120"),
        ("--config.geometry.pivot-depth", "-1", "must be from 0.01 to 100"),
        ("--config.lighting.x-min", "-1e30", "must be from -100 to 100"),
        ("--config.pose.yaw-scale", "1e30", "must be from -100 to 100"),
        ("--config.optimizer.final-rate", "0", "must be from 1e-06 to 1"),
        ("--config.projection.polish", "-1", "must be 0 or more"),
        ("--config.objective.depth-smoothness", "-1", "must be 0 or more"),
        ("--config.prior.far", "0.5", "config.prior"),
        ("--config.prior.radius", "inf", "must be a finite number"),
        ("--config.stages.0.batches", "0", "must be 1 or more"),
        ("--config.stages.0.albedo", "-1", "must be 0 or more"),
        ("--config.prior-steps", "-5", "must be 0 or more"),
        ("--config.projection.offset-layers", "-1", "must be 0 or more"),
        ("--config.inversion.samples", "0", "must be 1 or more"),
        ("--config.networks.width-multiplier", "0", "must be from 0.01"),
        ("--config.crop", "0", "must be from 0.1 to 1"),
        ("--config.turned.views", "0", "must be from 1 to 10000; got 0"),
        ("--config.turned.typical", "2", "must be from 0 to 1"),
        ("--config.turned.refine", "-1", "must be 0 or more"),
        ("--config.turned.batch-size", "0", "must be 1 or more"),
        ("--config.turned.learning-rate", "-1", "must be from 0 to 1"),
        ("--config.turned.final-rate", "0", "must be from 1e-06 to 1; got 0"),
        ("--config.turned.depth-smoothness", "-1", "must be 0 or more"),
        ("--config.yaw-limit-deg", "100", "must be from 0 to 90"),
    ],
)
def test_impossible_numbers(flag: str, value: str, said: str, mistake: Mistake) -> None:
    message = mistake("reconstruct", "picture.png", flag, value)
    assert said in message
    assert flag in message or flag[2:].rpartition(".")[0] in message  # Some classes check themselves, as a whole.


def test_no_steps_of_inversion(mistake: Mistake) -> None:
    flags = [word for part in ("survey", "narrow", "final") for word in (f"--config.inversion.{part}-steps", "0")]
    assert "must be positive" in mistake("reconstruct", "picture.png", *flags)


@pytest.mark.parametrize(
    "flags",
    [
        ["--generator", "own.safetensors", "--config.turned.views", "5"],
        ["--generator", "own.safetensors", "--config.turned.views=48"],  # The default's own number does nothing either.
        ["--preset", "paper-cat", "--config.turned.views", "5"],
        ["--config.start", "ellipsoid", "--config.turned.views", "5"],
        ["--config.turned.views", "5", "--config.crop", "0.5"],
    ],
)
def test_the_steps_refuse_by_name_what_only_turned_views_have(flags: list[str], mistake: Mistake) -> None:
    said = mistake("reconstruct", "face.png", *flags, "--dry-run")
    name = "paper-cat" if "paper-cat" in flags else "ellipsoid"
    assert said.startswith("gan2shape: --config.turned.views: only the preset default, for the bundled generator, has")
    assert f"({name}) start from an ellipsoid; leave it out" in said


def test_the_bundled_encoder_is_refused_for_another_generator(
    tiny: list[str], picture: Path, checkpoint: Path, tmp_path: Path, mistake: Mistake
) -> None:
    said = mistake("reconstruct", picture, "-o", tmp_path / "out", *tiny, "--config.inversion.encoder")
    assert "--config.inversion.encoder: expected the bundled generator" in said
    assert f"got {checkpoint.name}; leave it out" in said
    assert not (tmp_path / "out").exists()
