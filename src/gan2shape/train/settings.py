"""What the trainings with one Adam share: settings, the share of each process, the falling rate, the update, what is
kept exactly, and what a snapshot of a baseline writes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gan2shape.distributed import average_gradients, world
from gan2shape.networks.trained import NetworkSizes, save_networks
from gan2shape.train.gallery import write_gallery
from gan2shape.train.pictures import Pictures
from gan2shape.train.run import iteration_rng

SHOWN = 6
"""Pictures on the sheet of a snapshot."""
WEIGHTS_FILE = "weights.safetensors"

Predict = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Signed pictures (B, 3, S, S) to the depth of the view (B, 1, S, S) in scene units and what was hit (B, 1, S, S)."""
Validate = Callable[[Predict], dict[str, float]]
"""Scores of a prediction on pictures with truth; training does not know how they are taken."""


class Baseline(Protocol):
    """What a snapshot needs to know of a baseline's training."""

    validate: Validate | None

    def predict(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """A `Predict`."""
        ...

    def save(self, network: nn.Module, folder: Path, index: int, scores: Mapping[str, float]) -> None:
        """As `AdamTask.save`."""
        ...


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training with one Adam; the defaults are those of the baseline Unsup3D."""

    width_multiplier: float = 1.0
    """Factor on all widths; 1 is the paper's for baselines, and 0.5 fits a CPU."""
    batch_size: int = 64
    """Pictures in an iteration, of all processes together."""
    learning_rate: float = 1e-4
    """Of Adam, at the first iteration."""
    final_rate: float = 1.0
    """Learning rate of the last iteration as a fraction of the first; it falls exponentially. 1 keeps it."""
    falling_steps: int = 0
    """Iterations over which the learning rate falls."""
    weight_decay: float = 5e-4
    """Of Adam: coupled L2."""
    bfloat16: bool = False
    """Whether the large networks compute in bfloat16: baselines' that make maps, the whole probe and encoder."""
    seed: int = 0
    """Of the initial weights, and of the random changes to pictures."""

    def rate(self, index: int) -> float:
        """The learning rate of iteration ``index``."""
        share = min(index / self.falling_steps, 1.0) if self.falling_steps else 0.0
        return self.learning_rate * self.final_rate**share


def batch_of(pictures: Pictures, index: int, batch_size: int) -> Mapping[str, Tensor]:
    """This process's share of the pictures of iteration ``index``."""
    rank, count = world()
    share = batch_size // count
    return pictures(index * batch_size + rank * share, share)


def low_precision(device: torch.device, wanted: bool) -> contextlib.AbstractContextManager[object]:
    """A context in which convolutions compute in bfloat16, or nothing."""
    return torch.autocast(device.type, torch.bfloat16) if wanted else contextlib.nullcontext()


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, rate: float) -> None:
    """One update down the gradient of ``loss``, averaged over all processes; a group of parameters may have a
    ``share`` of the rate."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for group in optimizer.param_groups:
        average_gradients(group["params"])
        group["lr"] = rate * group.get("share", 1.0)
    optimizer.step()


def seeded(build: Callable[[], nn.ModuleDict], seed: int, device: torch.device) -> nn.ModuleDict:
    """Networks with the initial weights of ``seed``; the caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().to(device)


class AdamTask:
    """The part of a `Task` that trainings with one Adam have in common; a subclass adds ``step`` and ``snapshot``.

    Args:
        pictures: what is learned from.
        settings: of the training.
        sizes: of the networks.
        device: where it computes.
        own: settings of this kind of training, plain JSON values; they go into ``config``.
    """

    kind: str

    def __init__(
        self, pictures: Pictures, settings: TrainSettings, sizes: NetworkSizes, *, device: torch.device, **own: Any
    ) -> None:
        self.pictures, self.settings, self.sizes, self.device = pictures, settings, sizes, device
        self.networks = seeded(self.new_networks, settings.seed, device)
        self.optimizer = torch.optim.Adam(
            self.parameter_groups(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.config: dict[str, Any] = {
            **asdict(settings),
            "sizes": asdict(sizes),
            "pictures": pictures.description,
            **own,
        }

    def new_networks(self) -> nn.ModuleDict:
        """The networks before the first iteration, with torch's present random state; called once."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All parameters, as Adam takes them; ``share`` is a group's part of the learning rate."""
        return [{"params": list(self.networks.parameters())}]

    def batch(self, index: int) -> Mapping[str, Tensor]:
        """This process's pictures of iteration ``index``."""
        return batch_of(self.pictures, index, self.settings.batch_size)

    def rng(self, index: int, name: str) -> torch.Generator:
        """The random generator of iteration ``index`` for ``name``; every process has another one."""
        rank, count = world()
        own = name if count == 1 else f"{name}, process {rank}"
        return iteration_rng(self.settings.seed, index, self.device, own)

    def update(self, terms: Mapping[str, Tensor], index: int) -> dict[str, float]:
        """One update down the gradient of ``terms["total"]``; returns all terms as numbers."""
        descend(self.optimizer, terms["total"], self.settings.rate(index))
        return {name: float(value.detach()) for name, value in terms.items()}

    def save(self, network: nn.Module, folder: Path, index: int, scores: Mapping[str, float]) -> None:
        """Write the weights of ``network`` as they are after ``index`` iterations, with all settings and its scores.

        Raises:
            OutputError: the folder cannot be written.
        """
        about = {"steps": index, **self.config, "validation": dict(scores)}
        save_networks(folder / WEIGHTS_FILE, self.kind, network, self.sizes, about, beside=self.beside())

    def beside(self) -> Mapping[str, Tensor]:
        """What is written beside the networks; nothing, unless a subclass has something."""
        return {}

    def modules(self) -> dict[str, nn.Module]:
        """All networks."""
        return {"networks": self.networks}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The one of all networks."""
        return {"adam": self.optimizer}

    def extra_state(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def load_extra_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Nothing."""


def write_snapshot(
    task: Baseline, networks: nn.Module, columns: list[Tensor], folder: Path, index: int
) -> dict[str, float]:
    """Write a sheet of pictures and the weights as they are after ``index`` iterations; returns the scores.

    Args:
        task: the training.
        networks: what is kept of it.
        columns: kinds of pictures (B, 3, S, S), signed.
        folder: where to.
        index: iterations done.

    Raises:
        OutputError: the folder cannot be written.
    """
    write_gallery(folder / f"{index:07d}.png", columns)
    scores = {} if task.validate is None else task.validate(task.predict)
    task.save(networks, folder, index, scores)
    return scores
