"""Which square of a photograph is used: by hand, or as FFHQ's faces were cut, from landmarks.

A `Frame` is a square, upright or turned, given by its corners. Points are (x, y) in pixels of the upright picture, that
is, after the camera's rotation has been undone: (0, 0) is the top left corner of the top left pixel.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from gan2shape.errors import InputError

MOST_SHARE = 4.0
"""Side of a frame, in longest sides of its picture, beyond which landmarks or crop are a mistake."""
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_FACE_POINTS = (5, 68)
_MOST_LANDMARK_BYTES = 1_000_000
_SUPERSAMPLING = 2


@dataclass(frozen=True)
class Frame:
    """A square in a picture of a known size."""

    centre: tuple[float, float]
    """(x, y)."""
    right: tuple[float, float]
    """From the centre to the middle of the frame's right side; down is this, turned clockwise by 90 degrees."""
    picture_px: tuple[int, int]
    """Width and height of the upright picture."""

    @property
    def side(self) -> float:
        """Side in pixels of the picture."""
        return 2 * math.hypot(*self.right)

    @property
    def corners(self) -> np.ndarray:
        """(4, 2): top left, bottom left, bottom right, top right."""
        centre, right = np.asarray(self.centre), np.asarray(self.right)
        down = np.asarray([-right[1], right[0]])
        return np.stack([centre - right - down, centre - right + down, centre + right + down, centre + right - down])

    @property
    def is_upright(self) -> bool:
        """Whether its sides lie along rows and columns."""
        return self.right[1] == 0 and self.right[0] > 0

    def to_picture(self, points: np.ndarray, size: int) -> np.ndarray:
        """Points (N, 2) of the frame's square, cut out at `size` pixels, to those of the picture."""
        shift = np.asarray(points, dtype=float) * (2 / size) - 1
        right = np.asarray(self.right)
        return np.asarray(self.centre) + shift[:, :1] * right + shift[:, 1:] * np.asarray([-right[1], right[0]])

    def scaled(self, factor: float) -> Frame:
        """The frame about the same centre with sides `factor` times as long."""
        return Frame(self.centre, (factor * self.right[0], factor * self.right[1]), self.picture_px)


def crop_frame(box: tuple[float, float, float, float], picture_px: tuple[int, int]) -> Frame:
    """The centre square of a box.

    Args:
        box: x, y of its top left corner, width and height, in pixels of the upright picture.
        picture_px: width and height of that picture.

    Raises:
        InputError: the box is empty, or not inside the picture.
    """
    x, y, width, height = box
    limit_x, limit_y = picture_px
    if not all(map(math.isfinite, box)) or width < 1 or height < 1:
        raise InputError(f"the crop must be x,y,width,height with at least 1 x 1 px; got {_text(box)}")
    if x < 0 or y < 0 or x + width > limit_x or y + height > limit_y:
        raise InputError(
            f"the crop must lie inside the picture of {limit_x} x {limit_y} px (upright); got {_text(box)}, which ends "
            f"at {x + width:g},{y + height:g}"
        )
    return Frame((x + width / 2, y + height / 2), (min(width, height) / 2, 0.0), picture_px)


def centre_frame(picture_px: tuple[int, int]) -> Frame:
    """The centre square of a picture of this width and height."""
    width, height = picture_px
    return Frame((width / 2, height / 2), (min(width, height) / 2, 0.0), picture_px)


def whole_frame(picture_px: tuple[int, int]) -> Frame:
    """The least square about the whole of a picture of this width and height."""
    width, height = picture_px
    return Frame((width / 2, height / 2), (max(width, height) / 2, 0.0), picture_px)


