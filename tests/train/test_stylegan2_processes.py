"""The adversarial training in two processes: they stay alike, learn from different pictures, and go on exactly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
WORKER = """
import sys
from dataclasses import replace
from pathlib import Path

import torch

from gan2shape.distributed import process_group, world
from gan2shape.train.run import Schedule, run_training
from gan2shape.train.stylegan2 import StyleGAN2Task
from gan2shape.train.stylegan2_config import new_networks
from tests.train.test_stylegan2 import SETTINGS, Discs, _everything

torch.set_num_threads(1)
folder = Path(sys.argv[1])
settings = replace(SETTINGS, noise=True, shift=1, warm_start=16, reconstruction=1.0, path_every=2)


class Noted(Discs):
    seen = set()

    def __call__(self, start, count):
        self.seen.update(range(start, start + count))
        return super().__call__(start, count)


def task():
    return StyleGAN2Task(new_networks(16, width=0.1), Noted(), settings, dtype=torch.float32)


with process_group(torch.device("cpu")):
    rank, processes = world()
    whole, first, second = task(), task(), task()
    assert whole.config["processes"] == processes == 2
    run_training(whole, folder / "whole", Schedule(6), resume=False)
    run_training(first, folder / "parts", Schedule(3), resume=False)
    torch.distributed.barrier()  # The first process writes the checkpoint.
    assert run_training(second, folder / "parts", Schedule(6), resume=True) == 6
    torch.save({"whole": _everything(whole), "parts": _everything(second)}, folder / f"{rank}.pt")
    torch.save(torch.tensor(sorted(Noted.seen)), folder / f"seen_{rank}.pt")
"""


def test_two_processes_train_one_generator_and_go_on_exactly(tmp_path: Path) -> None:
    program = tmp_path / "worker.py"
    program.write_text(WORKER)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    subprocess.run(
        [*launch, str(program), str(tmp_path)], check=True, timeout=300, capture_output=True, env=environment
    )
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert len(ranks[0]["whole"]) > 100
    for name, wanted in ranks[0]["whole"].items():
        for rank in ranks:
            assert torch.equal(rank["whole"][name], wanted), name
            assert torch.equal(rank["parts"][name], wanted), name
    assert ranks[0]["whole"]["path_mean"] > 0
    seen = [set(torch.load(tmp_path / f"seen_{rank}.pt", weights_only=True).tolist()) for rank in range(2)]
    assert seen[0] | seen[1] == set(range(48))  # Six iterations of eight pictures, four in each process.
    assert not seen[0] & seen[1]
