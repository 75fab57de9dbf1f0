"""Two processes that average their gradients must move as one process with both batches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from gan2shape.distributed import average, average_gradients, process_group, world

WORKER = """
import sys, torch
from gan2shape.distributed import any_process, apart, average, average_gradients, process_group, world
torch.set_num_threads(1)
with process_group(torch.device("cpu")):
    rank, count = world()
    net = torch.nn.Linear(3, 2)
    torch.nn.init.constant_(net.weight, 0.5), torch.nn.init.zeros_(net.bias)
    data = torch.arange(24.0).view(8, 3) / 10
    net(data[rank * 4 : rank * 4 + 4]).square().mean().backward()
    average_gradients(net.parameters())
    assert any_process(rank == 1) and not any_process(False)
    assert average(torch.tensor([1.0, 4.0]) * (rank + 1)).tolist() == [1.5, 6.0]
    own, whole = torch.nn.Linear(1, 1, bias=False), net.weight.grad.clone()
    with apart():
        assert world() == (0, 1) and any_process(True)
        for step in range(1 + rank):  # Nobody waits for the other.
            own.weight.grad = torch.full((1, 1), float(rank))
            average_gradients(own.parameters())
    assert own.weight.grad.item() == rank and world() == (rank, count)
    torch.save({"count": count, "gradient": whole}, f"{sys.argv[1]}/{rank}.pt")
"""


def test_two_processes_have_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    program = tmp_path / "worker.py"
    program.write_text(WORKER)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*launch, str(program), str(tmp_path)], check=True, timeout=120, capture_output=True)
    net = torch.nn.Linear(3, 2)
    torch.nn.init.constant_(net.weight, 0.5)
    torch.nn.init.zeros_(net.bias)
    net(torch.arange(24.0).view(8, 3) / 10).square().mean().backward()
    for rank in range(2):
        kept = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert kept["count"] == 2
        torch.testing.assert_close(kept["gradient"], net.weight.grad)


def test_one_process_is_left_alone() -> None:
    net = torch.nn.Linear(2, 1)
    net(torch.ones(1, 2)).sum().backward()
    before = net.weight.grad.clone()  # type: ignore[union-attr]
    with process_group(torch.device("cpu")) as device:
        assert world() == (0, 1)
        assert device.type == "cpu"
        average_gradients(net.parameters())
        assert average(before) is before
    assert torch.equal(net.weight.grad, before)  # type: ignore[arg-type]
