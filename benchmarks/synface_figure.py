"""The table and the figure of the SynFace benchmark, from what synface.py computed.

    python benchmarks/synface_figure.py --truth synface64_val.npz --pictures 1 2 5 7

Puts the table of benchmarks/results/synface.json between the marks in README.md and docs/benchmark.md, and writes
docs/images/synface_comparison.png: input, truth and every method side by side, as clay from the front and turned.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from common import RESULTS
from gan2shape.evaluate.score import MEASURES
from gan2shape.evaluate.truth import Truth, read_truth
from gan2shape.export.sheet import Band, Cell, write_contact_sheet
from gan2shape.render import Camera, DepthRange, Lighting, Pose, Scene, render
from synface import KEPT

ROOT = Path(__file__).parents[1]
FIGURE = ROOT / "docs" / "images" / "synface_comparison.png"
PAGES = (ROOT / "README.md", ROOT / "docs" / "benchmark.md")
MARKS = "<!-- synface table: benchmarks/synface_figure.py -->", "<!-- end of the synface table -->"
TURN_DEG = 35.0
SHORT = {
    "average": "average",
    "supervised": "supervised",
    "unsup3d": "Unsup3D",
    "paper-synface": "paper schedule, from the ellipsoid",
    "paper-synface+pretrained": "paper schedule",
    "turned": "one pass",
    "from_ellipsoid": "ellipsoid",
}


def main() -> None:
    """Write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--pictures", type=int, nargs="+", default=[1, 2, 5, 7])
    parser.add_argument("--result", default="synface", help="name of the result file")
    options = parser.parse_args()
    result = json.loads((RESULTS / f"{options.result}.json").read_text(encoding="utf-8"))
    lines = table(result)
    put(PAGES[0], lines)
    put(PAGES[1], [*lines, "", *further_table(result)])
    truth = read_truth(options.truth)
    write_contact_sheet(FIGURE, bands(result, truth, options.pictures))
    print("\n".join(lines))


def table(result: dict[str, Any]) -> list[str]:
    """The rows as Markdown, with what a reader has to know of how they came about."""
    machine, count = result["machine"], len(numbers_of(result))
    whole_set = max((row["all"]["side"]["pictures"] for row in result["rows"] if "all" in row), default=count)
    lines = [
        f"| method | SIDE ×100 | MAD | MAD as published | all {whole_set}: SIDE, MAD | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        side, mad, paper = (spread(row["chosen"][name], 2 if name == "side" else 1) for name in NAMES)
        if row["std_over_seeds"]:
            side += f" (seeds ± {row['std_over_seeds']['side']:.2f})"
            mad += f" (seeds ± {row['std_over_seeds']['mad']:.1f})"
        everything = row.get("all")
        whole = f"{everything['side']['mean']:.2f}, {everything['mad']['mean']:.1f}°" if everything else ""
        lines.append(f"| {row['row']} | {side} | {mad} | {paper} | {whole} | {row['seconds_median']:.3g} |")
    lines += [
        "",
        f"Pictures {result['pictures']} ({count}), mean ± standard deviation over pictures; degrees. "
        f"{machine['cpu']}, {machine['cores']} cores, {machine['workers']} worker(s) of one thread, "
        f"torch {machine['torch']}, commit {machine['commit']}, {machine['date']}.",
    ]
    notes = [f"{row['row']}: {row['note']}" for row in result["rows"] if row["note"]]
    return [*lines, *([f"Rows: {'; '.join(notes)}."] if notes else [])]


def further_table(result: dict[str, Any]) -> list[str]:
    """What is scored beside the shape, for the rows that say it; means over the chosen pictures."""
    shown = [m for m in MEASURES if m.name not in NAMES and any(m.name in row["chosen"] for row in result["rows"])]
    rows = [row for row in result["rows"] if "light" in row["chosen"]]
    lines = [f"| measure | {' | '.join(row['row'] for row in rows)} |", "|---|" + "---|" * len(rows)]
    for measure in shown:
        cells = []
        for row in rows:
            values = row["chosen"].get(measure.name)
            cells.append("" if values is None else f"{values['mean']:.{measure.digits}f}")
        lines.append(
            f"| {measure.label}{' (larger is better)' if measure.larger_is_better else ''} | {' | '.join(cells)} |"
        )
    return lines


NAMES = ("side", "mad", "mad_paper")


def numbers_of(result: dict[str, Any]) -> set[int]:
    """The chosen pictures."""
    from reconstruct import picture_numbers

    return set(picture_numbers(result["pictures"]))


def spread(values: dict[str, float], digits: int) -> str:
    """Mean ± standard deviation."""
    return f"{values['mean']:.{digits}f} ± {values['std']:.{digits}f}"


def put(page: Path, lines: list[str]) -> None:
    """Replace what stands between the marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    _, found, after = rest.partition(MARKS[1])
    if not found:
        raise SystemExit(f"{page}: expected the marks {MARKS[0]} and {MARKS[1]}")
    page.write_text("\n".join([before + MARKS[0], *lines, MARKS[1] + after]), encoding="utf-8")


def bands(result: dict[str, Any], truth: Truth, pictures: list[int]) -> list[Band]:
    """Two bands for each picture: from the front and turned. Rows without an answer of their own (see --keep of
    synface.py) are left out."""
    assert truth.image is not None
    rows = [row for row in result["rows"] if not row["key"].startswith(("constant", "ellipsoid"))]
    made = []
    for index in pictures:
        item = truth.item(index)
        true = torch.where(item.mask > 0, item.depth, item.depth[item.mask > 0].max())
        shapes = [("truth", true)]
        for row in rows:
            file = KEPT / row["folder"] / f"{index:06d}-0.safetensors"
            if not file.exists():
                continue
            score = next(s for s in row["pictures"] if s["picture"] == index)
            title = f"{SHORT.get(row['key'], row['key'])} {score['side']:.2f} / {score['mad']:.0f}°"
            shapes.append((title, load_file(file)["depth"]))
        for degrees, title in ((0.0, f"picture {index}: SIDE x100 / MAD"), (TURN_DEG, "turned")):
            first = Cell("input", truth.image[index]) if degrees == 0 else Cell("", torch.ones_like(truth.image[index]))
            labels = [name if degrees == 0 else "" for name, _ in shapes]
            cells = [Cell(n, clay(d, item.mask, degrees)) for n, (_, d) in zip(labels, shapes, strict=True)]
            made.append(Band(title, [first, *cells]))
    return made


def clay(depth: Tensor, mask: Tensor, degrees: float) -> Tensor:
    """A depth map of the view as grey clay (3, S, S), turned, white outside the true mask."""
    camera, like = Camera(depth.shape[-1], pivot_depth=1.0), depth.new_tensor([[0.35, 0.65]])
    light = Lighting(like[:, :1], like[:, 1:], torch.nn.functional.normalize(depth.new_tensor([[0.5, 0.5, 1.0]])))
    pose = Pose.from_euler(depth.new_tensor([[0.0, math.radians(degrees), 0.0]]))
    whole = DepthRange(0.5, 1.5)
    scene = Scene(depth, depth.new_full((1, 3, *depth.shape[2:]), 0.7), pose, light)
    flat = Lighting(torch.ones_like(like[:, :1]), torch.zeros_like(like[:, :1]), light.direction)
    seen = render(scene, camera, depth_range=whole)
    inside = render(Scene(depth, mask.expand(-1, 3, -1, -1) * 2 - 1, pose, flat), camera, depth_range=whole)
    alpha = (inside.image / 2 + 0.5) * seen.mask
    return (seen.image * alpha + (1 - alpha))[0]


if __name__ == "__main__":
    main()
