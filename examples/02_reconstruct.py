"""Reconstruct a picture with the bundled generator, and hear of every step and iteration while it runs.

python examples/02_reconstruct.py results/02
python examples/02_reconstruct.py results/02 --picture yours.png
"""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import tyro

from gan2shape import PRESETS, Job, ReconstructConfig, auto_mask, load_generator, read_image, reconstruct_job
from gan2shape.reconstruct.watch import Event, IterationDone, StepFinished

BUNDLED_PICTURE = Path(str(files("gan2shape") / "assets" / "sample_head.png"))


def show(event: Event) -> None:
    """Keep the current step, its iteration and its loss on one line of the terminal."""
    if isinstance(event, IterationDone):
        loss = f", loss {event.record['total']:.4f}" if "total" in event.record else ""
        sys.stderr.write(f"\r{event.name}: iteration {event.iteration + 1}{loss} ")
    elif isinstance(event, StepFinished):
        sys.stderr.write("\n")


def shortened(config: ReconstructConfig) -> ReconstructConfig:
    """The configuration with a few iterations of everything: enough to see all files."""
    return replace(
        config,
        turned=replace(config.turned, views=8, refine=6, refinements=1),
        inversion=replace(config.inversion, samples=8, survey_steps=2, final_steps=4),
    )


def main(output: tyro.conf.Positional[Path], /, *, picture: Path = BUNDLED_PICTURE, quick: bool = False) -> None:
    """Write a result folder.

    Args:
        output: the result folder.
        picture: of an object that the generator could have made, before a plain background.
        quick: a few iterations only, to try the example out.
    """
    loaded = load_generator()
    config = shortened(PRESETS["default"]) if quick else PRESETS["default"]
    job = Job(read_image(picture, size=loaded.generator.resolution), output, auto_mask)
    result = reconstruct_job(job, loaded, config, seed=0, on_event=show)
    print(f"{output / 'contact_sheet.png'} ({len(result.history)} iterations)")


if __name__ == "__main__":
    tyro.cli(main)
