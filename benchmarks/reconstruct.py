"""Shape error of a preset on pictures with exact truth, beside what knows nothing of the picture.

    python benchmarks/reconstruct.py --truth synface64_val.npz --pictures 0-9 --seeds 0 --threads 2

Rows: constant depth; average true depth (per pixel, over all other pictures of the truth file where they have
foreground; 1.1 where none has); the paper's ellipsoid and the preset's, on the automatic mask; the preset. The preset
sees the picture only: mask and latent are found as for any user. Writes benchmarks/results/reconstruct.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common import machine, write_result
from gan2shape.evaluate.baselines import average_depth, constant_depth
from gan2shape.evaluate.score import Score, score_depth, summary
from gan2shape.evaluate.truth import read_truth
from gan2shape.generators import LoadedGenerator, load_generator
from gan2shape.priors import EllipsoidPrior
from gan2shape.priors.masks import auto_mask
from gan2shape.reconstruct.config import ReconstructConfig
from gan2shape.reconstruct.pipeline import find_latent
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.reconstruct.reconstructor import reconstructor_for
from gan2shape.reconstruct.target import Target
from gan2shape.reconstruct.watch import Event, StepFinished, StepStarted
from gan2shape.render import render


class Clock:
    """Seconds of every step."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepStarted):
            self.began[event.name] = time.perf_counter()
        elif isinstance(event, StepFinished):
            self.seconds[event.name] = time.perf_counter() - self.began[event.name]


def picture_numbers(text: str) -> list[int]:
    """ "0-3,7" to [0, 1, 2, 3, 7]."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def reconstruct(
    picture: Tensor, loaded: LoadedGenerator, config: ReconstructConfig, seed: int
) -> tuple[Tensor, Tensor, float, dict[str, float], tuple[str, ...]]:
    """Input-view depth, hits, PSNR of the inversion, seconds of every step, warnings."""
    clock = Clock()
    latent, psnr = find_latent(picture, loaded, config.inversion, seed=seed, on_event=clock)
    reconstructor = reconstructor_for(loaded, config)
    image = reconstructor.framing.to_working(picture)
    result = reconstructor(Target(image, latent, auto_mask(image)), seed=seed, on_event=clock)
    view = render(result.scene, result.camera, depth_range=reconstructor.depth_range)
    return view.depth, view.mask, psnr, clock.seconds, tuple(result.warnings)


def row(name: str, scores: list[Score]) -> dict[str, object]:
    """One row of the table: mean and standard deviation over pictures, and every picture's scores."""
    means = summary(scores)
    print(f"{name:<28} SIDE {means['side']['mean']:.3f} ± {means['side']['std']:.3f}", end="")
    print(f"   MAD {means['mad']['mean']:.2f} ± {means['mad']['std']:.2f}", flush=True)
    return {"row": name, **means, "pictures": [dataclasses.asdict(score) for score in scores]}


def main() -> None:
    """Score all rows and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--pictures", default="0-9")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--preset", default="default", choices=list(PRESETS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--name", default="reconstruct", help="name of the result file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config, truth, numbers = PRESETS[options.preset], read_truth(options.truth), picture_numbers(options.pictures)
    with np.load(options.truth) as archive:
        pictures = torch.from_numpy(archive["image"]).permute(0, 3, 1, 2).float() / 127.5 - 1
    loaded = load_generator(offset_layers=config.projection.offset_layers)

    def every(depth_of: object) -> list[Score]:
        return [score_depth(i, depth_of(i), torch.ones_like(truth.mask[:1]), truth) for i in numbers]  # type: ignore[operator]

    def prior(ellipsoid: EllipsoidPrior) -> list[Score]:
        return every(lambda i: ellipsoid.depth(auto_mask(pictures[i : i + 1])))

    rows = [
        row("constant depth", every(lambda i: constant_depth(truth.depth[i : i + 1]))),
        row("average true depth", every(lambda i: average_depth(truth.depth, truth.mask, leave_out=i))),
        row("ellipsoid of the paper", prior(EllipsoidPrior())),
        row(f"ellipsoid of {config.name}", prior(config.prior)),
    ]
    seconds: dict[str, list[float]] = {}
    psnrs: list[float] = []
    warnings: list[str] = []
    for seed in options.seeds:
        scores = []
        for i in numbers:
            depth, hit, psnr, steps, warned = reconstruct(pictures[i : i + 1], loaded, config, seed)
            scores.append(score_depth(i, depth, hit, truth))
            psnrs.append(psnr)
            warnings += warned
            for name, value in steps.items():
                seconds.setdefault(name, []).append(value)
            print(f"  picture {i}: SIDE {scores[-1].side:.3f} MAD {scores[-1].mad:.2f}", flush=True)
        rows.append(row(f"{config.name}, seed {seed}", scores))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write_result(
        options.name,
        {
            "machine": machine(),
            "preset": config.to_dict(),
            "seeds": options.seeds,
            "rows": rows,
            "seconds_median": {name: round(statistics.median(values), 2) for name, values in seconds.items()},
            "seconds_total_median": round(sum(statistics.median(values) for values in seconds.values()), 1),
            "peak_memory_mib": round(peak / (1024 if sys.platform != "darwin" else 1024**2)),
            "inversion_psnr_db": [round(value, 1) for value in psnrs],
            "warnings": warnings,
        },
    )


if __name__ == "__main__":
    main()
