"""What every benchmark needs: facts about the machine, careful timing, results written as JSON.

Method: fixed seed, one thread, warm-up runs that are thrown away, then the median of many runs with their spread.
Wall-clock time is what counts; the process's own CPU time stands beside it, because on a shared machine the
difference tells how quiet the run was. On a GPU, the device is synchronised inside the timed region.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def measure(run: Callable[[], object], *, warm_up: int = 5, repeats: int = 20, device: str = "cpu") -> dict[str, Any]:
    """Time `run` in one block: median, quartiles, fastest and slowest of `repeats` runs, in milliseconds."""
    return _summary([_block(run, warm_up, repeats, device)], warm_up)


def measure_rounds(
    runs: dict[str, Callable[[], object]],
    *,
    rounds: int = 5,
    warm_up: int = 5,
    repeats: int = 20,
    device: str = "cpu",
) -> dict[str, dict[str, Any]]:
    """Time several things in turn, `rounds` times over, and summarise all runs of each.

    On a shared machine a whole block of runs may fall into a bad minute. No block is left out: the median is that of
    all runs, and every block's own median stands in `round_medians_ms`.
    """
    blocks: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            blocks[name].append(_block(run, warm_up, repeats, device))
    return {name: _summary(some, warm_up) for name, some in blocks.items()}


def _block(run: Callable[[], object], warm_up: int, repeats: int, device: str) -> list[tuple[float, float]]:
    """Wall-clock and CPU time in milliseconds of every run after the warm-up."""

    def finish() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    for _ in range(warm_up):
        run()
    finish()
    times = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        finish()
        times.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
    return times


def _summary(blocks: list[list[tuple[float, float]]], warm_up: int) -> dict[str, Any]:
    wall = [wall for block in blocks for wall, _ in block]
    low, median, high = statistics.quantiles(wall, n=4)
    return {
        "median_ms": round(median, 2),
        "quartiles_ms": [round(low, 2), round(high, 2)],
        "fastest_ms": round(min(wall), 2),
        "slowest_ms": round(max(wall), 2),
        "cpu_median_ms": round(statistics.median(cpu for block in blocks for _, cpu in block), 2),
        "round_medians_ms": [round(statistics.median(wall for wall, _ in block), 2) for block in blocks],
        "repeats_per_round": len(blocks[0]),
        "warm_up": warm_up,
    }


def steal_seconds() -> float | None:
    """Time since boot in which the host gave this machine's processors to others (Linux; None elsewhere)."""
    try:
        first = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()
        return int(first[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None


def machine(device: str = "cpu", *, sources: str = "src") -> dict[str, Any]:
    """Facts that a reader needs to judge a number: processor, cores, load, versions, commit, date.

    The commit is marked "+changes" if tracked files under `sources` (a path in the repository) differ from it.
    """
    facts = {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads_used": torch.get_num_threads(),
        "load_average_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device,
        "commit": _commit(sources),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }
    if device.startswith("cuda"):
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def write_result(name: str, result: dict[str, Any]) -> Path:
    """Write `result` to results/NAME.json and return the path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _commit(sources: str) -> str:
    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", sources)
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
