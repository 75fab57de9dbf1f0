"""Files of the original program's releases, as its download script unpacks them, read as data.

- networks (``checkpoints/gan2shape/celeba_pretrain.pth``): state dicts ``netD``, ``netA``, ``netV``, ``netL`` and
  ``netEnc``, perhaps with optimisers beside them; here under the names of `gan2shape.networks`.
- Gaussians of pose and light (``checkpoints/view_light/celeba_view_mvn.pth``): ``mean`` and ``cov``.
- lists of pictures (``data/celeba/list_200-399.txt``), with latents of the same names in ``latents``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gan2shape.errors import CheckpointError, InputError
from gan2shape.io.checkpoints import read_one_tensor, read_tensors

NETWORKS: Mapping[str, str] = {
    "netD": "factors.depth_net",
    "netA": "factors.albedo_net",
    "netV": "factors.view_net",
    "netL": "factors.light_net",
    "netEnc": "encoder",
}
"""The original's names of the networks, and ours."""
RELEASED_NETWORKS, RELEASED_GAUSSIAN, RELEASED_LATENT, RELEASED_LIST = "networks", "Gaussian", "latent", "list"
RELEASED_CONFIGURATION = "configuration"
"""Kinds of files in a release, beside generators."""
LIST_SUFFIX, CONFIGURATION_SUFFIXES = ".txt", (".yml", ".yaml")
_NAME = re.compile(r"(net[A-Za-z]+)/(?:module\.)?network\.(\d+)\.(.+)")
_BLOCK = {"conv1": "reduce", "conv2": "refine", "conv_sc": "shortcut"}
_MOST_LIST_BYTES = 16 << 20
_LATENT_SUFFIXES = (".pt", ".pth", ".safetensors")


@dataclass(frozen=True)
class OfficialNetworks:
    """Networks of one file, and the sizes that their tensors tell."""

    weights: Mapping[str, Tensor]
    """By our names (``factors.depth_net.encoder.0.weight``), without the prior means."""
    image_size: int
    """Side of the pictures in px."""
    map_width: int
    """Base width of depth and albedo networks."""
    vector_width: int
    """Base width of view and light networks."""
    code_size: int
    """Channels of the code of depth and albedo networks."""
    offset_width: int
    """Base width of the latent encoder."""


@dataclass(frozen=True)
class ListedPicture:
    """One line of a list of pictures."""

    picture: Path
    latent: Path | None
    """Its latent, if the folder has one."""


def is_networks(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the tensors of a file are those of the original's networks."""
    return any(name.startswith(tuple(f"{network}/" for network in NETWORKS)) for name in tensors)


def kind_of_release(file: Path) -> str:
    """Which kind of file of a release this is, one of those above; empty for any other, and for none at all.

    Lists and configurations are known by their endings alone, a latent by being the only tensor.
    """
    texts = {LIST_SUFFIX: RELEASED_LIST} | dict.fromkeys(CONFIGURATION_SUFFIXES, RELEASED_CONFIGURATION)
    if file.suffix.lower() in texts:
        return texts[file.suffix.lower()] if os.path.isfile(file) else ""
    try:
        tensors = read_tensors(file)
    except CheckpointError:
        tensors = {}  # A bare tensor has no name.
    if is_networks(tensors):
        return RELEASED_NETWORKS
    if {"mean", "cov"} <= tensors.keys():
        return RELEASED_GAUSSIAN
    try:
        return RELEASED_LATENT if 1 <= read_one_tensor(file, "latent").ndim <= 3 else ""
    except CheckpointError:
        return ""


def plain_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the five networks alone, float32, under the original's names (``netD/network.0.weight``)."""
    found = ((_NAME.fullmatch(name), tensor) for name, tensor in tensors.items())
    return {
        f"{m[1]}/network.{m[2]}.{m[3]}": tensor.float() for m, tensor in found if m is not None and m[1] in NETWORKS
    }


def read_networks(file: Path) -> OfficialNetworks:
    """All five networks of a file.

    Raises:
        CheckpointError: the file is missing, damaged, or has not all networks in sizes that go together.
    """
    return networks_of(read_tensors(file), file)


def networks_of(tensors: Mapping[str, Tensor], file: Path) -> OfficialNetworks:
    """As `read_networks`, from the tensors of ``file``."""
    layers: dict[str, dict[int, dict[str, Tensor]]] = {name: {} for name in NETWORKS}
    for name, tensor in tensors.items():
        found = _NAME.fullmatch(name)
        if found is None or found[1] not in layers:
            continue  # Optimisers and the iteration stand beside the networks.
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor.float()).all()):
            raise CheckpointError(f"{file}: expected finite weights; {name} holds NaN, infinity or no real numbers")
        layers[found[1]].setdefault(int(found[2]), {})[found[3]] = tensor.float()
    missing = [name for name, found_layers in layers.items() if not found_layers]
    if missing:
        raise CheckpointError(
            f"{file}: expected the original's networks {', '.join(NETWORKS)}; {missing[0]} is missing"
        )
    levels = sum(1 for index in layers["netV"] if layers["netV"][index].get("weight", torch.zeros(0)).ndim == 4) - 2
    if not 1 <= levels <= 8:
        raise CheckpointError(f"{file}: expected a view network for pictures of 64 px or more; got other layers")
    split = _layers_of_the_encoder(levels)
    weights = {}
    for name, ours in NETWORKS.items():
        for index, parts in layers[name].items():
            for part, tensor in parts.items():
                weights[f"{ours}.{_layer_name(name, index, part, levels, split)}"] = tensor
    return OfficialNetworks(
        weights,
        image_size=4 << levels,
        map_width=_width(layers, "netD", 0, file),
        vector_width=_width(layers, "netV", 0, file),
        code_size=_width(layers, "netD", split - 2, file),
        offset_width=_width(layers, "netEnc", 0, file),
    )


