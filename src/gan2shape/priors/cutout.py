"""The object in front of any background, by the networks of rembg (extra ``mask``)."""

from __future__ import annotations

import contextlib
import io
from importlib import import_module

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan2shape.errors import InputError, UserError
from gan2shape.io.images import to_uint8

SIDE_PX = 320
"""Side of the pictures that its usual network looks at."""


def cutout_mask(image: Tensor) -> Tensor:
    """The object's opacity in a signed picture (1, 3, H, W): (1, 1, H, W) in [0, 1].

    Its network is downloaded by rembg when it is used for the first time.

    Raises:
        UserError: rembg is not installed, cannot run its network, or makes a mask of another size.
        InputError: it finds no object.
    """
    picture = Image.fromarray(to_uint8(image))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            rembg = import_module("rembg")
        found = rembg.remove(picture, only_mask=True)
    # rembg prints advice and ends the program where it finds no onnxruntime.
    except (ImportError, SystemExit):
        raise UserError(
            "--mask rembg needs the package rembg: pip install 'gan2shape[mask]'; or give --mask auto, none or a file"
        ) from None
    except Exception as error:
        # Whatever its download or its network raises, the user can only choose another way.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"rembg could not cut the object out ({reason}); give --mask auto, none or a file") from None
    levels = np.asarray(found.convert("L"), dtype=np.float32) / 255
    if levels.shape != tuple(image.shape[2:]):
        sizes = " for ".join(f"{width} x {height} px" for height, width in (levels.shape, image.shape[2:]))
        raise UserError(f"rembg could not cut the object out (a mask of {sizes}); give --mask auto, none or a file")
    if not (levels >= 0.5).any():
        raise InputError("rembg finds no object in this picture; give --mask auto, none or a file")
    return torch.from_numpy(levels)[None, None].to(image)
