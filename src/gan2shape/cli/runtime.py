"""Flags and helpers that several verbs share: generator, device, seed, threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from gan2shape.errors import UserError

if TYPE_CHECKING:
    import torch

    from gan2shape.generators import LoadedGenerator

Device = Literal["auto", "cpu", "cuda"]
SEED_LIMIT = 2**63
"""PyTorch's random generators take 64-bit seeds."""
_MOST_THREADS = 1024


@dataclass(frozen=True)
class Threads:
    """How much of the processor a command uses."""

    threads: Annotated[int, arg(metavar="COUNT")] = 0
    """CPU threads (0: as many as PyTorch chooses). Results are repeatable for the same number."""

    def limit(self) -> None:
        """Set the number of threads.

        Raises:
            UserError: the number is not possible.
        """
        import torch

        if not 0 <= self.threads <= _MOST_THREADS:
            raise UserError(f"--threads must be from 0 to {_MOST_THREADS}; got {self.threads}")
        if self.threads:
            torch.set_num_threads(self.threads)


@dataclass(frozen=True)
class Compute(Threads):
    """Where a command computes."""

    device: Device = "auto"
    """Where to compute; "auto" takes the GPU if there is one."""

    def torch_device(self) -> torch.device:
        """The device, after setting the number of threads.

        Raises:
            UserError: CUDA was asked for and is not there, or the number of threads is not possible.
        """
        import torch

        self.limit()
        available = torch.cuda.is_available()
        if self.device == "cuda" and not available:
            raise UserError("--device cuda: PyTorch finds no CUDA GPU here; use --device cpu, or a CUDA build of torch")
        return torch.device("cuda" if available and self.device != "cpu" else "cpu")


@dataclass(frozen=True)
class Runtime(Compute):
    """Where and with what a command computes."""

    generator: Annotated[str, arg(metavar="SOURCE")] = "bundled"
    """The GAN: "bundled", or a checkpoint file (.safetensors, .pt, or NVIDIA's .pkl)."""
    seed: int = 0
    """Seed of everything random; the same seed gives the same result on a CPU (on a GPU nearly the same)."""

    def load(self, offset_layers: int | None = None) -> LoadedGenerator:
        """The generator, frozen, on the device.

        Raises:
            UserError: a device, seed or checkpoint that cannot be used.
        """
        from gan2shape.generators import load_generator

        check_seed(self.seed, "--seed")
        return load_generator(self.generator, device=self.torch_device(), offset_layers=offset_layers)


def check_seed(seed: int, flag: str) -> None:
    """Refuse a seed that PyTorch cannot take.

    Raises:
        UserError: naming ``flag``.
    """
    if not -SEED_LIMIT <= seed < SEED_LIMIT:
        raise UserError(f"{flag} must be a whole number of at most 64 bits; got {seed}")


def say(text: str) -> None:
    """Tell the user something on standard output."""
    print(text, flush=True)