def _layers_of_the_encoder(levels: int) -> int:
    """Entries of depth and albedo networks up to the code: convolution, norm and activation of each level (the last
    has no norm), then the code's convolution and activation."""
    return 3 * levels - 1 + 2


def _layer_name(network: str, index: int, part: str, levels: int, split: int) -> str:
    """Our name of one tensor within its network."""
    if network in ("netD", "netA"):
        return f"encoder.{index}.{part}" if index < split else f"decoder.{index - split}.{part}"
    if network != "netEnc":
        return f"network.{index}.{part}"
    if index == 0:
        return f"stem.{part}"
    if index < levels:
        layer, _, rest = part.partition(".")
        return f"blocks.{index - 1}.{_BLOCK.get(layer, layer)}.{rest}"
    return f"head.{index - levels}.{part}"


def _width(layers: Mapping[str, Mapping[int, Mapping[str, Tensor]]], name: str, index: int, file: Path) -> int:
    weight = layers[name].get(index, {}).get("weight")
    if weight is None or weight.ndim != 4 or not weight.shape[0]:
        raise CheckpointError(f"{file}: expected a convolution as {name}'s layer {index}; got another network")
    return weight.shape[0]


def read_gaussian(file: Path, count: int) -> tuple[Tensor, Tensor]:
    """Mean (count,) and covariance (count, count) of a normal distribution, float64.

    Raises:
        CheckpointError: the file is missing, damaged, or holds something else.
    """
    tensors = read_tensors(file)
    mean, covariance = tensors.get("mean"), tensors.get("cov")
    if mean is None or covariance is None or mean.shape != (count,) or covariance.shape != (count, count):
        found = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in list(tensors.items())[:4])
        raise CheckpointError(f"{file}: expected mean ({count},) and cov ({count}, {count}); got {found}")
    mean, covariance = mean.double(), covariance.double()
    if not bool(torch.isfinite(mean).all() and torch.isfinite(covariance).all()):
        raise CheckpointError(f"{file}: expected finite numbers; got NaN or infinity")
    if not torch.allclose(covariance, covariance.T, rtol=1e-4, atol=1e-7):
        raise CheckpointError(f"{file}: expected a symmetric covariance; got another matrix")
    least, most = torch.linalg.eigvalsh((covariance + covariance.T) / 2)[[0, -1]].tolist()
    if least < -1e-6 * max(abs(most), 1e-12):
        raise CheckpointError(f"{file}: expected a covariance without negative directions; got {least:.3g}")
    return mean, (covariance + covariance.T) / 2


def read_list(file: Path, root: Path | None = None, latents: Path | None = None) -> list[ListedPicture]:
    """The pictures of a list, one name on each line, and their latents where there are any.

    Args:
        file: the list.
        root: where the names begin; None means the list's folder, or the folder ``image`` in it.
        latents: folder of the latents, each named as its picture; None means ``latents`` beside the list.

    Raises:
        InputError: no such list, an empty one, or a picture that is not there.
    """
    try:
        with open(file, "rb") as stream:
            names = [line.split()[0] for line in stream.read(_MOST_LIST_BYTES).decode().splitlines() if line.split()]
    except UnicodeDecodeError:
        raise InputError(f"{file}: expected a list of pictures, one name on each line; got no text") from None
    except OSError as error:
        raise InputError(f"{file}: expected a list of pictures; got {error.strerror or 'no file'}") from None
    if not names:
        raise InputError(f"{file}: expected a list of pictures, one name on each line; it is empty")
    roots = [file.parent, file.parent / "image"] if root is None else [root]
    folder = file.parent / "latents" if latents is None else latents
    found = []
    for name in names:
        picture = next((place / name for place in roots if os.path.isfile(place / name)), None)
        if picture is None:
            shown = "".join(c if c.isprintable() else "?" for c in name[:100])
            raise InputError(f"{file}: expected the picture {shown} in {roots[0]}; it is not there")
        found.append(ListedPicture(picture, latent_beside(folder, name)))
    return found


def latent_beside(folder: Path, name: str) -> Path | None:
    """The latent of a picture of this name in a folder of latents, if it is there."""
    stem = (folder / name).with_suffix("")
    return next((place for suffix in _LATENT_SUFFIXES if os.path.isfile(place := Path(f"{stem}{suffix}"))), None)
