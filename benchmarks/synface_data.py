"""Rendered heads: how fast, and how near to the benchmark's own pictures.

Run: python benchmarks/synface_data.py --model facekit.npz [--truth synface64_val.npz] [--device cuda]

- speed: batches of pictures with all their truth maps, one thread, several blocks; pictures per second by the clock
  and per second of the process's own time.
- exactness: the truth file's heads rendered from its own coefficients, poses and lights, against its maps.
- agreement: the distributions of many pictures against the truth file's: difference of the means in standard
  deviations and a two-sample Kolmogorov-Smirnov test. Pose and light: all views of the truth file. Depth: one number
  for each picture, since pixels of a picture are anything but independent. With n pictures in the truth file the
  difference of two means of the same distribution is itself about 1 / sqrt(n) standard deviations.
"""

from __future__ import annotations

import argparse
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from common import machine, measure_rounds, steal_seconds, write_result
from gan2shape.data import HeadModel, SynFace, read_model
from gan2shape.data.draws import Drawn
from gan2shape.data.mesh import HeadMesh
from gan2shape.data.rendering import render_heads
from gan2shape.render import Camera

SEED = 7
TARGET_PER_S = 60
MEANS_WITHIN = 0.1
LEAST_P = 0.01
DEPTHS = ("depth mean", "depth nearest", "depth 10 %", "depth median", "depth 90 %", "mask share")


def speed(model: HeadModel, device: str) -> dict[str, Any]:
    """Pictures per second at several sizes."""
    batch = 64 if device == "cpu" else 256
    numbers = itertools.count(step=batch)
    streams = {f"{size}_px": SynFace(model, size=size, seed=SEED, device=device) for size in (64, 128)}
    runs = {name: lambda stream=stream: stream(next(numbers), batch) for name, stream in streams.items()}
    timings = measure_rounds(runs, rounds=3, warm_up=1, repeats=4, device=device)
    for timing in timings.values():
        timing["pictures_per_s"] = round(1e3 * batch / timing["median_ms"], 1)
        timing["pictures_per_cpu_s"] = round(1e3 * batch / timing["cpu_median_ms"], 1)
        timing["batch"] = batch
    return timings


def exactness(model: HeadModel, truth: np.lib.npyio.NpzFile) -> dict[str, Any]:
    """The truth file's own heads rendered here, against its maps."""
    stream = SynFace(model, size=truth["image"].shape[1], seed=SEED)
    count = len(truth["image"])
    heads, _, views = stream.draw(0, count)

    def known(keys: dict[str, str], drawn: Drawn) -> Drawn:
        values = {name: torch.from_numpy(truth[key].astype(np.float32)) for name, key in keys.items()}
        return Drawn(
            {name: values[name].view_as(value) if name in values else value for name, value in drawn.values.items()}
        )

    heads = known({"identity": "identity", "expression": "expression"}, heads)
    same = {name: name for name in ("translation", "ambient", "diffuse", "light")}
    views = known({"view": "view_deg", **same}, views)
    mesh, parts = HeadMesh.of(model), []
    for first in range(0, count, 8):
        here = slice(first, first + 8)
        owner = torch.arange(len(range(count)[here]))
        parts.append(render_heads(mesh, heads.select(here), owner, views.select(here), Camera(stream.size)))
    mask = torch.cat([part["mask"][:, 0] for part in parts]) > 0
    depth = torch.cat([part["depth"][:, 0] for part in parts])
    normal = torch.cat([part["normal"] for part in parts]).permute(0, 2, 3, 1)
    true_mask = torch.from_numpy(truth["mask"])
    both = mask & true_mask
    error = (depth - torch.from_numpy(truth["depth"]))[both].abs()
    true_normal = F.normalize(torch.from_numpy(truth["normal"].astype(np.float32)), dim=-1)
    angle = torch.rad2deg(torch.linalg.vector_norm(normal[both] - true_normal[both], dim=-1))
    return {
        "pixels_of_other_mask": int((mask != true_mask).sum()),
        "mask_iou": round(float(both.sum() / (mask | true_mask).sum()), 7),
        "depth_error_mean": float(error.mean()),
        "depth_error_above_1e-5": float((error > 1e-5).float().mean()),
        "normal_error_mean_deg": round(float(angle.mean()), 4),
    }


