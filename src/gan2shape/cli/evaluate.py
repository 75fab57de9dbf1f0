"""``gan2shape evaluate``: results against the truth."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True)
class Evaluate:
    """Score results against a truth file: SIDE (x100) and MAD (degrees), smaller is better.

    For example:
      $ gan2shape evaluate results --truth synface64_val.npz
      $ gan2shape evaluate results/000007 --truth synface64_val.npz --json scores.json
    """

    results: Annotated[Positional[Path], arg(metavar="RESULTS")]
    """Folder of result folders, or one, whose names end in the picture's number in the truth file (from 0)."""
    truth: Annotated[Path, arg(metavar="FILE")]
    """Truth file (.npz) with depth (N, S, S) in scene units, 0 = background, and mask (N, S, S)."""
    json: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """File for the scores as JSON."""

    def run(self) -> None:
        """Print a table, and write the JSON file if one is named.

        Raises:
            UserError: files that cannot be read or do not belong together.
        """
        from rich.table import Table

        from gan2shape.cli.progress import new_console
        from gan2shape.evaluate.score import score_results, summary
        from gan2shape.evaluate.truth import read_truth
        from gan2shape.io.files import write_json

        scores = score_results(self.results, read_truth(self.truth))
        means = summary(scores)
        table = Table("picture", "SIDE x100", "MAD deg", "MAD deg, as published")
        for score in scores:
            table.add_row(str(score.picture), f"{score.side:.3f}", f"{score.mad:.2f}", f"{score.mad_paper:.2f}")
        table.add_section()
        for row in ("mean", "std"):
            side, mad, paper = (means[name][row] for name in ("side", "mad", "mad_paper"))
            table.add_row(row, f"{side:.3f}", f"{mad:.2f}", f"{paper:.2f}")
        if self.json is not None:
            write_json(self.json, {"pictures": [dataclasses.asdict(score) for score in scores], **means})
        new_console().print(table)