def face_frame(landmarks: np.ndarray, picture_px: tuple[int, int]) -> Frame:
    """The square that FFHQ's alignment cuts out (Karras et al., CVPR 2019; the formulae of its published script).

    The eyes lie level in it, and its size is the larger of 4 eye distances and 3.6 distances from eyes to mouth.

    Args:
        landmarks: (68, 2), iBUG's order, or (5, 2): the eye on the picture's left, the one on its right, the nose, the
            mouth's corner on the left, the one on the right.
        picture_px: width and height of the upright picture.

    Raises:
        InputError: another count of points, points that are not finite, or that are no face.
    """
    points = np.asarray(landmarks, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) not in _FACE_POINTS:
        raise InputError(f"expected 5 or 68 landmarks of x and y; got an array of {points.shape}")
    if not np.isfinite(points).all():
        raise InputError("the landmarks hold NaN or infinite numbers")
    if len(points) == 68:
        eyes = points[36:42].mean(0), points[42:48].mean(0)
        mouth = (points[48] + points[54]) / 2
    else:
        eyes = points[0], points[1]
        mouth = (points[3] + points[4]) / 2
    between, middle = eyes[1] - eyes[0], (eyes[0] + eyes[1]) / 2
    to_mouth = mouth - middle
    # Both the line of the eyes and the line down to the mouth, turned to the right, say where right is.
    way = between + np.asarray([to_mouth[1], -to_mouth[0]])
    # Positive where the mouth lies below the line of the eyes, seen upright, whatever way the face is turned.
    if between[0] * to_mouth[1] - between[1] * to_mouth[0] <= 1e-9 * (between @ between + to_mouth @ to_mouth):
        raise InputError("the landmarks are no face: expected left eye, right eye, and a mouth below them")
    right = way / math.hypot(*way) * max(2.0 * math.hypot(*between), 1.8 * math.hypot(*to_mouth))
    centre = middle + 0.1 * to_mouth
    frame = Frame((float(centre[0]), float(centre[1])), (float(right[0]), float(right[1])), picture_px)
    if frame.side > MOST_SHARE * max(picture_px) or not _inside(centre, picture_px):
        raise InputError(
            f"the landmarks do not belong to this picture of {picture_px[0]} x {picture_px[1]} px: their face would be "
            f"{frame.side:.0f} px wide about {centre[0]:.0f},{centre[1]:.0f}"
        )
    return frame


def read_landmarks(file: str | Path) -> np.ndarray:
    """Read landmarks: JSON ``[[x, y], ...]``, or text with x and y in every line (iBUG's .pts too).

    Returns:
        (N, 2) float64.

    Raises:
        InputError: no such file, or none of this kind.
    """
    path = Path(file)
    try:
        if path.stat().st_size > _MOST_LANDMARK_BYTES:
            raise InputError(f"{path}: expected a short list of landmarks; got a file of {path.stat().st_size} bytes")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected landmarks as text; got another kind of file") from None
    except OSError as error:
        raise InputError(f"{path}: expected a file of landmarks; got {error.strerror}") from None
    points = _json_points(text) if text.lstrip().startswith("[") else _text_points(text)
    if points is None or not len(points):
        raise InputError(f"{path}: expected x and y in every line, or JSON [[x, y], ...]; got something else")
    return points


def cut(picture: Image.Image, frame: Frame, size: int | None) -> Image.Image:
    """The frame's square of a picture, as a square picture; what lies outside is mirrored and blurred, as in FFHQ.

    Args:
        picture: mode L, RGB or F; it may be smaller than ``frame.picture_px``, of the same shape.
        frame: the square.
        size: side of the result in pixels; None keeps the frame's own, rounded.
    """
    scale = picture.size[0] / frame.picture_px[0], picture.size[1] / frame.picture_px[1]
    corners = frame.corners * np.asarray(scale)
    side = max(1, round(frame.side * scale[0])) if size is None else size
    inside = corners.min() >= 0 and (corners.max(0) <= np.asarray(picture.size)).all()
    if frame.is_upright and inside:
        box = (float(corners[0, 0]), float(corners[0, 1]), float(corners[2, 0]), float(corners[2, 1]))
        return picture.resize((side, side), Image.Resampling.BILINEAR, box=box)
    wide, offset = _padded(picture, corners)
    # One sample per pixel of the picture, or more, then an antialiased step down to the size.
    fine = side * max(1, math.ceil(_SUPERSAMPLING * frame.side * scale[0] / side))
    quad = tuple((corners + offset).flatten().tolist())
    turned = wide.transform((fine, fine), Image.Transform.QUAD, quad, Image.Resampling.BILINEAR)
    return turned.resize((side, side), Image.Resampling.BILINEAR)


