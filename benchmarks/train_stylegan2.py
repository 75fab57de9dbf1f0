"""Time adversarial training of the bundled architecture at 64 px: iterations by arithmetic and batch, and its passes.

OMP_NUM_THREADS=1 python benchmarks/train_stylegan2.py            # one thread; writes results/train_stylegan2.json
OMP_NUM_THREADS=1 python benchmarks/train_stylegan2.py --brief    # default arithmetic and batch alone

An iteration is the mean of 16 in a row, so that it holds one R1 step. Those of the warm start are of the autoencoder
alone. Pictures are random numbers made beforehand.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from common import machine, measure, measure_rounds, write_result
from gan2shape.generators.load import BUNDLED_FILE
from gan2shape.train.stylegan2 import StyleGAN2Task, training_dtype
from gan2shape.train.stylegan2_config import Networks, StyleGAN2Settings, read_networks
from gan2shape.train.stylegan2_forward import score, synthesize

BATCHES, BRIEF_BATCHES = (16, 32, 64), (32,)
REPEATS, BRIEF_REPEATS = 3, 2
PASS_BATCH = 32


class RandomPictures:
    """The same random pictures every time."""

    description = "random numbers"

    def __init__(self, size: int, most: int, device: str) -> None:
        self.size = size
        self.images = torch.rand(most, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device) * 2 - 1

    def __call__(self, start: int, count: int) -> Mapping[str, Tensor]:
        return {"image": self.images[:count]}


def bundled() -> Networks:
    """The bundled networks, to be trained."""
    return read_networks(Path(str(resources.files("gan2shape") / "assets" / BUNDLED_FILE)))


def time_iterations(
    device: str, dtype: torch.dtype, batch: int, repeats: int, *, warm_start: bool = False
) -> dict[str, object]:
    """Sixteen iterations at a time, adversarial ones or those of the warm start."""
    pictures = RandomPictures(64, batch, device)
    settings = StyleGAN2Settings(batch=batch, warm_start=16 * batch if warm_start else 0)
    task = StyleGAN2Task(bundled(), pictures, settings, device=torch.device(device), dtype=dtype)

    def run() -> None:
        for index in range(16):
            task.step(index)

    result = measure(run, warm_up=1, repeats=repeats, device=device)
    result["pictures_per_s"] = round(16 * batch / result["median_ms"] * 1e3, 1)
    result["pictures_per_cpu_s"] = round(16 * batch / result["cpu_median_ms"] * 1e3, 1)
    return result


def time_passes(device: str) -> dict[str, object]:
    """Forward and backward to all weights: the networks' own passes (blur inside the kernels) and the training's."""
    networks = bundled()
    generator, discriminator = networks.generator.to(device), networks.discriminator.to(device)
    rng = torch.Generator().manual_seed(0)
    rows = torch.randn(PASS_BATCH, generator.config.num_ws, generator.config.w_dim, generator=rng).to(device)
    images = RandomPictures(64, PASS_BATCH, device).images
    of_generator = [
        p for name, p in generator.named_parameters() if not name.startswith("style") and "noise" not in name
    ]

    def backward(make: Callable[[], Tensor], weights: list[torch.nn.Parameter]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(make().square().mean(), weights)

    runs = {
        "generator float32, fused kernels": backward(lambda: generator.synthesize(rows), of_generator),
        "discriminator float32, fused kernels": backward(
            lambda: discriminator(images), list(discriminator.parameters())
        ),
    }
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        runs[f"generator {name}, blur apart"] = backward(
            lambda dtype=dtype: synthesize(generator, rows, dtype=dtype), of_generator
        )
        runs[f"discriminator {name}, blur apart"] = backward(
            lambda dtype=dtype: score(discriminator, images, dtype=dtype), list(discriminator.parameters())
        )
    return dict(measure_rounds(runs, rounds=3, warm_up=1, repeats=3, device=device))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--brief", action="store_true", help="batch 32 in the default arithmetic alone, two runs, no single passes"
    )
    options = parser.parse_args()
    device = options.device
    torch.set_num_threads(1)
    batches, repeats = (BRIEF_BATCHES, BRIEF_REPEATS) if options.brief else (BATCHES, REPEATS)
    dtypes = (training_dtype(torch.device(device)),) if options.brief else (torch.bfloat16, torch.float32)
    iterations, warm = {}, {}
    for dtype in dtypes:
        for batch in batches:
            name = f"{str(dtype).removeprefix('torch.')} batch {batch}"
            iterations[name] = time_iterations(device, dtype, batch, repeats)
            warm[name] = time_iterations(device, dtype, batch, repeats, warm_start=True)
    result = {"machine": machine(device), "16 iterations": iterations, "16 iterations of the warm start": warm}
    if not options.brief:
        result[f"passes, batch {PASS_BATCH}"] = time_passes(device)
    print(write_result("train_stylegan2", result))


if __name__ == "__main__":
    main()
