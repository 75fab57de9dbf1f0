"""Load a generator, with everything that a reconstruction can use of it, frozen."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan2shape.errors import CheckpointError
from gan2shape.generators.discriminator import StyleGAN2Discriminator
from gan2shape.generators.nvidia import generator_state, latent_average, snapshot_networks
from gan2shape.generators.nvidia_discriminator import discriminator_state
from gan2shape.generators.nvidia_records import NvidiaNetwork
from gan2shape.generators.offsets import MappingTailOffset
from gan2shape.generators.protocol import FeatureExtractor, Generator, LatentOffset
from gan2shape.generators.rosinality import read_discriminator, read_generator
from gan2shape.generators.stylegan2 import StyleGAN2Generator
from gan2shape.generators.stylegan3_reader import is_stylegan3, read_stylegan3
from gan2shape.io.checkpoints import read_metadata, read_tensors, sha256, write_tensors
from gan2shape.io.pickles import read_pickle

BUNDLED = "bundled"
BUNDLED_FILE = "stylegan2_synface64.safetensors"
DEFAULT_OFFSET_LAYERS = 2
"""F1 of the paper's presets other than synthetic faces."""
MEAN_SAMPLES = 4096
MEAN_SEED = 0
_MEAN_NAMES = ("w_mean", "latent_avg")


@dataclass(frozen=True, eq=False)
class LoadedGenerator:
    """A frozen generator and its optional capabilities."""

    generator: Generator
    """Latents to pictures."""
    offset: LatentOffset
    """Codes of the projection encoder to latent offsets."""
    features: FeatureExtractor | None
    """Discriminator features; None where the checkpoint holds no discriminator."""
    w_mean: Tensor
    """Mean latent (latent_dim,)."""
    name: str
    """"bundled", or the file's name."""
    sha256: str
    """SHA-256 of the file, in hexadecimal."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Sizes, credits and what is missing, for people: plain values only."""
    draw_latents: Callable[[int, torch.Generator], Tensor] | None = None
    """Count and random generator to untruncated latents (count, latent_dim); None where a GAN has no prior."""

    def sample_latents(self, count: int, *, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Random latents (count, latent_dim), moved towards the mean: ``mean + truncation (w - mean)``.

        Raises:
            ValueError: `count` is not positive, or the generator has no prior to draw from.
        """
        if self.draw_latents is None:
            raise ValueError(f"the generator {self.name} has no prior to draw latents from")
        if count < 1:
            raise ValueError(f"count must be positive; got {count}")
        return self.w_mean + truncation * (self.draw_latents(count, rng) - self.w_mean)


def load_generator(
    source: str | os.PathLike[str] = BUNDLED,
    *,
    device: torch.device | str | None = None,
    offset_layers: int | None = None,
    compute_dtype: torch.dtype | None = None,
    class_index: int | None = None,
) -> LoadedGenerator:
    """Load the bundled generator, a StyleGAN2 of the common PyTorch layout (.pt, .pth, .safetensors), or NVIDIA's .pkl.

    Args:
        source: "bundled", or a file.
        device: where everything goes; None means the CPU.
        offset_layers: F1, the mapping layers (less one) of the latent offset's tail; None means 2, too many are cut.
        compute_dtype: arithmetic of synthesis and features; None means bfloat16 on CPUs that have it, else float32.
            Pictures and features come out in float32 either way. StyleGAN3 always computes in float32.
        class_index: which class a conditional .pkl draws; None for an unconditional one and for other files.

    Raises:
        CheckpointError: the file cannot be read or is no such checkpoint, or `class_index` does not suit it.
    """
    path, name = _resolve(source)
    device = torch.device("cpu" if device is None else device)
    if path.suffix.lower() == ".pkl":
        networks = snapshot_networks(read_pickle(path))
        if is_stylegan3(networks["generator"]):
            return _load_stylegan3(networks["generator"], path, device, offset_layers, class_index)
        tensors = _common_tensors(networks, class_index)
    elif class_index is not None:
        raise CheckpointError(f"{path} knows no classes; leave out the class {class_index}")
    else:
        tensors = read_tensors(path)
    generator, discriminator = _read_networks(tensors, path)
    dtype = fast_dtype(device) if compute_dtype is None else compute_dtype
    stored_mean = _stored_mean(tensors, generator.latent_dim, path)
    w_mean = latent_mean(generator) if stored_mean is None else stored_mean
    tail = DEFAULT_OFFSET_LAYERS if offset_layers is None else offset_layers
    frozen = generator.to(device).frozen(dtype)
    about = {
        **_describe(generator, discriminator, tensors, stored_mean is not None),
        "compute_dtype": str(dtype).removeprefix("torch."),
        "metadata": {} if path.suffix.lower() == ".pkl" else read_metadata(path),
    }
    return LoadedGenerator(
        generator=frozen,
        offset=MappingTailOffset(frozen.style, tail).eval().requires_grad_(False),
        features=None if discriminator is None else discriminator.to(device).frozen_features(dtype),
        w_mean=w_mean.to(device),
        name=name,
        sha256=sha256(path),
        about=about,
        draw_latents=lambda count, rng: frozen.map(_normals(count, frozen.config.z_dim, rng).to(device)),
    )


def save_generator(
    path: str | os.PathLike[str],
    generator: StyleGAN2Generator,
    discriminator: StyleGAN2Discriminator | None = None,
    *,
    w_mean: Tensor | None = None,
    metadata: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a safetensors file for `load_generator`: ``g_ema/...`` and ``d/...`` in `dtype`, ``w_mean`` in float32.

    `metadata` goes into the header: texts as they are, other values as JSON.

    Raises:
        CheckpointError: a weight does not fit into `dtype`.
        OutputError: the place cannot be written.
    """
    tensors = {f"g_ema/{name}": tensor for name, tensor in generator.state_dict().items()}
    if discriminator is not None:
        tensors |= {f"d/{name}": tensor for name, tensor in discriminator.state_dict().items()}
    narrowed = {name: tensor.detach().to(dtype) for name, tensor in tensors.items()}
    overflown = [name for name, tensor in narrowed.items() if not bool(torch.isfinite(tensor).all())]
    if overflown:
        raise CheckpointError(f"the tensor {overflown[0]} does not fit into {dtype}")
    narrowed["w_mean"] = (latent_mean(generator) if w_mean is None else w_mean).detach().float()
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (metadata or {}).items()}
    write_tensors(path, narrowed, texts)


@torch.no_grad()
def latent_mean(generator: StyleGAN2Generator, count: int = MEAN_SAMPLES, seed: int = MEAN_SEED) -> Tensor:
    """Mean (latent_dim,) of `count` mapped normals, the same for the same seed."""
    z = _normals(count, generator.config.z_dim, torch.Generator().manual_seed(seed))
    return generator.map(z.to(generator.input.input)).mean(0)


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a CPU with bfloat16 instructions, where frozen synthesis is faster in it; float32 elsewhere."""
    has_bfloat16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.bfloat16 if device.type == "cpu" and has_bfloat16() else torch.float32


def _resolve(source: str | os.PathLike[str]) -> tuple[Path, str]:
    if source == BUNDLED:
        return Path(str(resources.files("gan2shape") / "assets" / BUNDLED_FILE)), BUNDLED
    path = Path(source).expanduser()
    if not path.exists():
        raise CheckpointError(f"no generator at {source}: expected '{BUNDLED}' or a .pt, .pth or .safetensors file")
    return path, path.name


def _common_tensors(networks: Mapping[str, NvidiaNetwork], class_index: int | None) -> dict[str, Tensor]:
    """NVIDIA's StyleGAN2 networks as a checkpoint of the common layout."""
    generator = networks["generator"]
    tensors = {f"g_ema/{name}": tensor for name, tensor in generator_state(generator, class_index).items()}
    if "discriminator" in networks:
        state = discriminator_state(networks["discriminator"], class_index)
        tensors |= {f"d/{name}": tensor for name, tensor in state.items()}
    average = latent_average(generator)
    return tensors if average is None else tensors | {"w_mean": average}


