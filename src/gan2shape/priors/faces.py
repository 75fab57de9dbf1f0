"""Where a face's landmarks are in a photograph, by dlib (extra ``align``), as when FFHQ was made."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gan2shape.errors import InputError, UserError
from gan2shape.io.framing import Frame, face_frame, whole_frame
from gan2shape.io.images import read_image, to_uint8, upright_size

_MODEL = "shape_predictor_68_face_landmarks.dat"
_LONGEST_PX = 1024
_ENLARGED_UP_TO_PX = 640
"""Photographs up to this size are looked at twice as large: dlib finds no face below 80 px."""
_MISSING = (
    "finding faces needs dlib and its landmarks: pip install 'gan2shape[align]'; or give --landmarks FILE, or "
    "--crop x,y,w,h"
)


def find_face_frame(file: str | Path) -> Frame:
    """The square about the surest face of a photograph, as FFHQ would cut it.

    Raises:
        UserError: dlib or its landmark model is not installed.
        InputError: no picture, or no face in it.
    """
    picture_px = upright_size(file)
    frame = whole_frame(picture_px)
    size = min(_LONGEST_PX, max(picture_px))
    levels = to_uint8(read_image(file, size=size, frame=frame))
    # dlib counts from the middle of the first pixel.
    faces = [frame.to_picture(points + 0.5, size) for points in find_faces(levels)]
    # Beyond the picture's edges the square shows its mirror image.
    inside = [points for points in faces if (points.mean(0) >= 0).all() and (points.mean(0) <= picture_px).all()]
    if not inside:
        raise InputError(f"{file}: no face was found; give --landmarks FILE or --crop x,y,w,h")
    return face_frame(inside[0], picture_px)


def find_faces(levels: np.ndarray) -> list[np.ndarray]:
    """Landmarks (68, 2) of every face in (H, W, 3) uint8, the surest first; x and y from the first pixel's middle.

    Raises:
        UserError: dlib or its landmark model is not installed.
    """
    detect, predict = _dlib()
    levels = np.ascontiguousarray(levels)  # dlib takes another layout for another picture, without a word.
    found, scores, _ = detect.run(levels, 1 if max(levels.shape) <= _ENLARGED_UP_TO_PX else 0, 0.0)
    boxes = [box for _, box in sorted(zip(scores, found, strict=True), key=lambda pair: -pair[0])]
    shapes = [predict(levels, box) for box in boxes]
    return [np.asarray([(part.x, part.y) for part in shape.parts()], dtype=float) for shape in shapes]


@cache
def _dlib() -> tuple[Any, Any]:
    """Detector and predictor of landmarks."""
    try:
        dlib = import_module("dlib")
    except ImportError:
        raise UserError(_MISSING) from None
    # The package with the model is not imported: it asks for setuptools, which newer Pythons do not have.
    spec = find_spec("face_recognition_models")
    model = None if spec is None or spec.origin is None else Path(spec.origin).parent / "models" / _MODEL
    if model is None or not model.is_file():
        raise UserError(_MISSING)
    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(model))
