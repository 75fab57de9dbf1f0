"""Running the steps one by one, keeping what an interrupted reconstruction needs to go on after the last finished step.

Every step starts a fresh optimiser and draws from its own random generator, seeded by the reconstruction's seed and the
step's name. So the networks' weights and the values handed from step to step are all there is to keep, and a resumed
run ends exactly as an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from gan2shape.distributed import world
from gan2shape.errors import InputError
from gan2shape.io.checkpoints import read_metadata, read_tensors, write_tensors
from gan2shape.reconstruct.optimize import Record
from gan2shape.reconstruct.step2_projection import ProjectedSamples
from gan2shape.reconstruct.watch import IterationDone, OnEvent, StepFinished, StepStarted, Stopped
from gan2shape.render import Lighting, Pose, Scene

Value = Scene | ProjectedSamples | None
T = TypeVar("T", bound=Value)


@dataclass(frozen=True, eq=False)
class Progress:
    """What is kept after each finished step.

    Attributes:
        finished: names of the steps that are over, in order.
        networks: all weights, as ``<module>.<parameter>``.
        values: what the steps of the stage under way returned, by step name.
        history: records of all iterations so far.
    """

    finished: tuple[str, ...]
    networks: dict[str, Tensor]
    values: Mapping[str, Value]
    history: tuple[dict[str, Any], ...]


class StepRunner:
    """Runs named steps, or takes their values from an earlier run's `Progress`.

    Args:
        modules: the networks that steps move, by name.
        seed: the reconstruction's seed.
        device: where random numbers are drawn.
        on_event: told about every step and iteration.
        keep: called with the progress after each finished step.
        resume: an earlier run's progress; its weights are loaded at once.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        *,
        seed: int,
        device: torch.device,
        on_event: OnEvent,
        keep: Callable[[Progress], None],
        resume: Progress | None,
    ) -> None:
        self.modules, self.seed, self.device = modules, seed, device
        self.on_event, self.keep = on_event, keep
        self.finished: list[str] = list(resume.finished) if resume else []
        self.values: dict[str, Value] = dict(resume.values) if resume else {}
        self.history: list[dict[str, Any]] = list(resume.history) if resume else []
        self.warnings: list[str] = []
        self.current = "start"
        if resume:
            load_weights(modules, resume.networks)

    def rng(self, name: str) -> torch.Generator:
        """The random generator of the step ``name``."""
        return step_rng(self.seed, name, self.device)

    def __call__(
        self, name: str, iterations: int, function: Callable[..., T], *args: Any, forget: bool = False, **kwargs: Any
    ) -> T:
        """The value of ``function(*args, steps=iterations, on_iteration=…, **kwargs)``, or what an earlier run kept.

        ``forget`` says that later steps need no value that was kept so far, this one included.
        """
        if name in self.finished:
            self.on_event(StepFinished(name, resumed=True))
            return cast(T, self.values.get(name))
        self.current = name
        self.on_event(StepStarted(name, iterations))

        def on_iteration(iteration: int, record: Record) -> None:
            if record:
                self.history.append({"step": name, "iteration": iteration, **record})
            self.on_event(IterationDone(name, iteration, record))

        value = function(*args, steps=iterations, on_iteration=on_iteration, **kwargs)
        if forget:
            self.values.clear()
        self.finished.append(name)
        if not forget:
            self.values[name] = value
        self.on_event(StepFinished(name))
        self.keep(Progress(tuple(self.finished), gather_weights(self.modules), dict(self.values), tuple(self.history)))
        return value

    def stop(self, reason: str) -> None:
        """Note that the reconstruction ends early."""
        self.warnings.append(f"stopped early in {self.current}: {reason}")
        self.on_event(Stopped(self.current, reason))


def step_rng(seed: int, name: str, device: torch.device, *, shared: bool = False) -> torch.Generator:
    """The random generator of one step: the same for the same seed, name and device.

    Processes that train together draw differently, unless the draw is ``shared``.
    """
    rank = 0 if shared else world()[0]
    return torch.Generator(device).manual_seed(zlib.crc32(f"{seed}/{name}{f'/{rank}' if rank else ''}".encode()))


