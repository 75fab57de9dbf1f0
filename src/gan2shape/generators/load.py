"""Load a generator, with everything that a reconstruction can use of it, frozen."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from gan2shape.errors import CheckpointError
from gan2shape.generators.checkpoint import Networks, open_checkpoint
from gan2shape.generators.describe import describe
from gan2shape.generators.functional import is_reference, wrap
from gan2shape.generators.loaded import LoadedGenerator as LoadedGenerator
from gan2shape.generators.loaded import latent_mean as latent_mean
from gan2shape.generators.loaded import normals
from gan2shape.generators.offsets import MappingTailOffset
from gan2shape.generators.origin import Origin
from gan2shape.generators.record import GeneratorRecord
from gan2shape.generators.save import save_generator as save_generator
from gan2shape.generators.stylegan2 import FrozenStyleGAN2, StyleGAN2Generator
from gan2shape.generators.stylegan3 import StyleGAN3Generator
from gan2shape.io.checkpoints import sha256

BUNDLED = "bundled"
BUNDLED_FILE = "stylegan2_synface64.safetensors"
DEFAULT_OFFSET_LAYERS = 2
"""F1 of the paper's presets other than synthetic faces."""


def load_generator(
    source: str | os.PathLike[str] | object = BUNDLED,
    *,
    device: torch.device | str | None = None,
    offset_layers: int | None = None,
    compute_dtype: torch.dtype | None = None,
    class_index: int | None = None,
    latent_dim: int | None = None,
) -> LoadedGenerator:
    """Load the bundled generator, any StyleGAN2 or StyleGAN3 checkpoint, or wrap any callable from w to pictures.

    Files are read as data: nothing in them is executed. ``"module:function"`` is Python code of the user's own, which
    is imported and run; see `gan2shape.generators.functional` for what such a callable may offer.

    Args:
        source: "bundled"; a file (.safetensors, .pt, .pth of the common layout or with NVIDIA's names, NVIDIA's .pkl);
            "module:function"; or a callable or object with ``synthesize``.
        device: where everything goes; None means the CPU, or where a `LoadedGenerator` of the user's own is.
        offset_layers: F1, the mapping layers (less one) of the latent offset's tail; None means 2, too many are cut.
        compute_dtype: arithmetic of synthesis and features; None means bfloat16 on CPUs that have it, else float32.
            Pictures and features come out in float32 either way. StyleGAN3 always synthesizes in float32.
        class_index: which class a conditional checkpoint draws; None for an unconditional one. A file that was
            converted for one class knows it.
        latent_dim: count of numbers in a latent of a callable that does not say so itself.

    Raises:
        CheckpointError: the source cannot be read or is no such checkpoint or callable, or an argument does not suit.
    """
    if not isinstance(source, str | os.PathLike) or is_reference(source):
        if class_index is not None:
            raise CheckpointError(f"a callable knows no classes; leave out the class {class_index} (--class)")
        return wrap(source, latent_dim=latent_dim, device=None if device is None else torch.device(device))
    device = torch.device("cpu" if device is None else device)
    path, name = _resolve(source)
    checkpoint = open_checkpoint(path)
    networks = checkpoint.networks(class_index)
    _check_latent_dim(networks, latent_dim, path)
    dtype = fast_dtype(device) if compute_dtype is None else compute_dtype
    about = describe(checkpoint, networks)
    origin = Origin("", class_index) if checkpoint.origin is None else checkpoint.origin
    record = GeneratorRecord(name, sha256(path), origin.class_index, source_sha256=origin.sha256)
    if record.class_index is not None:
        about["class"] = record.class_index
    is_fast = isinstance(networks.generator, StyleGAN2Generator)
    about["compute_dtype"] = str(dtype if is_fast else torch.float32).removeprefix("torch.")
    return _assembled(networks, record, about, device, offset_layers, dtype)


def load_networks(source: str | os.PathLike[str] = BUNDLED, *, class_index: int | None = None) -> Networks:
    """The trainable networks of the bundled generator or of a checkpoint file, in float32, on the CPU.

    Raises:
        CheckpointError: the file cannot be read or is no such checkpoint, or `class_index` does not suit it.
    """
    if is_reference(source):
        raise CheckpointError(f"{source} is code and no file: its weights cannot be changed")
    return open_checkpoint(_resolve(source)[0]).networks(class_index)


def describe_generator(
    source: str | os.PathLike[str], *, class_index: int | None = None, latent_dim: int | None = None
) -> dict[str, Any]:
    """Plain facts about a generator: its name and hash, kind, sizes, and what is missing.

    A conditional checkpoint needs no class to be looked into. Arguments and errors otherwise as `load_generator`.
    """
    if is_reference(source):
        loaded = load_generator(source, class_index=class_index, latent_dim=latent_dim)
        return {"generator": loaded.name, "sha256": loaded.sha256, **loaded.about}
    path, name = _resolve(source)
    checkpoint = open_checkpoint(path)
    chosen = 0 if class_index is None and checkpoint.classes else class_index
    networks = checkpoint.networks(chosen)
    _check_latent_dim(networks, latent_dim, path)
    return {"generator": name, "sha256": sha256(path), **describe(checkpoint, networks)}


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a CPU with bfloat16 instructions, where frozen synthesis is faster in it; float32 elsewhere."""
    has_bfloat16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.bfloat16 if device.type == "cpu" and has_bfloat16() else torch.float32


def _check_latent_dim(networks: Networks, latent_dim: int | None, path: Path) -> None:
    """Raises CheckpointError where a file's latents have another count of numbers than was told."""
    if latent_dim is not None and latent_dim != networks.generator.latent_dim:
        raise CheckpointError(
            f"{path}: its latents have {networks.generator.latent_dim} numbers; leave out {latent_dim} (--latent-dim)"
        )


def _resolve(source: str | os.PathLike[str]) -> tuple[Path, str]:
    if source == BUNDLED:
        return Path(str(resources.files("gan2shape") / "assets" / BUNDLED_FILE)), BUNDLED
    path = Path(os.path.expanduser(source))
    if not os.path.exists(path):
        raise CheckpointError(
            f"no generator at {source}: expected '{BUNDLED}' or a .pt, .pth, .pkl or .safetensors file, "
            "or module:function"
        )
    return path, path.name


def _assembled(
    networks: Networks,
    record: GeneratorRecord,
    about: dict[str, Any],
    device: torch.device,
    offset_layers: int | None,
    dtype: torch.dtype,
) -> LoadedGenerator:
    w_mean = latent_mean(networks.generator) if networks.w_mean is None else networks.w_mean
    frozen: FrozenStyleGAN2 | StyleGAN3Generator
    if isinstance(networks.generator, StyleGAN2Generator):
        frozen = networks.generator.to(device).frozen(dtype)
    else:
        frozen = networks.generator.to(device).eval().requires_grad_(False)
    tail = DEFAULT_OFFSET_LAYERS if offset_layers is None else offset_layers
    discriminator, z_dim = networks.discriminator, frozen.config.z_dim
    return LoadedGenerator(
        generator=frozen,
        offset=MappingTailOffset(frozen.style, tail).eval().requires_grad_(False),
        features=None if discriminator is None else discriminator.to(device).frozen_features(dtype),
        w_mean=w_mean.to(device),
        name=record.name,
        sha256=record.sha256,
        about=about,
        draw_latents=lambda count, rng: frozen.map(normals(count, z_dim, rng).to(device)),
        class_index=record.class_index,
        source_sha256=record.source_sha256,
    )
