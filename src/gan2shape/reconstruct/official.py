"""The original program's pre-trained networks, Gaussians and quirks as weights and settings of this package, and its
networks as one safetensors file.

Its YAML configurations: `gan2shape.reconstruct.official_config`; its files: `gan2shape.io.official`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan2shape._version import __version__
from gan2shape.errors import CheckpointError
from gan2shape.generators.convert import checked_places
from gan2shape.io.checkpoints import read_metadata, read_tensors, sha256, write_tensors
from gan2shape.io.official import NETWORKS, OfficialNetworks, networks_of, plain_tensors, read_gaussian
from gan2shape.networks import FactorNetworks, NetworkConfig, ResidualEncoder
from gan2shape.priors.distributions import PosePrior
from gan2shape.reconstruct.config import ReconstructConfig
from gan2shape.reconstruct.pretrain import Pretrained

HEADER = "networks"
"""Entry of the header with what `convert_networks` says of the file, as JSON."""
KIND = "networks of the original program"


def with_gaussians(config: ReconstructConfig, view: Path | None, light: Path | None) -> ReconstructConfig:
    """The settings with the pose prior of a file of the original's, and the mean light of another.

    The original reads the Gaussian of light too, but only uses its mean.

    Raises:
        CheckpointError: a file that holds no such distribution.
    """
    if view is not None:
        mean, covariance = read_gaussian(view, 6)
        config = replace(
            config,
            pose=PosePrior(
                mean=tuple(mean.tolist()),
                std=tuple(covariance.diagonal().clamp(min=0).sqrt().tolist()),
                covariance=tuple(tuple(row) for row in covariance.tolist()),
                yaw_scale=config.pose.yaw_scale,
            ),
        )
    if light is not None:
        mean, _ = read_gaussian(light, 4)
        ambient, diffuse, x, y = mean.tolist()
        means = {"mean_ambient": ambient / 2 + 0.5, "mean_diffuse": diffuse / 2 + 0.5, "mean_direction": (x, y, 1.0)}
        config = replace(config, lighting=replace(config.lighting, **means))
    return config


def with_quirks(config: ReconstructConfig) -> ReconstructConfig:
    """The settings with all that the original computes otherwise: its half-pixel sampling, its short normals, the
    overshooting border of the depth, and the displaced ellipsoid. Its pre-trained networks learned with them."""
    geometry = replace(config.geometry, compat=True, border_weight=1.02)
    return replace(config, geometry=geometry, prior=replace(config.prior, compat=True))


def load_official_networks(file: Path, tensors: Mapping[str, Tensor], config: ReconstructConfig) -> Pretrained:
    """Networks of the original as a start for reconstructions with ``config``.

    Args:
        file: where they come from.
        tensors: what it holds.
        config: the priors of pose and light, around whose means the networks were trained, and everything but sizes.

    Returns:
        The start; its ``generator`` is empty, since the file does not say with which GAN it was trained.

    Raises:
        CheckpointError: networks are missing or of sizes that do not go together.
    """
    found = networks_of(tensors, file)
    sizes = _sizes(found)
    _check_shapes(found, sizes, file)
    pose, light = (config.pose.mean, config.lighting.mean_units) if config.add_prior_means else ((0.0,) * 6, (0.0,) * 4)
    means = {"factors.pose_mean": torch.tensor(pose), "factors.lighting_mean": torch.tensor(light)}
    geometry = replace(config.geometry, working_size_px=found.image_size)
    own = replace(config, networks=sizes, geometry=geometry)
    return Pretrained({**found.weights, **means}, own, "", {"source": file.name, "sha256": sha256(file)})


def describe_networks(file: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Plain facts about networks of the original, for people: kind, sizes, latent size, counts of parameters.

    Raises:
        CheckpointError: networks are missing or of sizes that do not go together.
    """
    found = networks_of(tensors, file)
    _check_shapes(found, _sizes(found), file)
    counts = dict.fromkeys(NETWORKS, 0)
    for name, tensor in plain_tensors(tensors).items():
        counts[name.partition("/")[0]] += tensor.numel()
    return {
        "kind": KIND,
        "image_size": found.image_size,
        "map_width": found.map_width,
        "vector_width": found.vector_width,
        "code_size": found.code_size,
        "offset_width": found.offset_width,
        "latent_dim": found.weights["encoder.head.3.weight"].shape[0],
        "parameters": counts,
    }


