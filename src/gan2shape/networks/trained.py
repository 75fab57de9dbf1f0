"""Networks that were trained on many pictures, as files: Unsup3D's four, the supervised depth network, and others.

A file is a safetensors file in half precision. Its header says what it is, its sizes, and how it was trained, so that
it is read without further settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gan2shape.errors import CheckpointError
from gan2shape.io.checkpoints import read_metadata, read_tensors, sha256, write_tensors
from gan2shape.networks.autoencoder import Autoencoder
from gan2shape.networks.factors import FactorNetworks
from gan2shape.networks.widths import NetworkConfig, full_base_width
from gan2shape.render.depth import DepthRange

UNSUP3D, SUPERVISED = "unsup3d", "supervised"
SEEN_DEPTHS = DepthRange(near=0.8, far=1.2, border_columns=0)
"""What the supervised network may predict: every depth that a view may have, and nothing is tied to the border."""
_HEADER = "gan2shape"
_MOST_SHARED = 8
"""Parts of a file that may be kept in others."""
_Networks = TypeVar("_Networks", bound=nn.Module)


@dataclass(frozen=True)
class NetworkSizes:
    """What has to be known before weights can be read."""

    image_size: int
    """Side of the pictures in px."""
    map_width: int
    """Base width of the networks that make maps, in channels."""
    vector_width: int
    """Base width of the networks that make vectors, in channels."""
    code_size: int = 256
    """Channels of the code of the networks that make maps."""

    @classmethod
    def scaled(cls, image_size: int, width_multiplier: float = 1.0) -> NetworkSizes:
        """Unsup3D's sizes times a factor: 64 for maps and 32 for vectors at 64 px."""
        full = full_base_width(image_size) * width_multiplier
        return cls(image_size, max(1, round(full)), max(1, round(full / 2)))


class DepthNetwork(nn.Module):
    """A picture to the depth of the view itself; what supervision with true depth trains."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.image_size = sizes.image_size
        self.depth_net = Autoencoder(1, sizes.image_size, sizes.map_width, sizes.code_size)

    def forward(self, image: Tensor) -> Tensor:
        """Signed pictures (B, 3, S, S) → depth (B, 1, S, S) in scene units."""
        return SEEN_DEPTHS.from_raw(self.depth_net(image))


def unsup3d_networks(sizes: NetworkSizes) -> FactorNetworks:
    """Unsup3D's depth, albedo, view and light networks, with PyTorch's random weights."""
    config = NetworkConfig(
        map_base_width=sizes.map_width, vector_base_width=sizes.vector_width, code_size=sizes.code_size
    )
    return FactorNetworks(sizes.image_size, config=config)


def save_networks(
    file: Path,
    kind: str,
    networks: nn.Module,
    sizes: NetworkSizes,
    about: Mapping[str, Any] | None = None,
    *,
    beside: Mapping[str, Tensor] | None = None,
) -> None:
    """Write networks in half precision; ``about`` (plain JSON values) says how they were trained. Counters stay whole,
    and so do the tensors ``beside`` the networks.

    Raises:
        OutputError: the place cannot be written.
    """
    header = {"kind": kind, "sizes": asdict(sizes), "about": dict(about or {})}
    tensors = networks.state_dict().items()
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors}
    write_tensors(file, {**halves, **(beside or {})}, {_HEADER: json.dumps(header, sort_keys=True)})


def load_networks(file: Path, kind: str, build: Callable[[NetworkSizes], _Networks]) -> _Networks:
    """The networks that ``build`` makes, with the weights of a file that `save_networks` wrote as this kind.

    They are frozen, on the CPU, in float32.

    Raises:
        CheckpointError: damaged, of another kind, or with weights that do not fit.
    """
    return filled(build, _read_sizes(file, kind), network_tensors(file), file)


def network_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a file that `save_networks` wrote, and those that it has in common with a file beside it: its
    header may say so under ``shared``, ``{"depth_net.": ["other.safetensors", "factors.depth_net.", SHA-256]}``.

    Raises:
        CheckpointError: damaged, or the other file is missing, damaged, or not the one that was meant.
    """
    shared, found = _read_header(file)["shared"], read_tensors(file)
    others: dict[str, dict[str, Tensor]] = {}
    for prefix, (name, other, digest) in shared.items():
        beside = file.with_name(name)
        if name not in others:
            others[name] = read_tensors(beside)
            if sha256(beside) != digest:
                raise CheckpointError(
                    f"{file}: expected another {name} beside it; the two files do not belong together"
                )
        kept = {prefix + key.removeprefix(other): t for key, t in others[name].items() if key.startswith(other)}
        found = {**kept, **found}
    return found


