"""Several processes that train one network (``torchrun``): each takes its share of a batch, gradients are averaged."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

import torch
from torch import distributed, nn

_apart = False


def world() -> tuple[int, int]:
    """This process's rank and the number of processes: (0, 1) without a process group, and within `apart`."""
    if not _apart and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Within, every process works at something of its own: gradients are not averaged, and nobody is asked."""
    global _apart
    before, _apart = _apart, True
    try:
        yield
    finally:
        _apart = before


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that ``torchrun`` started, if it did; gives the device of this process."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def any_process(said: bool) -> bool:
    """Whether any process said yes, so that all of them decide alike."""
    if world()[1] == 1:
        return said
    device = torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
    votes = torch.tensor([float(said)], device=device)
    distributed.all_reduce(votes)
    return bool(votes.item() > 0)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradients by their means over all processes; nothing happens where there is one process."""
    count = world()[1]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if count == 1 or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient) / count)


def average(value: torch.Tensor) -> torch.Tensor:
    """The mean of a detached tensor over all processes; the tensor itself where there is one process."""
    count = world()[1]
    if count == 1:
        return value
    total = value.clone()
    distributed.all_reduce(total)
    return total / count