def convert_networks(
    source: str | os.PathLike[str], output: str | os.PathLike[str], *, half: bool = False
) -> dict[str, Any]:
    """Write the original's five networks as one safetensors file, under the original's names; nothing else of theirs.

    `load_official_networks` takes it as it takes the source: the file holds no priors either.

    Args:
        source: a file of the original program's with netD, netA, netV, netL and netEnc.
        output: the file to write, whole or not at all; its name ends in .safetensors.
        half: store weights in half precision.

    Returns:
        What the header's entry "networks" says: the source's name, SHA-256 and kind, the size of pictures and latents,
        and the precision.

    Raises:
        CheckpointError: the source cannot be read, networks are missing or do not go together, or a weight does not fit
            into half precision.
        OutputError: the output is the source itself, is named otherwise, or cannot be written.
    """
    path, target = checked_places(source, output)
    tensors = read_tensors(path)
    facts = describe_networks(path, tensors)
    dtype = torch.float16 if half else torch.float32
    kept = {name: tensor.to(dtype) for name, tensor in plain_tensors(tensors).items()}
    overflown = [name for name, tensor in kept.items() if not bool(torch.isfinite(tensor).all())]
    if overflown:
        raise CheckpointError(f"the tensor {overflown[0]} does not fit into {dtype}")
    record = {
        "source": path.name,
        "source_sha256": sha256(path),
        "kind": KIND,
        "image_size": facts["image_size"],
        "latent_dim": facts["latent_dim"],
        "precision": str(dtype).removeprefix("torch."),
        "written_by": f"gan2shape {__version__}",
    }
    earlier = read_metadata(path)
    write_tensors(target, kept, {**earlier, HEADER: json.dumps(record, sort_keys=True)})
    return record


def _sizes(found: OfficialNetworks) -> NetworkConfig:
    """Network sizes; the paper's are left unsaid, so that settings with them are those of the presets."""
    usual = NetworkConfig(code_size=found.code_size, offset_base_width=found.offset_width)
    widths = (usual.map_width(found.image_size), usual.vector_width(found.image_size))
    if widths == (found.map_width, found.vector_width):
        return usual
    return replace(usual, map_base_width=found.map_width, vector_base_width=found.vector_width)


def _check_shapes(found: OfficialNetworks, sizes: NetworkConfig, file: Path) -> None:
    """Compare all tensors with the networks of these sizes.

    Raises:
        CheckpointError: naming the first that is missing, too many or of another shape.
    """
    last = found.weights.get("encoder.head.3.weight")
    latent_dim = 1 if last is None or not last.numel() or not last.ndim else last.shape[0]
    with torch.device("meta"):
        factors = FactorNetworks(found.image_size, config=sizes)
        encoder = ResidualEncoder(latent_dim, found.image_size, found.offset_width)
    wanted = {f"factors.{name}": tensor.shape for name, tensor in factors.named_parameters()}
    wanted |= {f"encoder.{name}": tensor.shape for name, tensor in encoder.named_parameters()}
    got = {name: tensor.shape for name, tensor in found.weights.items()}
    for name in sorted(wanted.keys() | got.keys()):
        if wanted.get(name) != got.get(name):
            expected, came = (str(tuple(shapes[name])) if name in shapes else "nothing" for shapes in (wanted, got))
            raise CheckpointError(f"{file}: expected {expected} as {name} of the original's networks; got {came}")
