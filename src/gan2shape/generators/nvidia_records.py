"""Networks of NVIDIA's PyTorch pickles as flat names: tensors, and the few settings that their layers keep beside them.

A module of such a pickle arrives as a record with a ``state``: ``_parameters`` and ``_buffers`` (name to tensor or
None), ``_modules`` (name to record), and plain attributes. A plain state dict with the same names works as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gan2shape.errors import CheckpointError

_DEEPEST = 16
_MOST_MODULES = 10_000
_LARGEST_SETTING = 1e6

Setting = str | float | None


@dataclass(frozen=True, eq=False)
class NvidiaNetwork:
    """One network under NVIDIA's names."""

    tensors: Mapping[str, Tensor]
    """Parameters and buffers by dotted name, for example ``synthesis.b4.const``."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """Texts, numbers and None among the modules' attributes by dotted name, for example ``synthesis.b4.architecture``;
    empty for a plain state dict."""

    def setting(self, name: str, default: float) -> float:
        """A number among the settings, or the default.

        Raises:
            CheckpointError: the number is infinite, NaN, or larger than any such setting.
        """
        value = self.settings.get(name, default)
        if not isinstance(value, int | float):
            return default
        if not abs(value) < _LARGEST_SETTING:
            raise CheckpointError(f"the network's setting {name} cannot be {str(value)[:20]}")
        return float(value)


def network_of(node: object) -> NvidiaNetwork:
    """A record with its submodules, or a mapping of names to tensors, as one flat network.

    Raises:
        CheckpointError: `node` is neither, or its modules are nested without end.
    """
    if isinstance(node, NvidiaNetwork):
        return node
    if isinstance(node, Mapping):
        tensors = {str(name): value for name, value in node.items() if isinstance(value, Tensor)}
        return NvidiaNetwork({name: value.detach() for name, value in tensors.items()})
    tensors, settings = {}, {}
    for count, (prefix, state) in enumerate(_modules(node, "", 0)):
        if count >= _MOST_MODULES:
            raise CheckpointError(f"the network has more than {_MOST_MODULES} modules")
        for group in ("_parameters", "_buffers"):
            tensors |= {prefix + name: value.detach() for name, value in _tensors(state.get(group))}
        for name, value in state.items():
            if isinstance(name, str) and not name.startswith("_") and isinstance(value, str | int | float | None):
                settings[prefix + name] = value
    return NvidiaNetwork(tensors, settings)


class Source:
    """The tensors of a network, taken one by one, so that what nobody took is noticed."""

    def __init__(self, network: NvidiaNetwork, what: str) -> None:
        self.what = what
        self.network = network
        self.left = dict(network.tensors)

    def __contains__(self, name: str) -> bool:
        return name in self.left

    def take(self, name: str, rank: int) -> Tensor:
        """The tensor of this name with `rank` dimensions, none of them empty, in float32.

        Raises:
            CheckpointError: it is missing, or has another rank, or does not hold finite floating-point numbers.
        """
        if name not in self.left:
            raise CheckpointError(f"the {self.what} lacks the tensor {name}")
        tensor = self.left.pop(name)
        if tensor.ndim != rank or tensor.numel() == 0:
            raise CheckpointError(
                f"the {self.what}'s tensor {name} must have {rank} dimensions, none empty; got {tuple(tensor.shape)}"
            )
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"the {self.what}'s tensor {name} must hold finite floating-point numbers")
        return tensor.float()

    def width(self, name: str, axis: int) -> int:
        """Size of one axis of a tensor that stays where it is.

        Raises:
            CheckpointError: the tensor is missing or has no such axis.
        """
        tensor = self.left.get(name)
        if tensor is None or tensor.ndim <= axis:
            raise CheckpointError(f"the {self.what} lacks a tensor {name} with {axis + 1} dimensions or more")
        return int(tensor.shape[axis])

    def finish(self) -> None:
        """Raise CheckpointError for tensors that were not taken."""
        if self.left:
            names = sorted(self.left)
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise CheckpointError(f"the {self.what} holds unknown tensors: {', '.join(names[:3])}{more}")


def _modules(node: object, prefix: str, depth: int) -> Iterator[tuple[str, Mapping[str, object]]]:
    state = getattr(node, "state", None)
    if not isinstance(state, Mapping) or depth > _DEEPEST:
        place = prefix.removesuffix(".") or "the network"
        raise CheckpointError(f"{place} is no PyTorch module with parameters, buffers and submodules")
    yield prefix, state
    children = state.get("_modules")
    for name, child in children.items() if isinstance(children, Mapping) else ():
        if child is not None:
            yield from _modules(child, f"{prefix}{name}.", depth + 1)


def _tensors(group: object) -> Iterator[tuple[str, Tensor]]:
    for name, value in group.items() if isinstance(group, Mapping) else ():
        if isinstance(value, Tensor):
            yield str(name), value
