"""How well maskers find the object: intersection over union with the true masks of a truth file.

    python benchmarks/masks.py --truth synface64_val.npz

Scores `auto_mask`, and rembg's U²-Net where the extra `mask` is there. Needs the keys `image` (N, S, S, 3) uint8 and
`mask` (N, S, S). Nothing is drawn at random: the seed is noted as none.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.priors import auto_mask
from gan2shape.priors.cutout import cutout_mask

WHAT = (
    "intersection over union of each masker's mask (at 0.5) with the true mask; a picture without a mask found counts "
    "0; the seconds of rembg include loading its network, as in the program"
)


def main() -> None:
    """Score the pictures, print a summary and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--truth", type=Path, required=True, help="truth file (.npz) with the keys image and mask")
    parser.add_argument("--first", type=int, default=20, help="how many pictures the first summary covers")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "masks.json")
    arguments = parser.parse_args()
    # Else coverage.py of this folder passes for the package of that name with numba, which rembg uses.
    sys.path = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # what rembg takes its number of threads from
    with np.load(arguments.truth) as truth:
        images, masks = truth["image"], truth["mask"].astype(bool)
    maskers: dict[str, Callable[[Tensor], Tensor]] = {"auto": auto_mask}
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    if find_spec("rembg") is not None:
        maskers["rembg"] = cutout_mask
        versions += f", rembg {version('rembg')}, onnxruntime {version('onnxruntime')}"
    report = {
        "what": WHAT,
        "truth": arguments.truth.name,
        "maskers": {name: measured(masker, images, masks, arguments.first) for name, masker in maskers.items()},
        "date": date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores of which one thread is used",
        "versions": versions,
        "seed": None,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for name, found in report["maskers"].items():
        print(name, json.dumps({key: value for key, value in found.items() if key != "per_picture"}, indent=1))


def measured(masker: Callable[[Tensor], Tensor], images: np.ndarray, masks: np.ndarray, first: int) -> dict[str, Any]:
    """Scores and seconds of one masker on pictures (N, S, S, 3) uint8 with true masks (N, S, S) bool."""
    score(masker, images[0], masks[0])  # warm-up
    started = time.perf_counter()
    scores = np.array([score(masker, image, mask) for image, mask in zip(images, masks, strict=True)])
    seconds = (time.perf_counter() - started) / len(scores)
    return {
        f"pictures 0-{first - 1}": summary(scores[:first]),
        "all pictures": summary(scores),
        "seconds_per_picture": round(seconds, 3),
        "seconds_at_256_px": round(seconds_at(masker, images[0], 256), 3),
        "per_picture": [round(float(value), 4) for value in scores],
    }


def score(masker: Callable[[Tensor], Tensor], image: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union for one picture (S, S, 3) uint8; 0 if no mask is found."""
    try:
        found = masker(signed(image))[0, 0].numpy() > 0.5
    except InputError:
        return 0.0
    return float((found & truth).sum() / (found | truth).sum())


def signed(image: np.ndarray) -> torch.Tensor:
    """(S, S, 3) uint8 → (1, 3, S, S) in [-1, 1]."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1


def summary(scores: np.ndarray) -> dict[str, float]:
    """Mean, least and number of bad scores."""
    return {
        "count": len(scores),
        "mean": round(float(scores.mean()), 4),
        "min": round(float(scores.min()), 4),
        "below_0.9": int((scores < 0.9).sum()),
    }


def seconds_at(masker: Callable[[Tensor], Tensor], image: np.ndarray, size: int, repeats: int = 5) -> float:
    """Median seconds for the picture resized to `size` px, after one warm-up."""
    large = torch.nn.functional.interpolate(signed(image), size=(size, size), mode="bilinear", align_corners=False)
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        masker(large)
        times.append(time.perf_counter() - started)
    return float(np.median(times[1:]))


if __name__ == "__main__":
    main()
