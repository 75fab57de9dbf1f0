"""Time the bundled generator and its discriminator features, and invert pictures with it.

python benchmarks/generator.py                                    # one thread; writes results/generator.json
python benchmarks/generator.py --pictures synface64_val.npz       # and inverts pictures 0 to 9 (results/invert.json)
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from common import machine, measure, write_result
from gan2shape.generators import LoadedGenerator, invert, latent_rng, load_generator

BATCHES = (1, 8)
SEED = 0


def step(loaded: LoadedGenerator, latents: torch.Tensor, *, features: bool) -> Callable[[], object]:
    """Synthesis, with the features of the pictures if asked, forward and backward to the latents."""

    def run() -> object:
        w = latents.clone().requires_grad_()
        images = loaded.generator.synthesize(w)
        loss = images.abs().mean()
        if features and loaded.features is not None:
            loss = loss + sum(feature.abs().mean() for feature in loaded.features(images))
        return torch.autograd.grad(loss, w)

    return run


def time_generator(device: str) -> dict[str, object]:
    """Forward and backward in float32 and bfloat16, and what bfloat16 costs in accuracy."""
    result: dict[str, object] = {}
    images = {}
    for dtype in (torch.float32, torch.bfloat16):
        loaded = load_generator(device=device, compute_dtype=dtype)
        name = str(dtype).removeprefix("torch.")
        for batch in BATCHES:
            w = loaded.sample_latents(batch, rng=latent_rng(SEED))
            images[name] = loaded.generator.synthesize(w)
            result[f"synthesis {name} batch {batch}"] = measure(step(loaded, w, features=False), device=device)
            result[f"with features {name} batch {batch}"] = measure(step(loaded, w, features=True), device=device)
    error = (images["bfloat16"] - images["float32"]).abs()
    result["bfloat16 error of signed pictures"] = {"mean": float(error.mean()), "max": float(error.max())}
    return result


def invert_pictures(path: Path, count: int, device: str) -> dict[str, object]:
    """Invert the first pictures of a truth file, one at a time, with the default settings."""
    pictures = torch.from_numpy(np.load(path)["image"][:count]).permute(0, 3, 1, 2).float() / 127.5 - 1
    loaded = load_generator(device=device)
    rows = []
    for index, picture in enumerate(pictures.to(device)):
        wall, cpu = time.perf_counter(), time.process_time()
        found = invert(loaded, picture[None], rng=latent_rng(SEED))
        row = {"picture": index, "psnr_db": round(found.psnr, 2), "loss": round(found.loss, 4)}
        row |= {"seconds": round(time.perf_counter() - wall, 1), "cpu_seconds": round(time.process_time() - cpu, 1)}
        rows.append(row)
    keys = ("psnr_db", "seconds", "cpu_seconds")
    return {
        "seed": SEED,
        "pictures": rows,
        "mean": {key: round(sum(r[key] for r in rows) / len(rows), 2) for key in keys},
    }


def main() -> None:
    """Read the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="a truth file with an array `image` (N, 64, 64, 3) of bytes")
    parser.add_argument("--count", type=int, default=10, help="how many of its pictures to invert")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.pictures is None:
        result = {"machine": machine(options.device), "seed": SEED, **time_generator(options.device)}
        write_result("generator", result)
    else:
        found = invert_pictures(options.pictures, options.count, options.device)
        write_result("invert", {"machine": machine(options.device), **found})


if __name__ == "__main__":
    main()
