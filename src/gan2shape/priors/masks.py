"""Object masks: read from a file, none, or found by a classical method. Float maps (1, 1, H, W), 1 = object."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gan2shape.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from gan2shape.io.framing import Frame

_WORKING_SIDE_PX = 96  # longest side at which `auto_mask` looks at a picture; its cost grows with the pixels
_LEAST_SIDE_PX = 8
_ADVICE = "give a mask file that is white on the object, or use no mask"


class Masker(Protocol):
    """Anything that finds the object in a picture."""

    def __call__(self, image: Tensor) -> Tensor:
        """Signed picture (1, 3, H, W) → mask (1, 1, H, W) in [0, 1], 1 = object. Raises InputError if there is none."""
        ...


def read_mask(file: str | Path, size: int, frame: Frame | None = None) -> Tensor:
    """Read a mask picture: white is object, black is not, grey and soft edges are kept.

    Args:
        file: a picture in any format; its centre square is used, as of a photograph.
        size: side of the mask in px.
        frame: the square that was cut out of the photograph; a mask of the photograph's size is cut alike, and a
            square one of another size is that of the cut-out picture.

    Returns:
        (1, 1, size, size) in [0, 1], float32.

    Raises:
        InputError: if the file is no picture, is of neither size, or nothing in it is white.
    """
    from gan2shape.io.images import read_grey, upright_size

    if frame is not None and (mask_px := upright_size(file)) != frame.picture_px:
        if mask_px[0] != mask_px[1]:
            expected, got = ("{} x {} px".format(*px) for px in (frame.picture_px, mask_px))
            raise InputError(f"{file}: expected a mask of the photo's {expected}, or a square one; got one of {got}")
        frame = None
    mask = read_grey(file, size=size, frame=frame)
    if not bool((mask >= 0.5).any()):
        raise InputError(f"{file}: the mask is empty, its brightest value is {float(mask.max()):.2f} of 1; {_ADVICE}")
    return mask


def no_mask(image: Tensor) -> Tensor:
    """Everything is the object: ones (1, 1, H, W) for a picture (1, 3, H, W)."""
    _check_image(image)
    return image.new_ones(1, 1, *image.shape[2:])


def auto_mask(image: Tensor) -> Tensor:
    """Find the object before a smooth or evenly textured background, without learned weights.

    Deterministic; see `gan2shape.priors.segmentation` for the method and what it assumes. Where those assumptions
    fail (busy background, object in the background's colours), look at the mask and give a file instead.

    Args:
        image: (1, 3, H, W) signed.

    Returns:
        (1, 1, H, W) of zeros and ones, on the device and in the dtype of the picture; one region without holes.

    Raises:
        ValueError: if the image has another shape, is smaller than 8×8 px, or holds a value that is not finite.
        InputError: if no object stands out.
    """
    import torch
    import torch.nn.functional as F

    from gan2shape.priors.segmentation import segment

    _check_image(image)
    height, width = image.shape[2:]
    if min(height, width) < _LEAST_SIDE_PX or not bool(torch.isfinite(image).all()):
        raise ValueError(
            f"image must be finite and at least {_LEAST_SIDE_PX}×{_LEAST_SIDE_PX} px; got {height}×{width}"
        )
    picture = (image.detach().to("cpu", torch.float64) / 2 + 0.5).clamp(0, 1)
    shrink = max(height, width) / _WORKING_SIDE_PX
    if shrink > 1:
        small = [max(_LEAST_SIDE_PX, round(side / shrink)) for side in (height, width)]
        picture = F.interpolate(picture, small, mode="bilinear", antialias=True)
    soft = torch.from_numpy(segment(picture[0].permute(1, 2, 0).numpy()))[None, None]
    if not bool((soft > 0.5).any()):
        raise InputError(f"no object stands out from the background of this picture; {_ADVICE}")
    if shrink > 1:
        soft = F.interpolate(soft, (height, width), mode="bilinear", align_corners=False)
    return (soft > 0.5).to(image)


def _check_image(image: Tensor) -> None:
    if image.ndim != 4 or image.shape[:2] != (1, 3):
        raise ValueError(f"image must be (1, 3, H, W); got {tuple(image.shape)}")
