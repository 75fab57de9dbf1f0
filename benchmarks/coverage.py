"""What generators cover: Fréchet distance in the probe's features, pose and light of their pictures beside true ones.

    gan2shape data synface --model ict_facekit.npz --count 4000 --seed 2 --npz held_out.npz
    python benchmarks/coverage.py --truth held_out.npz [--also NAME=FILE ...]

Writes results/coverage.json and docs/images/coverage.png (of the bundled generator), and puts the tables between the
marks of docs/model-card.md. The same for one generator is `gan2shape coverage`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common import machine, write_result
from gan2shape.cli.coverage import draw
from gan2shape.data import open_pictures
from gan2shape.evaluate.coverage import Comparison, Seen, compare, generated_pictures, see
from gan2shape.generators import load_generator
from gan2shape.io.checkpoints import sha256
from gan2shape.networks.probe import NUMBERS, Probe, load_probe
from gan2shape.networks.trained import read_about
from gan2shape.train.probe import TRUTH, targets

ROOT = Path(__file__).parents[1]
PROBE = ROOT / "benchmarks" / "weights" / "probe.safetensors"
CARD, FIGURE = ROOT / "docs" / "model-card.md", ROOT / "docs" / "images" / "coverage.png"
FIRST, LAST = "<!-- coverage tables: benchmarks/coverage.py -->", "<!-- end of the coverage tables -->"
_AT_ONCE = 250


def true_pictures(probe: Probe, source: Path, count: int, seed: int) -> tuple[Seen, dict[str, float]]:
    """What the probe sees in ``2 count`` true pictures, and its root mean squared errors where they have truth."""
    pictures, wanted = open_pictures(source, size=probe.image_size, seed=seed, device="cpu"), 2 * count
    if getattr(pictures, "count", wanted) < wanted:
        raise SystemExit(f"{source}: expected {wanted} pictures")
    starts = range(0, wanted, _AT_ONCE)
    truths: list[Tensor] = []

    def images() -> Iterator[Tensor]:
        for start in starts:
            batch = pictures(start, min(_AT_ONCE, wanted - start))
            if set(TRUTH) <= set(batch):
                truths.append(targets(batch)[:, : len(NUMBERS)])
            yield batch["image"]

    seen = see(probe, images())
    if not truths:
        return seen, {}
    errors = np.sqrt(np.square(seen.numbers - torch.cat(truths).double().numpy()).mean(0))
    return seen, dict(zip(NUMBERS, errors.tolist(), strict=True))


def tables(compared: dict[str, Comparison], errors: dict[str, float]) -> str:
    """Markdown: every quantity of the first generator, then the quantities with goals and the distance of all."""
    first = next(iter(compared.values()))
    lines = [
        "| read by the probe | true | generated | ratio of std | KS | KS of true ones | error of the probe | goal |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in first.quantities:
        goal = "" if row.met is None else "met" if row.met else "missed"
        sides = f"{row.true_mean:.2f} ± {row.true_std:.2f} | {row.mean:.2f} ± {row.std:.2f}"
        error = f"{errors[row.name]:.2g}" if errors else ""
        numbers = f"{row.ratio_text} | {row.distance:.3f} | {row.floor:.3f} | {error}"
        lines.append(f"| {row.name} | {sides} | {numbers} | {goal} |")
    lines += ["", "| weights | Fréchet distance | yaw | pitch | light x | goals |", "|---|---|---|---|---|---|"]
    for name, comparison in compared.items():
        quantities = {row.name: row for row in comparison.quantities}
        cells = (f"{quantities[q].ratio_text}, {quantities[q].distance:.3f}" for q in ("yaw", "pitch", "light x"))
        verdict = "met" if comparison.met else "missed"
        lines.append(f"| {name} | {comparison.frechet:.2f} | {' | '.join(cells)} | {verdict} |")
    lines.append(f"| true pictures | {first.floor:.2f} |  |  |  |  |")
    lines.append(f"| their mean picture alone | {first.collapse:.2f} |  |  |  |  |")
    return "\n".join(lines)


def card_parts(text: str) -> tuple[str, str]:
    """What stands before and after the tables of the model card."""
    head, first, rest = text.partition(FIRST)
    _, last, tail = rest.partition(LAST)
    if not first or not last:
        raise SystemExit(f"{CARD}: expected the lines {FIRST} and, after it, {LAST}; one is missing")
    return head, tail


def main() -> None:
    """Read the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, required=True, help="true pictures, twice --count")
    parser.add_argument("--probe", type=Path, default=PROBE)
    parser.add_argument("--also", action="append", default=[], metavar="NAME=FILE", help="another generator")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    card_parts(CARD.read_text(encoding="utf-8"))  # A card without its marks shows before everything is measured.
    probe = load_probe(options.probe)
    true, errors = true_pictures(probe, options.truth, options.count, options.seed)
    compared: dict[str, Comparison] = {}
    files: dict[str, dict[str, Any]] = {}
    for name, source in [("bundled", "bundled"), *(pair.split("=", 1) for pair in options.also)]:
        loaded = load_generator(source)
        generated = see(probe, generated_pictures(loaded, options.count, seed=options.seed))
        compared[name] = compare(generated, true)
        files[name] = {"file": loaded.name, "sha256": loaded.sha256, "compute_dtype": loaded.about["compute_dtype"]}
        if name == "bundled":
            draw(FIGURE, compared[name], generated, true)
    result = {
        "machine": machine(),
        "seed": options.seed,
        "truth": options.truth.name,
        "probe": {"sha256": sha256(options.probe), **read_about(options.probe), "errors": errors},
        "generators": {name: {**files[name], **asdict(c), "met": c.met} for name, c in compared.items()},
    }
    print(write_result("coverage", result))
    head, tail = card_parts(CARD.read_text(encoding="utf-8"))
    CARD.write_text(f"{head}{FIRST}\n{tables(compared, errors)}\n{LAST}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
