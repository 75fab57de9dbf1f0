"""Scores with their origin, as JSON values: what was run on what, and by which code both were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gan2shape.evaluate.results import StoredResult
from gan2shape.evaluate.score import Score, as_row, left_out, pose_errors, summary
from gan2shape.evaluate.truth import Truth
from gan2shape.result import GeneratorRecord, describe_environment


@dataclass(frozen=True)
class Origin:
    """Where one scored result comes from: its folder's name, and what it says of itself, where it does.

    Attributes:
        folder: the name, without its place.
        seed: of the run.
        preset: name of the configuration.
        environment: versions, commit, machine, generator.
    """

    folder: str
    seed: int | None = None
    preset: str | None = None
    environment: dict[str, Any] | None = None

    @staticmethod
    def of(stored: StoredResult) -> Origin:
        """The origin of a result folder."""
        name, result = stored.folder.resolve().name, stored.result
        if result is None:
            return Origin(name)
        preset = result.config.get("name")
        return Origin(name, result.seed, preset if isinstance(preset, str) else None, dict(result.environment))


def report(
    scores: Sequence[Score], origins: Sequence[Origin], truth: Truth, source: Path, *, gan: bool = False
) -> dict[str, Any]:
    """Everything about an evaluation as JSON values.

    Args:
        scores: of single pictures.
        origins: of their results, in the same order.
        truth: what they were scored against.
        source: file or folder of the truth; its name is kept.
        gan: whether GAN renderings were scored.

    Returns:
        ``truth``, ``seeds``, ``presets``; ``environment`` of this run and ``made_by`` with those of the results;
        ``measures`` (`summary`), ``left_out`` (reasons), ``pictures``.
    """
    errors = pose_errors(scores)
    rows = []
    with_pose = 0
    for score, origin in zip(scores, origins, strict=True):
        row: dict[str, Any] = {**as_row(score), "name": truth.name(score.picture), "folder": origin.folder}
        if origin.seed is not None:
            row["seed"] = origin.seed
        if score.yaw_offset is not None:
            row |= {name: values[with_pose] for name, (_, values) in errors.items()}
            with_pose += 1
        rows.append(row)
    here = describe_environment(GeneratorRecord("", ""), device=torch.device("cpu"))
    here.pop("generator")
    made_by: list[dict[str, Any]] = []
    for origin in origins:
        if origin.environment is not None and origin.environment not in made_by:
            made_by.append(origin.environment)
    return {
        "truth": {"name": source.resolve().name, "pictures": truth.count, "size": truth.size},
        "seeds": sorted({origin.seed for origin in origins if origin.seed is not None}),
        "presets": sorted({origin.preset for origin in origins if origin.preset is not None}),
        "environment": here,
        "made_by": made_by,
        "measures": summary(scores),
        "left_out": left_out(scores, truth, gan=gan),
        "pictures": rows,
    }
