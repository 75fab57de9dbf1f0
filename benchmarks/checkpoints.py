"""Reading checkpoints and drawing one picture: seconds and memory of the largest of each step, on one thread.

    python benchmarks/checkpoints.py

Every case runs in a process of its own. The files hold random weights in the published layouts and widths: StyleGAN2's
config-f at 256 px (.pt with its discriminator), and StyleGAN3-T and R at 256 px (.pt with NVIDIA's names). Memory is
the highest resident set of the process; what Python and PyTorch take before anything is read stands beside it. The
processor's own time stands beside the clock's, because on a shared machine only the former says much.

Widths: Karras et al., CVPR 2020 (config-f: 32768 over the side, at most 512) and NeurIPS 2021 (T: 16384 over the
cutoff, at most 512; R: twice both).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from common import RESULTS, machine, write_result
from gan2shape.generators import (
    DiscriminatorConfig,
    StyleGAN2Config,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
    load_generator,
)
from gan2shape.generators.save import nvidia_names
from gan2shape.generators.stylegan3 import StyleGAN3Generator
from gan2shape.generators.stylegan3_config import StyleGAN3Config

SIDE = 256
CASES = ("stylegan2 config-f", "stylegan3-t", "stylegan3-r")
MOST_SECONDS, MOST_GIB = 2.0, 3.0
"""What a picture of config-f at 256 px may take."""


def config_f(side: int) -> dict[int, int]:
    """Channels by resolution."""
    return {2**level: min(32768 // 2**level, 512) for level in range(2, side.bit_length())}


def alias_free(side: int, *, rotation: bool) -> StyleGAN3Config:
    """Sizes of a published StyleGAN3."""
    factor = 2 if rotation else 1
    cutoffs = [2 * (side / 4) ** min(index / 12, 1) for index in range(14)]
    channels = tuple(round(min(16384 * factor / cutoff, 512 * factor)) for cutoff in cutoffs)
    return StyleGAN3Config(side, channels, kernel_size=1 if rotation else 3, radial=rotation)


def write_case(name: str, file: Path, side: int) -> None:
    """A checkpoint of random weights."""
    torch.manual_seed(0)
    if name == CASES[0]:
        generator = StyleGAN2Generator(StyleGAN2Config(side, config_f(side)))
        discriminator = StyleGAN2Discriminator(DiscriminatorConfig(side, config_f(side)))
        torch.save({"g_ema": generator.state_dict(), "d": discriminator.state_dict()}, file)
    else:
        own = StyleGAN3Generator(alias_free(side, rotation=name.endswith("r")))
        torch.save({"G_ema": nvidia_names(own)}, file)


def run_case(name: str, side: int, repeats: int, dtype: str, answers: Any) -> None:
    """Write, read in this process, draw; the writing's memory is kept out of the measure by a process of its own."""
    torch.set_num_threads(1)
    before = peak_gib()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.pt"
        writer = multiprocessing.get_context("spawn").Process(target=write_case, args=(name, file, side))
        writer.start()
        writer.join()
        size = file.stat().st_size
        wall, cpu = time.perf_counter(), time.process_time()
        loaded = load_generator(file, compute_dtype=getattr(torch, dtype))
        reading = {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
            "peak_gib": peak_gib(),
        }
    w = loaded.sample_latents(1, rng=torch.Generator().manual_seed(0), truncation=0.7)
    drawing: list[tuple[float, float]] = []
    for _ in range(repeats + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        with torch.no_grad():
            picture = loaded.generator.synthesize(w)
        drawing.append((time.perf_counter() - wall, time.process_time() - cpu))
    assert bool(torch.isfinite(picture).all())
    seconds, cpu_seconds = (sorted(column[1:])[repeats // 2] for column in zip(*drawing, strict=True))
    answers.put(
        {
            "file_mb": round(size / 1e6, 1),
            "parameters": loaded.about["parameters"],
            "before_gib": round(before, 3),
            "reading": {key: round(value, 3) for key, value in reading.items()},
            "picture": {
                "seconds": round(seconds, 3),
                "cpu_seconds": round(cpu_seconds, 3),
                "first_cpu_seconds": round(drawing[0][1], 3),
                "peak_gib": round(peak_gib(), 3),
                "repeats": repeats,
            },
        }
    )


def peak_gib() -> float:
    """Highest resident set of this process so far, in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20


def main() -> None:
    """Run every case and write results/checkpoints.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of StyleGAN2")
    parser.add_argument("--case", choices=CASES, help="only this one; the others' rows stay as they were")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    context = multiprocessing.get_context("spawn")
    for name in [chosen.case] if chosen.case else CASES:
        answers = context.Queue()
        arguments = (name, chosen.side, chosen.repeats, chosen.dtype, answers)
        process = context.Process(target=run_case, args=arguments)
        process.start()
        row = answers.get(timeout=3600)
        process.join()
        settings = {"side": chosen.side, "dtype": chosen.dtype if name == CASES[0] else "float32", "seed": 0}
        print(name, json.dumps(row, indent=2), flush=True)
        if name == CASES[0] and chosen.side == SIDE:
            seconds, peak = row["picture"]["cpu_seconds"], row["picture"]["peak_gib"]
            row["within_bounds"] = seconds <= MOST_SECONDS and peak <= MOST_GIB
            print(f"within {MOST_SECONDS:g} s of processor time and {MOST_GIB:g} GiB: {row['within_bounds']}")
        earlier = RESULTS / "checkpoints.json"
        rows = json.loads(earlier.read_text(encoding="utf-8")) if earlier.exists() else {}
        print(write_result("checkpoints", {**rows, name: {"machine": machine(), "settings": settings, **row}}))


if __name__ == "__main__":
    main()
