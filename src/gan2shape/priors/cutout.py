"""The object in front of any background, by the network U²-Net of rembg (extra ``mask``)."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan2shape.errors import InputError, UserError
from gan2shape.io.images import to_uint8

NETWORK = "u2net"
"""Named because rembg's own choice changes: of late one of 1 GB, whose licence forbids commercial use."""
SIDE_PX = 320
"""Side of the pictures that the network looks at (Qin et al. 2020, section 4.1: 320 x 320)."""
OTHERWISE = "give --mask auto, none or a file"


def cutout_mask(image: Tensor) -> Tensor:
    """The object's opacity in a signed picture (1, 3, H, W): (1, 1, H, W) in [0, 1].

    rembg downloads the network (176 MB) when it is used for the first time. It looks at 320 x 320 px, whatever the
    picture's size.

    Raises:
        UserError: rembg is not installed, cannot download or run its network, or makes a mask of another size.
        InputError: it finds no object.
    """
    picture = Image.fromarray(to_uint8(image))
    try:
        with _quiet():
            found = _remove(picture)
    # rembg prints advice and ends the program where it finds no onnxruntime.
    except (ImportError, SystemExit):
        raise UserError(
            f"--mask rembg needs the package rembg: pip install 'gan2shape[mask]'; or {OTHERWISE}"
        ) from None
    # Those of requests say in 300 characters that there is no network, and are of this kind too.
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(
            f"rembg could not download its network {NETWORK} ({reason}): put {NETWORK}.onnx of rembg's release v0.0.0 "
            f"into a folder and name that in the environment variable U2NET_HOME, or {OTHERWISE}"
        ) from None
    except Exception as error:
        # Whatever its network raises, the user can only choose another way.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"rembg could not cut the object out ({reason}); {OTHERWISE}") from None
    levels = np.asarray(found.convert("L"), dtype=np.float32) / 255
    if levels.shape != tuple(image.shape[2:]):
        sizes = " for ".join(f"{width} x {height} px" for height, width in (levels.shape, image.shape[2:]))
        raise UserError(f"rembg could not cut the object out (a mask of {sizes}); {OTHERWISE}")
    if not (levels >= 0.5).any():
        raise InputError("rembg finds no object in this picture")
    return torch.from_numpy(levels)[None, None].to(image)


def _remove(picture: Image.Image) -> Any:
    # onnxruntime tells its maker about every session unless this is set before it is imported. Who wants that sets "0".
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    rembg = import_module("rembg")
    return rembg.remove(picture, session=rembg.new_session(NETWORK), only_mask=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without rembg's advice; the announcement of a download and its bar are for terminals only."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        if not sys.stderr.isatty():
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield
