"""What the verbs on saved results share: loading, and the parts that exporters want."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.export.surface import Surface, canonical_mask, cut_surface
from gan2shape.reconstruct.config import ReconstructConfig, config_from_dict
from gan2shape.reconstruct.reconstructor import depth_range_of
from gan2shape.render import DepthRange
from gan2shape.result import ReconstructionResult


@dataclass(frozen=True, eq=False)
class Saved:
    """A saved result with its cut surface, canonical mask and texture."""

    result: ReconstructionResult
    config: ReconstructConfig
    depth_range: DepthRange
    mask: Tensor
    surface: Surface
    texture: Tensor


@torch.no_grad()
def load_saved(folder: Path) -> Saved:
    """Load a result folder, on the CPU.

    Raises:
        InputError: it is none, or damaged.
    """
    result = ReconstructionResult.load(folder)
    try:
        config = config_from_dict(result.config)
        limits = depth_range_of(config.geometry)
    except (TypeError, ValueError) as error:
        raise InputError(f"{folder / 'config.json'}: {error}; reconstruct again") from None
    mask = result.outline
    if mask is None:
        mask = canonical_mask(result.scene, result.mask, result.camera)
    surface = cut_surface(result.scene.depth, mask, result.camera, depth_extent=limits.far - limits.near)
    return Saved(result, config, limits, mask, surface, result.scene.texture(result.camera).clamp(-1, 1))