def gather_weights(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """All weights of ``modules``, copied to the CPU, as ``<module>.<parameter>``."""
    return {
        f"{prefix}.{name}": tensor.detach().cpu().clone().contiguous()
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }


def load_weights(modules: Mapping[str, nn.Module], weights: Mapping[str, Tensor]) -> None:
    """Put weights of `gather_weights` back.

    Raises:
        InputError: names or shapes that do not belong to these modules.
    """
    for prefix, module in modules.items():
        own = {name.removeprefix(f"{prefix}."): w for name, w in weights.items() if name.startswith(f"{prefix}.")}
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise InputError(f"weights of the {prefix} network do not fit this configuration: {reason}") from None


def identity_hash(value: Tensor | str) -> str:
    """SHA-256 of a tensor's bytes or of a text, to tell one job from another."""
    data = value.encode() if isinstance(value, str) else value.detach().cpu().contiguous().numpy().tobytes()
    return hashlib.sha256(data).hexdigest()


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of all tensors, by name."""
    return identity_hash("".join(name + identity_hash(weights[name]) for name in sorted(weights)))


def save_progress(path: Path, progress: Progress, *, identity: Mapping[str, Any]) -> None:
    """Write ``progress`` to one safetensors file, atomically.

    ``identity`` (seed, configuration, hashes of picture and generator) is stored beside it; `load_progress` compares.
    """
    tensors = {f"networks/{name}": tensor for name, tensor in progress.networks.items()}
    kinds = {}
    for index, (name, value) in enumerate(progress.values.items()):
        kinds[name] = [index, type(value).__name__]
        tensors |= {f"values/{index}/{field}": t.cpu().contiguous() for field, t in _fields(value)}
    header = {"identity": identity, "finished": progress.finished, "values": kinds, "history": progress.history}
    write_tensors(path, tensors, {"progress": json.dumps(header)})


def load_progress(path: Path, identity: Mapping[str, Any], device: torch.device) -> Progress:
    """Read what `save_progress` wrote.

    Raises:
        InputError: the file belongs to another picture, generator, configuration or seed; the difference is named.
    """
    try:
        header = json.loads(read_metadata(path)["progress"])
        kept = header["identity"]
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: expected the saved progress of a reconstruction; got a file without it") from error
    for key, value in json.loads(json.dumps(identity)).items():
        if kept.get(key) != value:
            raise InputError(
                f"{path}: kept by a run with another {key}; repeat that run's command with --resume, or start anew "
                "without --resume"
            )
    tensors = {name: tensor.to(device) for name, tensor in read_tensors(path).items()}
    networks = {n.removeprefix("networks/"): t for n, t in tensors.items() if n.startswith("networks/")}
    values: dict[str, Value] = {}
    for name, (index, kind) in header["values"].items():
        prefix = f"values/{index}/"
        values[name] = _value(kind, {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
    return Progress(tuple(header["finished"]), networks, values, tuple(header["history"]))


def _fields(value: Value) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a value that passes between steps."""
    if value is None:
        return
    maps = ("depth", "albedo") if isinstance(value, Scene) else ("images", "masks")
    for name in maps:
        yield name, getattr(value, name)
    yield from (("rotation", value.pose.rotation), ("translation", value.pose.translation))
    for name in ("ambient", "diffuse", "direction"):
        yield name, getattr(value.lighting, name)
    if isinstance(value, ProjectedSamples):
        yield "owner", value.owner


def _value(kind: str, t: Mapping[str, Tensor]) -> Value:
    """The value whose tensors `_fields` listed."""
    if kind == "NoneType":
        return None
    pose = Pose(t["rotation"], t["translation"])
    lighting = Lighting(t["ambient"], t["diffuse"], t["direction"])
    if kind == "Scene":
        return Scene(t["depth"], t["albedo"], pose, lighting)
    return ProjectedSamples(t["images"], t["masks"], pose, lighting, t["owner"])
