"""What the verbs on saved results share: loading, and the parts that exporters want."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from gan2shape.export.surface import Surface
    from gan2shape.reconstruct.config import ReconstructConfig
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


def load_saved(folder: Path) -> Saved:
    """Load a result folder.

    Raises:
        InputError: it is none, or damaged.
    """
    from gan2shape.errors import InputError
    from gan2shape.export.surface import canonical_mask, cut_surface
    from gan2shape.reconstruct.config import config_from_dict
    from gan2shape.render import DepthRange
    from gan2shape.result import ReconstructionResult

    result = ReconstructionResult.load(folder)
    try:
        config = config_from_dict(result.config)
    except (TypeError, ValueError) as error:
        raise InputError(f"{folder / 'config.json'}: {error}") from None
    limits = DepthRange(config.geometry.near, config.geometry.far)
    mask = canonical_mask(result.scene, result.mask, result.camera)
    surface = cut_surface(result.scene.depth, mask, result.camera, depth_extent=limits.far - limits.near)
    return Saved(result, config, limits, mask, surface, result.scene.texture(result.camera).clamp(-1, 1))
