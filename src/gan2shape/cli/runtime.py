"""Flags and helpers that several verbs share: generator, device, seed, threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from gan2shape.errors import UserError

if TYPE_CHECKING:
    import torch

    from gan2shape.generators import LoadedGenerator
    from gan2shape.result import ReconstructionResult

Device = Literal["auto", "cpu", "cuda"]
SEED_LIMIT = 2**63
"""PyTorch's random generators take 64-bit seeds."""
_MOST_THREADS = 1024


@dataclass(frozen=True)
class Threads:
    """How much of the processor a command uses."""

    threads: Annotated[int, arg(metavar="COUNT")] = 0
    """CPU threads (0: as many as PyTorch chooses). Results are repeatable for the same number."""

    def check_threads(self) -> None:
        """Refuse an impossible number of threads.

        Raises:
            UserError: naming the flag.
        """
        if not 0 <= self.threads <= _MOST_THREADS:
            raise UserError(f"--threads must be from 0 to {_MOST_THREADS}; got {self.threads}")

    def limit(self) -> None:
        """Set the number of threads.

        Raises:
            UserError: the number is not possible.
        """
        import torch

        self.check_threads()
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
    """The GAN: "bundled", a checkpoint file (.safetensors, .pt, or NVIDIA's .pkl), or module:function, your own Python
    code that makes pictures of latents."""
    class_index: Annotated[int | None, arg(name="class", metavar="N", help_behavior_hint="(optional)")] = None
    """Which class a conditional GAN draws, from 0; gan2shape info FILE tells how many there are."""
    latent_dim: Annotated[int | None, arg(metavar="COUNT", help_behavior_hint="(optional)")] = None
    """Count of numbers in a latent of module:function that does not say so itself."""
    features: Annotated[str | None, arg(metavar="SOURCE", help_behavior_hint="(optional)")] = None
    """In place of the discriminator's features: a file of VGG-16 weights (torchvision's), or module:function, your own
    Python code that makes maps of pictures."""
    seed: int = 0
    """Seed of everything random; the same seed gives the same result on a CPU (on a GPU nearly the same)."""

    def check_runtime(self) -> None:
        """Refuse what needs no file of the user's to be seen, as a dry run does.

        Raises:
            UserError: a number of threads or seed that is not possible, or a class or size of latents that the bundled
                generator does not have.
        """
        self.check_threads()
        check_seed(self.seed, "--seed")
        if self.generator == "bundled" and (self.class_index is not None or self.latent_dim is not None):
            from gan2shape.generators.load import describe_generator

            describe_generator(self.generator, class_index=self.class_index, latent_dim=self.latent_dim)

    def load(self, offset_layers: int | None = None) -> LoadedGenerator:
        """The generator, frozen, on the device.

        Raises:
            UserError: a device, seed or checkpoint that cannot be used.
        """
        from gan2shape.generators import load_generator

        check_seed(self.seed, "--seed")
        see_own_code(self.generator, self.features)
        loaded = load_generator(
            self.generator,
            device=self.torch_device(),
            offset_layers=offset_layers,
            class_index=self.class_index,
            latent_dim=self.latent_dim,
        )
        if self.features is None:
            return loaded
        from gan2shape.cli.inputs import with_features

        return with_features(loaded, self.features)


def load_again(
    source: str, result: ReconstructionResult, *, device: torch.device, offset_layers: int
) -> LoadedGenerator:
    """The generator that made a result, by what the user names and what the result knows: class and size of latents.

    Raises:
        UserError: a source that cannot be used.
    """
    from gan2shape.generators import load_generator

    see_own_code(source)
    width = None if result.latent is None or result.generator.sha256 else int(result.latent.shape[-1])
    return load_generator(
        source,
        device=device,
        offset_layers=offset_layers,
        class_index=result.generator.class_index,
        latent_dim=width,
    )


def see_own_code(*sources: str | None) -> None:
    """Let modules of the current folder be imported, after all others, where module:function is named."""
    import os
    import sys

    from gan2shape.generators.functional import is_reference

    here = os.getcwd()
    if any(is_reference(source) for source in sources) and here not in sys.path and "" not in sys.path:
        sys.path.append(here)


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