def _padded(picture: Image.Image, corners: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """The part of a picture about a frame, continued where it ends; and what to add to the corners there."""
    side = float(np.linalg.norm(corners[3] - corners[0]))
    border = max(3, round(0.1 * side))
    width, height = picture.size
    low = np.floor(corners.min(0)).astype(int) - border
    high = np.ceil(corners.max(0)).astype(int) + border
    box = (max(0, low[0]), max(0, low[1]), min(width, high[0]), min(height, high[1]))
    part = picture.crop((int(box[0]), int(box[1]), int(box[2]), int(box[3])))
    beyond = (box[0] - low[0], box[1] - low[1], high[0] - box[2], high[1] - box[3])
    origin = -low.astype(float)
    if max(beyond) <= border:
        wanted = ((beyond[1], beyond[3]), (beyond[0], beyond[2]))
        return Image.fromarray(_mirrored(np.asarray(part), wanted)), origin
    pads = [max(int(edge), round(0.3 * side)) if edge > 0 else 0 for edge in beyond]
    levels = np.asarray(part).astype(np.float32)
    levels = levels[..., None] if levels.ndim == 2 else levels
    levels = _mirrored(levels, ((pads[1], pads[3]), (pads[0], pads[2]))).astype(np.float32)
    levels = _faded(levels, pads, blur=0.02 * side)
    origin = origin + np.asarray([pads[0] - beyond[0], pads[1] - beyond[1]])
    if picture.mode == "F":
        return Image.fromarray(levels[..., 0]), origin
    whole = np.rint(levels.clip(0, 255)).astype(np.uint8)
    return Image.fromarray(whole[..., 0] if picture.mode == "L" else whole), origin


def _mirrored(levels: np.ndarray, pads: tuple[tuple[int, int], tuple[int, int]]) -> np.ndarray:
    return np.pad(levels, (*pads, *[(0, 0)] * (levels.ndim - 2)), mode="symmetric")


def _faded(levels: np.ndarray, pads: list[int], *, blur: float) -> np.ndarray:
    """(H, W, C): blurred and drawn towards the median colour, the more the farther out in the padding (as FFHQ)."""
    height, width, _ = levels.shape
    left, top, right, bottom = pads
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    nearest_x = np.minimum(x / max(left, 1e-6), (width - 1 - x) / max(right, 1e-6))
    nearest_y = np.minimum(y / max(top, 1e-6), (height - 1 - y) / max(bottom, 1e-6))
    outside = 1.0 - np.minimum(nearest_x[None, :], nearest_y[:, None])[..., None]
    soft = np.stack([_blurred(levels[..., channel], blur) for channel in range(levels.shape[2])], axis=2)
    levels = levels + (soft - levels) * np.clip(3.0 * outside + 1.0, 0.0, 1.0)
    return levels + (np.median(levels, axis=(0, 1)) - levels) * np.clip(outside, 0.0, 1.0)


def _blurred(channel: np.ndarray, radius: float) -> np.ndarray:
    """Gaussian blur of (H, W) values, by way of 8 bits, which a blurred margin can do with."""
    low, high = float(channel.min()), float(channel.max())
    span = max(high - low, 1e-12)
    eight = Image.fromarray(np.rint((channel - low) / span * 255).astype(np.uint8))
    return np.asarray(eight.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) / 255 * span + low


def _inside(point: np.ndarray, picture_px: tuple[int, int]) -> bool:
    return bool((point >= 0).all() and (point <= np.asarray(picture_px)).all())


def _json_points(text: str) -> np.ndarray | None:
    try:
        points = np.asarray(json.loads(text), dtype=float)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    return points if points.ndim == 2 and points.shape[1] == 2 else None


def _text_points(text: str) -> np.ndarray | None:
    braces = re.search(r"\{(.*)\}", text, re.DOTALL)
    lines = [line.strip() for line in (braces.group(1) if braces else text).splitlines()]
    pairs = [re.fullmatch(rf"({_NUMBER})[\s,;]+({_NUMBER})", line) for line in lines if line and line[0] != "#"]
    if not all(pairs):
        return None
    return np.asarray([[float(number) for number in pair.groups()] for pair in pairs if pair], dtype=float)


def _text(box: tuple[float, ...]) -> str:
    return ",".join(f"{number:g}" for number in box)
