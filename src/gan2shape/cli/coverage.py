"""``gan2shape coverage``: what a generator's pictures show, beside true ones, as a trained probe sees both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import OmitArgPrefixes, Positional, arg

from gan2shape.cli.runtime import Compute, check_seed, say, see_own_code
from gan2shape.errors import InputError, UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from gan2shape.evaluate.coverage import Comparison, Seen
    from gan2shape.networks.probe import Probe

_MOST = 1_000_000
_AT_ONCE = 250


@dataclass(frozen=True)
class Coverage:
    """Tell whether a generator covers the poses and lights of its data: Fréchet distance, spreads, distributions.

    A probe, trained by "gan2shape train probe" on pictures with truth, looks at generated and at true pictures. What it
    reads of both is compared; a second set of true pictures shows what a generator without a fault would get.

    For example:
      $ gan2shape coverage --probe probe.safetensors --truth held_out.npz
      $ gan2shape coverage my-gan.safetensors --probe probe.safetensors --truth held_out.npz --json coverage.json
    """

    generator: Annotated[
        Positional[str], arg(metavar="[GENERATOR]", help_behavior_hint="(default: the bundled generator)")
    ] = "bundled"
    """The GAN: "bundled", a checkpoint file (.safetensors, .pt, or NVIDIA's .pkl), or module:function."""
    class_index: Annotated[int | None, arg(name="class", metavar="N", help_behavior_hint="(optional)")] = None
    """Which class a conditional GAN draws, from 0."""
    latent_dim: Annotated[int | None, arg(metavar="COUNT", help_behavior_hint="(optional)")] = None
    """Count of numbers in a latent of module:function that does not say so itself."""
    probe: Annotated[Path, arg(metavar="FILE")] = field(kw_only=True)
    """Weights of the probe, as "gan2shape train probe" writes them."""
    truth: Annotated[Path, arg(metavar="SOURCE")] = field(kw_only=True)
    """True pictures, twice --count of them, that probe and generator were not trained on: a packed file (.npz), a
    folder or zip file, or a head model, which is rendered."""
    count: Annotated[int, arg(metavar="COUNT")] = 2000
    """Generated pictures."""
    truncation: Annotated[float, arg(metavar="FACTOR")] = 1.0
    """How far latents keep from their mean; 1 is the whole distribution, which is what has to cover the data."""
    seed: int = 0
    """Seed of the latents, and of the true pictures where they are rendered or shuffled; with a head model: another
    seed than the training's."""
    json: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """File for all numbers as JSON, with seed, commit, machine and versions."""
    figure: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """Picture (.png) of the histograms of yaw, pitch and light x, true beside generated."""
    compute: OmitArgPrefixes[Compute] = field(default_factory=Compute)
    """Where to compute."""

    def run(self) -> None:
        """Print a table, and write the JSON file and the figure if they are named.

        Raises:
            UserError: a number out of its range, or files that cannot be used.
        """
        check_seed(self.seed, "--seed")
        if not 2 <= self.count <= _MOST:
            raise UserError(f"--count must be from 2 to {_MOST}; got {self.count}")
        if not 0 <= self.truncation <= 2:
            raise UserError(f"--truncation must be from 0 to 2; got {self.truncation}")
        device = self.compute.torch_device()

        from gan2shape.evaluate.coverage import compare, generated_pictures, see
        from gan2shape.generators import load_generator
        from gan2shape.io.files import write_json
        from gan2shape.networks.probe import load_probe
        from gan2shape.result import describe_environment

        probe = load_probe(self.probe).to(device)
        see_own_code(self.generator)
        loaded = load_generator(self.generator, device=device, class_index=self.class_index, latent_dim=self.latent_dim)
        true = self._true(probe, device)
        pictures = generated_pictures(loaded, self.count, seed=self.seed, truncation=self.truncation)
        generated = see(probe, self._shown("generated pictures", pictures, 1))
        coverage = compare(generated, true)
        show(coverage)
        if self.json is not None:
            here = describe_environment(loaded.record, device=device)
            whole = {**self._about(), "environment": here, **asdict(coverage)}
            write_json(self.json, {**whole, "met": coverage.met})
        if self.figure is not None:
            draw(self.figure, coverage, generated, true)

    def _true(self, probe: Probe, device: torch.device) -> Seen:
        from gan2shape.data import open_pictures
        from gan2shape.evaluate.coverage import see

        pictures = open_pictures(self.truth, size=probe.image_size, seed=self.seed, device=device)
        stored, wanted = getattr(pictures, "count", None), 2 * self.count
        if stored is not None and stored < wanted:
            raise InputError(f"{self.truth}: expected {wanted} pictures, twice --count; got {stored}")
        starts = range(0, wanted, _AT_ONCE)
        batches = (pictures(start, min(_AT_ONCE, wanted - start))["image"] for start in starts)
        return see(probe, self._shown("true pictures", batches, 2))

    def _shown(self, title: str, batches: Iterable[Tensor], times: int) -> Iterator[Tensor]:
        """The same batches, with a progress bar."""
        from gan2shape.cli.progress import new_bars, new_console

        with new_bars(new_console()) as bars:
            task = bars.add_task(title, total=times * self.count)
            for batch in batches:
                yield batch
                bars.advance(task, len(batch))

    def _about(self) -> dict[str, Any]:
        from gan2shape.io.checkpoints import sha256

        return {
            "seed": self.seed,
            "truncation": self.truncation,
            "truth": self.truth.resolve().name,
            "probe": {"name": self.probe.resolve().name, "sha256": sha256(self.probe)},
        }


def show(coverage: Comparison) -> None:
    """Print the comparison as a table."""
    from rich.table import Table

    from gan2shape.cli.progress import new_console
    from gan2shape.evaluate.coverage import GOALS, LEAST_RATIO, MOST_DISTANCE

    table = Table("read by the probe", "true", "generated", "std ratio", "KS", "KS of true", "goal")
    for row in coverage.quantities:
        goal = "" if row.met is None else "met" if row.met else "missed"
        sides = (f"{mean:.2f} ± {std:.2f}" for mean, std in ((row.true_mean, row.true_std), (row.mean, row.std)))
        table.add_row(row.name, *sides, row.ratio_text, f"{row.distance:.3f}", f"{row.floor:.3f}", goal)
    new_console().print(table)
    say(
        f"Fréchet distance in the probe's features: {coverage.frechet:.3f} "
        f"(two sets of true pictures: {coverage.floor:.3f}; the mean picture alone: {coverage.collapse:.3f})"
    )
    limits = f"std ratio of yaw at least {LEAST_RATIO}, KS of {', '.join(GOALS)} at most {MOST_DISTANCE}"
    say(f"goals ({limits}): {'met' if coverage.met else 'missed'}")


def draw(file: Path, coverage: Comparison, generated: Seen, true: Seen) -> None:
    """Write the histograms of what has a goal.

    Raises:
        UserError: the place cannot be written.
    """
    from gan2shape.evaluate.histograms import Panel, write_histograms

    panels = []
    for row in coverage.quantities:
        if row.met is not None:
            note = f"generated: std ratio {row.ratio_text}, KS {row.distance:.3f}"
            panels.append(Panel(f"{row.name} (grey: true)", note, true.number(row.name), generated.number(row.name)))
    write_histograms(file, panels)
