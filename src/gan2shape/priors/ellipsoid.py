"""The weak shape prior: an ellipsoid on the object's mask, the only thing the method is told about shape (step 0)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gan2shape.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class EllipsoidPrior:
    """An ellipsoid cap on the mask's bounding box, before a far plane. What a category needs is a field, not a branch.

    The box is changed in this order: to the image's bottom, extended above and below (parts of its height then),
    narrowed (a part of its width on each side).
    """

    near: float = 0.91
    """Depth of the nearest point, in scene units."""
    far: float = 1.02
    """Depth of the rim and of everything outside the box, in scene units."""
    radius: float = 0.4
    """Radius of the sphere of which the cap is cut, in scene units; larger is flatter in the middle."""
    extend_above: float = 0.0
    """Part of the box's height added at its top; negative cuts."""
    extend_below: float = 0.0
    """Part of the box's height added at its bottom; negative cuts, for instance a neck."""
    narrow: float = 0.0
    """Part of the box's width taken away at the left and again at the right."""
    to_image_bottom: bool = False
    """Whether the box is first extended down to the last image row."""
    mask_threshold: float = 0.7
    """Mask value from which a pixel belongs to the object."""
    compat: bool = False
    """Whether off-centre boxes are displaced as in the original program, which does not rescale the centre row."""

    def __post_init__(self) -> None:
        if not 0 < self.far - self.near <= self.radius:
            raise ValueError(f"far - near must be in (0, radius]; got {self.far} - {self.near}, radius {self.radius}")
        if 2 * self.narrow >= 1 or self.extend_above + self.extend_below <= -1:
            raise ValueError(
                f"the box adjustments leave no box: narrow {self.narrow}, extend_above {self.extend_above}, "
                f"extend_below {self.extend_below}"
            )

    def box(self, mask: Tensor) -> tuple[float, float, float, float]:
        """The adjusted box (left, top, right, bottom) of a mask (1, 1, H, W), in px, pixel centres at the integers.

        Raises:
            ValueError: if the mask has another shape.
            InputError: if the mask shows no object, or one without width or height.
        """
        if mask.ndim != 4 or mask.shape[:2] != (1, 1):
            raise ValueError(f"mask must be (1, 1, H, W); got {tuple(mask.shape)}")
        inside = mask[0, 0] >= self.mask_threshold
        rows, columns = inside.any(dim=1).nonzero(), inside.any(dim=0).nonzero()
        if len(rows) < 2 or len(columns) < 2:
            raise InputError(
                f"the mask shows no object: fewer than 2×2 pixels are {self.mask_threshold:g} or more (white); "
                "give a mask file that is white on the object, or use no mask"
            )
        top, bottom = float(rows.min()), float(rows.max())
        left, right = float(columns.min()), float(columns.max())
        if self.to_image_bottom:
            bottom = float(mask.shape[2] - 1)
        height, width = bottom - top, right - left
        return (
            left + self.narrow * width,
            top - self.extend_above * height,
            right - self.narrow * width,
            bottom + self.extend_below * height,
        )

    def depth(self, mask: Tensor) -> Tensor:
        """Depth of the ellipsoid.

        Args:
            mask: (1, 1, H, W) in [0, 1], 1 = object.

        Returns:
            (1, 1, H, W) scene units: `near` at the box's centre, `far` at its rim and outside.

        Raises:
            ValueError: if the mask has another shape.
            InputError: if the mask shows no object.

        Source: GAN2Shape, section 3.2; the constants are those of the original program.
        """
        import torch

        left, top, right, bottom = self.box(mask)
        half_width, ratio = (right - left) / 2, (bottom - top) / (right - left)
        centre_row, centre_column, middle = (top + bottom) / 2, (left + right) / 2, mask.shape[2] / 2
        # The rows are rescaled about the image's middle so that the ellipse becomes a circle.
        rows = (torch.arange(mask.shape[2], dtype=mask.dtype, device=mask.device) - middle) / ratio + middle
        if not self.compat:
            centre_row = (centre_row - middle) / ratio + middle
        columns = torch.arange(mask.shape[3], dtype=mask.dtype, device=mask.device)
        distance = torch.hypot((rows - centre_row)[:, None], (columns - centre_column)[None, :])  # (H, W)
        rim = math.sqrt(self.radius**2 - (self.radius - (self.far - self.near)) ** 2)
        height = (self.radius**2 - (distance / half_width * rim).square()).clamp(min=0).sqrt()
        cap = self.radius - height + self.near
        return torch.where(distance <= half_width, cap, self.far)[None, None]