def agreement(model: HeadModel, truth: np.lib.npyio.NpzFile, count: int) -> dict[str, Any]:
    """Means and Kolmogorov-Smirnov tests of pose, light and depth."""
    stream = SynFace(model, size=truth["image"].shape[1], seed=SEED)
    batches = [stream(first, min(64, count - first)) for first in range(0, count, 64)]
    ours = {name: np.concatenate([batch[name].numpy() for batch in batches]) for name in batches[0]}
    samples: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    parts = {"view": ("pitch", "yaw", "roll"), "light": ("light x", "light y", "light z")}
    parts |= {"translation": ("shift x", "shift y"), "ambient": ("ambient",), "diffuse": ("diffuse",)}
    for name, labels in parts.items():
        key = "view_deg" if name == "view" else name
        theirs = [truth[k].reshape(-1, len(labels) if len(labels) != 2 else 3) for k in (key, f"extra_{key}")]
        for column, label in enumerate(labels):
            samples[label] = (ours[name][:, column], np.concatenate(theirs)[:, column])
    mine, theirs = depth_numbers(ours["depth"][:, 0]), depth_numbers(truth["depth"])
    samples |= {label: (mine[:, column], theirs[:, column]) for column, label in enumerate(DEPTHS)}
    return {label: compare(*pair) for label, pair in samples.items()}


def depth_numbers(depth: np.ndarray) -> np.ndarray:
    """(N, 6), `DEPTHS` of every picture, from depth (N, S, S) with 0 for background."""
    rows = []
    for picture in depth:
        seen = picture[picture > 0]
        rows.append([seen.mean(), seen.min(), *np.quantile(seen, (0.1, 0.5, 0.9)), (picture > 0).mean()])
    return np.array(rows)


def compare(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Difference of the means in standard deviations of the truth, and the test's statistic and p."""
    grid = np.concatenate([ours, theirs])
    steps = [np.searchsorted(np.sort(sample), grid, side="right") / len(sample) for sample in (ours, theirs)]
    statistic = float(np.abs(steps[0] - steps[1]).max())
    root = math.sqrt(len(ours) * len(theirs) / (len(ours) + len(theirs)))
    # The asymptotic distribution with Stephens' correction.
    scale = (root + 0.12 + 0.11 / root) * statistic
    terms = [(-1) ** (k - 1) * math.exp(-2 * (k * scale) ** 2) for k in range(1, 101)]
    return {
        "mean": round(float(ours.mean()), 5),
        "mean_of_truth": round(float(theirs.mean()), 5),
        "difference_in_std": round(float((ours.mean() - theirs.mean()) / theirs.std()), 3),
        "expected_by_chance_in_std": round(math.sqrt(1 / len(theirs) + 1 / len(ours)), 3),
        "ks": round(statistic, 4),
        "p": round(min(max(2 * sum(terms), 0.0), 1.0) if scale > 0.2 else 1.0, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="head model: packed file or FaceKit folder")
    parser.add_argument("--truth", type=Path, help="truth file to compare with")
    parser.add_argument("--count", type=int, default=2000, help="pictures to compare (default: 2000)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda for the speed (default: cpu)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    facts = machine(options.device, sources="src/gan2shape/data")
    model, stolen = read_model(options.model), steal_seconds()
    result: dict[str, Any] = {"benchmark": "synface_data", "seed": SEED, "machine": facts}
    result["speed"] = speed(model, options.device)
    if stolen is not None:
        facts["stolen_by_host_s"] = round((steal_seconds() or stolen) - stolen, 2)
    for name, timing in result["speed"].items():
        print(
            f"{name:8s} {timing['pictures_per_s']:7.1f} pictures/s, {timing['pictures_per_cpu_s']:.1f} per CPU second"
        )
    result["target_pictures_per_s_64_px"] = TARGET_PER_S
    if options.truth is not None:
        with np.load(options.truth, allow_pickle=False) as truth:
            result["exactness"] = exactness(model, truth)
            result["agreement"] = {"pictures": options.count, **agreement(model, truth, options.count)}
        print(result["exactness"])
        for label, row in result["agreement"].items():
            if isinstance(row, dict):
                marks = ("", " mean!")[abs(row["difference_in_std"]) > MEANS_WITHIN] + ("", " p!")[row["p"] < LEAST_P]
                print(f"{label:14s} {row['difference_in_std']:+.3f} std, p {row['p']:.3f}{marks}")
    path = write_result("synface_data" if options.device == "cpu" else "synface_data_cuda", result)
    print(f"written to {path.relative_to(path.parents[2])}")


if __name__ == "__main__":
    main()
