"""What numbers the settings may hold: refused here in one line, rather than deep inside a run.

The classes of `gan2shape.reconstruct.config` are plain data; a Python caller may try anything with them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from gan2shape.errors import UserError
from gan2shape.reconstruct.config import ReconstructConfig

_RANGES: tuple[tuple[str, float, float], ...] = (
    ("stages.*.batches", 1, math.inf),
    ("stages.*", 0, math.inf),
    ("prior_steps", 0, math.inf),
    ("prior.near", 0.01, 100),
    ("prior.far", 0.01, 100),
    ("prior.radius", 1e-3, 100),
    ("prior.extend_*", -0.9, 10),
    ("prior.narrow", 0, 0.45),
    ("geometry.working_size_px", 16, 1024),
    ("geometry.fov_deg", 0.1, 120),
    ("geometry.near", 0.01, 100),
    ("geometry.far", 0.01, 100),
    ("geometry.pivot_depth", 0.01, 100),
    ("geometry.border_*", 0, 1024),
    ("geometry.rotation_deg", 0, 180),
    ("geometry.*_translation", 0, 10),
    ("pose.*", -100, 100),
    ("lighting.*", -100, 100),
    ("networks.*", 0.01, 4096),
    ("objective.*", 0, math.inf),
    ("optimizer.batch_size", 1, math.inf),
    ("optimizer.together", 1, math.inf),
    ("optimizer.final_rate", 1e-6, 1),
    ("optimizer.*", 0, 1),
    ("projection.offset_layers", 0, math.inf),
    ("projection.polish", 0, math.inf),
    ("turned.views", 1, 10_000),
    ("turned.typical", 0, 1),
    ("turned.lit", 0, 10),
    ("turned.refine", 0, math.inf),
    ("turned.refinements", 1, math.inf),
    ("turned.batch_size", 1, math.inf),
    ("turned.learning_rate", 0, 1),
    ("turned.final_rate", 1e-6, 1),
    ("turned.weight_decay", 0, 1),
    ("turned.*", 0, math.inf),
    ("inversion.samples", 1, math.inf),
    ("inversion.restarts", 1, math.inf),
    ("inversion.*_steps", 0, math.inf),
    ("inversion.patience", 0, math.inf),
    ("inversion.jitter", 0, 10),
    ("crop", 0.1, 1),
    ("yaw_limit_deg", 0, 90),
    ("images", 1, math.inf),
)
"""Names (the first pattern that fits counts), least and largest value."""


def check_settings(config: ReconstructConfig) -> None:
    """Refuse settings that no run can use.

    Raises:
        UserError: naming the flag, what it may be, and what it is.
    """
    for name, value in _numbers(dataclasses.asdict(config)):
        flag = f"--config.{name.replace('_', '-')}"
        if not math.isfinite(value):
            raise UserError(f"{flag} must be a finite number; got {value}")
        for pattern, least, most in _RANGES:
            if fnmatchcase(name, pattern):
                if not least <= value <= most:
                    limit = f"from {least:g} to {most:g}" if math.isfinite(most) else f"{least:g} or more"
                    raise UserError(f"{flag} must be {limit}; got {value}")
                break
    size = config.geometry.working_size_px
    if size & (size - 1):
        raise UserError(f"--config.geometry.working-size-px must be a power of two; got {size}")
    for part in ("prior", "geometry"):
        near, far = getattr(config, part).near, getattr(config, part).far
        if not near < far:
            raise UserError(f"--config.{part}.near must be less than --config.{part}.far; got {near} and {far}")
    inversion = config.inversion
    if inversion.survey_steps + inversion.narrow_steps + inversion.final_steps < 1:
        raise UserError("one of the counts of steps in --config.inversion must be positive; got none")


def _numbers(value: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Every number in nested plain values with its dotted name; truth values are none."""
    if isinstance(value, dict):
        entries = list(value.items())
    elif isinstance(value, list | tuple):
        entries = list(enumerate(value))
    else:
        entries = []
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield place, value
    for key, entry in entries:
        yield from _numbers(entry, f"{place}.{key}" if place else str(key))
