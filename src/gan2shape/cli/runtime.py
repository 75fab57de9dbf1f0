"""Flags and helpers that several verbs share: generator, device, seed, threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gan2shape.errors import UserError

if TYPE_CHECKING:
    import torch

    from gan2shape.generators import LoadedGenerator

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Runtime:
    """Where and with what a command computes."""

    generator: str = "bundled"
    """The GAN: "bundled", or a checkpoint file (.safetensors, .pt)."""
    device: Device = "auto"
    """Where to compute; "auto" takes the GPU if there is one."""
    threads: int = 0
    """CPU threads (0: as many as PyTorch chooses). Results are repeatable for the same number."""
    seed: int = 0
    """Seed of everything random."""

    def torch_device(self) -> torch.device:
        """The device, after setting the number of threads.

        Raises:
            UserError: CUDA was asked for and is not there, or the number of threads is negative.
        """
        import torch

        if self.threads < 0:
            raise UserError(f"--threads must be 0 or more; got {self.threads}")
        if self.threads:
            torch.set_num_threads(self.threads)
        available = torch.cuda.is_available()
        if self.device == "cuda" and not available:
            raise UserError("--device cuda: PyTorch finds no CUDA GPU here; use --device cpu, or a CUDA build of torch")
        return torch.device("cuda" if available and self.device != "cpu" else "cpu")

    def load(self, offset_layers: int | None = None) -> LoadedGenerator:
        """The generator, frozen, on the device."""
        from gan2shape.generators import load_generator

        return load_generator(self.generator, device=self.torch_device(), offset_layers=offset_layers)


def say(text: str) -> None:
    """Tell the user something on standard output."""
    print(text, flush=True)
