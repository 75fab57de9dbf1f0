"""Half precision against single: how much of the range pictures and features lose, and that config-f widths fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan2shape.generators import load_generator, save_generator
from gan2shape.generators.checkpoint import open_checkpoint
from tests.generators import common_layout

DRAWN = """
import json, resource, sys, time, torch
from gan2shape.generators import load_generator
torch.set_num_threads(1)
loaded = load_generator(sys.argv[1], compute_dtype=torch.float32)
w = loaded.sample_latents(1, rng=torch.Generator().manual_seed(0))
with torch.no_grad():
    loaded.generator.synthesize(w)
    start = time.process_time()
    picture = loaded.generator.synthesize(w)
seconds = time.process_time() - start
peak = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))) / 2**20
facts = {name: loaded.about[name] for name in ("kind", "resolution", "channels")}
print(json.dumps({**facts, "seconds": seconds, "peak_gib": peak, "shape": list(picture.shape)}))
"""


def widths(config: str, side: int) -> dict[int, int]:
    """Published widths: 32768 over the resolution for config-f, half that for config-e, at most 512."""
    base = 32768 if config == "f" else 16384
    return {2**level: min(base // 2**level, 512) for level in range(2, side.bit_length())}


def relative(found: Tensor, expected: Tensor) -> tuple[float, float]:
    """Root mean square and largest error, in root mean squares of what was expected."""
    error = (found.double() - expected.double()) / expected.double().square().mean().sqrt()
    return float(error.square().mean().sqrt()), float(error.abs().max())


@pytest.mark.parametrize(("dtype", "usual", "most"), [(torch.float16, 0.003, 0.06), (torch.bfloat16, 0.03, 0.2)])
def test_computing_in_half_precision(dtype: torch.dtype, usual: float, most: float, rng: torch.Generator) -> None:
    exact, quick = (load_generator(compute_dtype=one) for one in (torch.float32, dtype))
    w = exact.sample_latents(2, rng=rng)
    pictures = exact.generator.synthesize(w)
    assert quick.generator.synthesize(w).dtype == torch.float32
    mean, largest = relative(quick.generator.synthesize(w), pictures)
    assert 1e-6 < mean < usual
    assert largest < most
    assert exact.features is not None
    assert quick.features is not None
    for ours, theirs in zip(quick.features(pictures), exact.features(pictures), strict=True):
        assert ours.dtype == torch.float32
        assert relative(ours, theirs)[0] < usual


def test_storing_in_half_precision(rng: torch.Generator, tmp_path: Path) -> None:
    """A network of random weights, whose pictures are not smooth and so lose more than those of a trained one."""
    state = common_layout.generator_state({4: 32, 8: 32, 16: 16, 32: 8}, z_dim=16, w_dim=16, layers=8)
    torch.save({"g_ema": state}, tmp_path / "a.pt")
    networks = open_checkpoint(tmp_path / "a.pt").networks()
    save_generator(tmp_path / "a.safetensors", networks.generator, w_mean=networks.w_mean)
    exact, halved = (load_generator(tmp_path / name, compute_dtype=torch.float32) for name in ("a.pt", "a.safetensors"))
    w = torch.randn(4, 16, generator=rng)
    mean, largest = relative(halved.generator.synthesize(w), exact.generator.synthesize(w))
    assert 1e-6 < mean < 0.002
    assert largest < 0.01


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
@pytest.mark.parametrize("config", ["e", "f"])
def test_published_widths_are_recognised_and_a_picture_fits(config: str, tmp_path: Path) -> None:
    """The bound on time is loose, because tests run on busy machines; benchmarks/checkpoints.py measures it."""
    channels = widths(config, 256)
    torch.save({"g_ema": common_layout.generator_state(channels, z_dim=512, w_dim=512, layers=8)}, tmp_path / "a.pt")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", DRAWN, str(tmp_path / "a.pt")],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        timeout=600,
    )
    facts = json.loads(done.stdout)
    assert {int(side): count for side, count in facts["channels"].items()} == channels
    assert (facts["kind"], facts["resolution"], facts["shape"]) == ("StyleGAN2", 256, [1, 3, 256, 256])
    assert facts["peak_gib"] < 3
    assert facts["seconds"] < 6