def _load_stylegan3(
    network: NvidiaNetwork, path: Path, device: torch.device, offset_layers: int | None, class_index: int | None
) -> LoadedGenerator:
    generator = read_stylegan3(network, class_index)
    config, average = generator.config, latent_average(network)
    if average is None:
        rng = torch.Generator().manual_seed(MEAN_SEED)
        average = generator.map(_normals(MEAN_SAMPLES, config.z_dim, rng)).mean(0)
    elif tuple(average.shape) != (config.w_dim,) or not bool(torch.isfinite(average).all()):
        raise CheckpointError(f"{path}: mapping.w_avg must be {config.w_dim} finite numbers")
    generator = generator.to(device)
    tail = DEFAULT_OFFSET_LAYERS if offset_layers is None else offset_layers
    return LoadedGenerator(
        generator=generator,
        offset=MappingTailOffset(generator.style, tail).eval().requires_grad_(False),
        features=None,
        w_mean=average.to(device),
        name=path.name,
        sha256=sha256(path),
        about={
            "kind": "StyleGAN3-R" if config.kernel_size == 1 else "StyleGAN3-T",
            "resolution": config.resolution,
            "channels": list(config.channels),
            "z_dim": config.z_dim,
            "w_dim": config.w_dim,
            "num_ws": config.num_ws,
            "mapping_layers": config.mapping_layers,
            "parameters": {"generator": sum(parameter.numel() for parameter in generator.parameters())},
            "missing": ["discriminator"],
            "compute_dtype": "float32",
            "metadata": {},
        },
        draw_latents=lambda count, rng: generator.map(_normals(count, config.z_dim, rng).to(device)),
    )


def _read_networks(
    tensors: Mapping[str, Tensor], path: Path
) -> tuple[StyleGAN2Generator, StyleGAN2Discriminator | None]:
    """Generator and discriminator, from ``g_ema`` and ``d``, or the generator alone from a bare state dict."""
    generator, discriminator = _under("g_ema", tensors), _under("d", tensors)
    if not generator and "style.1.weight" in tensors:
        generator = {name: tensor for name, tensor in tensors.items() if name not in _MEAN_NAMES}
    if not generator:
        found = sorted({name.split("/")[0] for name in tensors})
        shown = ", ".join(found[:4]) + (", ..." if len(found) > 4 else "")
        raise CheckpointError(f"{path} holds no StyleGAN2 generator: expected 'g_ema'; found {shown}")
    try:
        return read_generator(generator), read_discriminator(discriminator) if discriminator else None
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _stored_mean(tensors: Mapping[str, Tensor], latent_dim: int, path: Path) -> Tensor | None:
    for name in _MEAN_NAMES:
        if name in tensors:
            mean = tensors[name].float().squeeze()
            if tuple(mean.shape) != (latent_dim,) or not bool(torch.isfinite(mean).all()):
                raise CheckpointError(f"{path}: {name} must be {latent_dim} finite numbers; got {tuple(mean.shape)}")
            return mean
    return None


def _describe(
    generator: StyleGAN2Generator,
    discriminator: StyleGAN2Discriminator | None,
    tensors: Mapping[str, Tensor],
    has_mean: bool,
) -> dict[str, Any]:
    """Plain facts about a checkpoint, for `gan2shape info`."""
    config = generator.config
    absent = {
        "discriminator": discriminator is None,
        "noise maps (seeded ones take their place)": not any("noises." in name for name in tensors),
        "latent mean (that of 4096 samples takes its place)": not has_mean,
    }
    counts = {
        "generator": sum(parameter.numel() for parameter in generator.parameters()),
        "discriminator": 0 if discriminator is None else sum(p.numel() for p in discriminator.parameters()),
    }
    return {
        "kind": "StyleGAN2",
        "resolution": config.resolution,
        "channels": dict(config.channels),
        "discriminator_channels": None if discriminator is None else dict(discriminator.config.channels),
        "z_dim": config.z_dim,
        "w_dim": config.w_dim,
        "num_ws": config.num_ws,
        "mapping_layers": config.mapping_layers,
        "parameters": counts,
        "missing": [what for what, is_absent in absent.items() if is_absent],
    }


def _normals(count: int, width: int, rng: torch.Generator) -> Tensor:
    return torch.randn(count, width, generator=rng, device=rng.device)
