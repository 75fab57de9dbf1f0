"""``gan2shape evaluate``: results against the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg

from gan2shape.cli.runtime import Compute, say
from gan2shape.errors import InputError

if TYPE_CHECKING:
    from gan2shape.evaluate.results import StoredResult
    from gan2shape.evaluate.score import Score
    from gan2shape.evaluate.truth import Truth
    from gan2shape.export.views import Painter
    from gan2shape.result import ReconstructionResult

_PER_PICTURE = ("side", "mad", "mad_paper", "mad_mesh", "depth_mae")


@dataclass(frozen=True)
class Evaluate:
    """Score results against the truth: shape, pose, light, albedo, new views and relighting, as far as both know them.

    For example:
      $ gan2shape evaluate results --truth synface64_val.npz
      $ gan2shape evaluate results/000007 --truth faces --json scores.json --maps errors
    """

    results: Annotated[Positional[Path], arg(metavar="RESULTS")]
    """Folder of result folders, or one; each is named like its picture, or ends in the picture's number (from 0)."""
    truth: Annotated[Path, arg(metavar="FILE_OR_DIR")]
    """Truth: a file (.npz), or a folder as "gan2shape data synface" writes it; docs/benchmark.md describes both."""
    json: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """File for the scores as JSON, with seeds, commit, machine and versions."""
    maps: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="(optional)")] = None
    """Folder for pictures of the errors of depth and normals, one for each result."""
    gan: FlagCreatePairsOff[bool] = False
    """Score the GAN's pictures of new views and lights too."""
    generator: Annotated[str, arg(metavar="SOURCE")] = "bundled"
    """With --gan: the GAN that the results were made with, "bundled" or a checkpoint file."""
    compute: OmitArgPrefixes[Compute] = field(default_factory=Compute)
    """Where to compute."""

    def run(self) -> None:
        """Print tables, and write the JSON file and the error maps if they are named.

        Raises:
            UserError: files that cannot be read or do not belong together.
        """
        from gan2shape.evaluate.report import Origin, report
        from gan2shape.evaluate.score import score_results
        from gan2shape.evaluate.truth import read_truth
        from gan2shape.io.files import make_folder, write_json

        self.compute.torch_device()
        truth = read_truth(self.truth)
        if self.maps is not None:
            make_folder(self.maps)
        origins: list[Origin] = []

        def on_scored(score: Score, stored: StoredResult) -> None:
            origins.append(Origin.of(stored))
            if self.maps is not None:
                _write_maps(self.maps, score, stored, truth)

        painter_of = self._painter_of() if self.gan else lambda stored: None
        scores = score_results(self.results, truth, painter_of=painter_of, on_scored=on_scored)
        whole = report(scores, origins, truth, self.truth, gan=self.gan)
        if self.json is not None:
            write_json(self.json, whole)
        _show(scores, truth, whole)
        if self.maps is not None:
            say(f"error maps: {self.maps}")

    def _painter_of(self) -> Callable[[StoredResult], Painter | None]:
        """From a result to its GAN's pictures; None for a result without the weights that they need.

        Raises:
            UserError: the generator is another one than the result's.
        """
        from gan2shape.cli.render import check_same_generator
        from gan2shape.cli.runtime import load_again
        from gan2shape.cli.saved import load_saved
        from gan2shape.generators import LoadedGenerator
        from gan2shape.reconstruct.painting import gan_projection

        loaded: dict[tuple[int, int | None], LoadedGenerator] = {}
        device = self.compute.torch_device()

        def painter_of(stored: StoredResult) -> Painter | None:
            if stored.result is None or not _can_paint(stored.result):
                return None
            saved = load_saved(stored.folder)
            tail = saved.config.projection.offset_layers
            kind = (tail, saved.result.generator.class_index)
            if kind not in loaded:
                loaded[kind] = load_again(self.generator, saved.result, device=device, offset_layers=tail)
            check_same_generator(saved, loaded[kind])
            return gan_projection(saved.result, loaded[kind], saved.config)

        return painter_of


def _can_paint(result: ReconstructionResult) -> bool:
    """Whether a result has what its GAN's views need: an encoder, or latents that are moved without one."""
    trained = any(name.startswith("encoder.") for name in result.networks)
    return result.latent is not None and (trained or result.config.get("start") == "turned")


def _write_maps(folder: Path, score: Score, stored: StoredResult, truth: Truth) -> None:
    from gan2shape.evaluate.maps import write_error_maps

    name = truth.name(score.picture)
    title = f"{name}   SIDE {score.side:.3f}   MAD {score.mad:.2f}°"
    try:
        write_error_maps(folder / f"{name}.png", stored.prediction, truth.item(score.picture), title)
    except ValueError as error:
        raise InputError(f"{stored.folder}: {error}") from None


def _show(scores: Sequence[Score], truth: Truth, whole: dict[str, Any]) -> None:
    """Tables of single pictures (shape only) and of all measures, and what was left out."""
    from rich.table import Table

    from gan2shape.cli.progress import new_console
    from gan2shape.evaluate.score import MEASURES

    console = new_console()
    means = whole["measures"]
    shown = [measure for measure in MEASURES if measure.name in _PER_PICTURE and measure.name in means]
    table = Table("picture", *(measure.label for measure in shown))
    for score in scores:
        values = ((getattr(score, measure.name), measure.digits) for measure in shown)
        cells = ("" if value is None else f"{value:.{digits}f}" for value, digits in values)
        table.add_row(truth.name(score.picture), *cells)
    console.print(table)
    table = Table("measure", "mean", "std", "pictures", "better")
    for measure in MEASURES:
        if measure.name in means:
            row = means[measure.name]
            numbers = (f"{row[name]:.{measure.digits}f}" for name in ("mean", "std"))
            better = "larger" if measure.larger_is_better else "smaller"
            table.add_row(measure.label, *numbers, str(row["pictures"]), better)
    console.print(table)
    for name, reason in whole["left_out"].items():
        say(f"left out: {name} ({reason})")