def load_unsup3d(file: Path) -> FactorNetworks:
    """Unsup3D's networks of a file that `save_networks` wrote, frozen, on the CPU in float32.

    Raises:
        CheckpointError: damaged, of another kind, or with weights that do not fit.
    """
    return load_networks(file, UNSUP3D, unsup3d_networks)


def load_depth_network(file: Path) -> DepthNetwork:
    """The supervised depth network of a file that `save_networks` wrote, frozen, on the CPU in float32.

    Raises:
        CheckpointError: damaged, of another kind, or with weights that do not fit.
    """
    return load_networks(file, SUPERVISED, DepthNetwork)


def read_about(file: Path) -> dict[str, Any]:
    """How the networks of a file were trained, as it was given to `save_networks`.

    Raises:
        CheckpointError: damaged, or no file of networks.
    """
    return _read_header(file)["about"]


def describe(file: Path) -> dict[str, Any]:
    """Kind, sizes and training of a file that `save_networks` wrote; nothing of any other file that is there.

    Raises:
        CheckpointError: no such file, or damaged.
    """
    header = _read_header(file) if _HEADER in read_metadata(file) else {}
    return {key: value for key, value in header.items() if key != "shared" or value}


def fingerprint(weights: nn.Module | Mapping[str, Tensor]) -> str:
    """Twelve digits that tell networks, or tensors, with other values apart."""
    digest = hashlib.blake2b(digest_size=6)
    tensors = weights.state_dict() if isinstance(weights, nn.Module) else weights
    for tensor in tensors.values():
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def check_tensors(
    file: Path, found: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], prefix: str = ""
) -> None:
    """Refuse tensors that were read from a file, each called ``prefix`` + name there.

    Raises:
        CheckpointError: one is missing, of another shape than expected, or not finite.
    """
    for name, shape in expected.items():
        got = tuple(found[name].shape) if name in found else "nothing"
        if got != tuple(shape):
            raise CheckpointError(f"{file}: expected {prefix}{name} of shape {tuple(shape)}; got {got}")
        if not bool(torch.isfinite(found[name]).all()):
            raise CheckpointError(f"{file}: expected finite weights; got NaN or infinity in {prefix}{name}")


def _read_sizes(file: Path, kind: str) -> NetworkSizes:
    header = _read_header(file)
    if header["kind"] != kind:
        raise CheckpointError(f"{file}: expected the weights of {kind}; got those of {header['kind']}")
    return NetworkSizes(**header["sizes"])


def _read_header(file: Path) -> dict[str, Any]:
    text = read_metadata(file).get(_HEADER, "")
    try:
        header = json.loads(text)
        kind, sizes, about = header["kind"], NetworkSizes(**header["sizes"]), header["about"]
        shared = header.get("shared", {})
        sound = isinstance(about, dict) and all(type(n) is int and 1 <= n <= 1 << 14 for n in asdict(sizes).values())
        sound = sound and len(shared) <= _MOST_SHARED and all(_is_shared(*entry) for entry in shared.items())
    except (ValueError, TypeError, KeyError, AttributeError):
        sound = False
    if not sound:
        raise CheckpointError(f"{file}: expected weights that gan2shape train wrote; got another file") from None
    return {"kind": str(kind), "sizes": asdict(sizes), "about": about, "shared": shared}


def _is_shared(prefix: str, place: object) -> bool:
    """Whether a header may name this as where tensors are kept: a file in the same folder, what they are called there,
    and the file's SHA-256."""
    if not isinstance(place, list) or len(place) != 3 or not all(isinstance(part, str) for part in place):
        return False
    name, other, _ = place
    plain = name.isprintable() and 0 < len(name) < 256 and name == Path(name).name and name != ".." and "\\" not in name
    return plain and prefix.endswith(".") and other.endswith(".")


def filled(
    build: Callable[[NetworkSizes], _Networks],
    sizes: NetworkSizes,
    tensors: Mapping[str, Tensor],
    file: Path,
    prefix: str = "",
) -> _Networks:
    """The networks that ``build`` makes, with weights that were read from a file, each called ``prefix`` + name there;
    frozen, on the CPU, in float32. Nothing is allocated before all shapes are right.

    Raises:
        CheckpointError: sizes that cannot be, or weights that do not fit.
    """
    try:
        with torch.device("meta"):
            expected = {name: tuple(tensor.shape) for name, tensor in build(sizes).state_dict().items()}
    except ValueError as error:
        raise CheckpointError(f"{file}: expected sizes that networks may have; got others ({error})") from None
    check_tensors(file, tensors, expected, prefix)
    networks = build(sizes)
    networks.load_state_dict({name: tensors[name].float() for name in expected})
    return networks.eval().requires_grad_(False)
