"""Pictures on disk ↔ signed tensors: the one place where value ranges are converted.

Inside the package images are RGB, (B, 3, H, W), float32 in [-1, 1]. Row 0 is the top, column 0 the left.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.io.files import write_bytes
from gan2shape.io.framing import Frame, cut

# Formats whose readers are part of every Pillow. EPS and the like start other programs and stay out.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MIN_SIDE_PX = 8
# 100 million pixels decode to at most 400 MB; a small file that unpacks to more is refused before it is unpacked.
MAX_PIXELS = 100_000_000

_ORIENTATION = 0x0112
_LYING = (5, 6, 7, 8)  # orientations of EXIF that exchange width and height
T = TypeVar("T")

_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


def read_image(path: str | Path, *, size: int | None = None, frame: Frame | None = None) -> Tensor:
    """Read a picture as the package sees it.

    Grey, palette, 16-bit, CMYK and RGBA pictures (transparency over white) become RGB; a colour profile is turned to
    sRGB; the camera's EXIF rotation is applied; a square is cut out, the centre one where no other is named; the resize
    is bilinear with antialiasing. Of an animation the first frame is read.

    Args:
        path: a picture of one of `FORMATS`.
        size: side in pixels to resize to; None keeps the picture's own.
        frame: the square to cut out of the upright picture; None means its centre square.

    Returns:
        (1, 3, size, size) float32 in [-1, 1].

    Raises:
        InputError: missing, not a picture, damaged, smaller than `MIN_SIDE_PX`, larger than `MAX_PIXELS`, or of another
            size than the frame's picture.
    """
    levels = _read(path, partial(_decode, size=size, frame=frame, background=1.0))  # (S, S, 3)
    return torch.from_numpy(levels).permute(2, 0, 1)[None].contiguous() * 2 - 1


def read_grey(path: str | Path, *, size: int | None = None, frame: Frame | None = None) -> Tensor:
    """Read a picture as grey values, for masks: like `read_image`, but transparency counts as black.

    Returns:
        (1, 1, size, size) float32 in [0, 1].

    Raises:
        InputError: as `read_image`.
    """
    levels = _read(path, partial(_decode, size=size, frame=frame, background=0.0))  # (S, S, 3)
    luma = levels @ np.asarray([0.299, 0.587, 0.114], dtype=np.float32)  # (S, S), ITU-R 601 as in Pillow
    return torch.from_numpy(luma.clip(0, 1))[None, None]


def read_alpha(path: str | Path, *, size: int | None = None, frame: Frame | None = None) -> Tensor | None:
    """Read how opaque a picture is, 1 = opaque, cut and resized as by `read_image`.

    Returns:
        (1, 1, size, size) float32 in [0, 1]; None for a picture without transparency.

    Raises:
        InputError: as `read_image`.
    """
    levels = _read(path, partial(_decode_alpha, size=size, frame=frame))
    return None if levels is None else torch.from_numpy(levels)[None, None]


def upright_size(path: str | Path) -> tuple[int, int]:
    """Width and height of a picture in pixels, after the camera's EXIF rotation.

    Raises:
        InputError: missing, not a picture, or too small or large.
    """

    def look(file: Path) -> tuple[int, int]:
        with Image.open(file, formats=FORMATS) as picture:
            _check_size(file, picture, picture.size)
            return _turned(picture, picture.size)

    return _read(path, look)


def to_uint8(image: Tensor) -> np.ndarray:
    """Signed image to 8-bit levels, rounded to the nearest and clamped.

    Args:
        image: (3, H, W) or (1, 3, H, W), [-1, 1].

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: another shape, or values that are not finite.
    """
    channels_first = _single(image, 3, "image")
    return _levels((channels_first + 1) / 2).transpose(1, 2, 0)


def encode_png(levels: np.ndarray) -> bytes:
    """PNG bytes of (H, W) or (H, W, 3) uint8, or of (H, W) uint16 levels."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(levels)).save(stream, format="PNG", optimize=False)
    return stream.getvalue()


def write_image(path: str | Path, image: Tensor) -> None:
    """Write a signed image, (3, H, W) or (1, 3, H, W), as 8-bit PNG. Raises `OutputError`, `ValueError`."""
    write_bytes(path, encode_png(to_uint8(image)))


def write_mask(path: str | Path, mask: Tensor) -> None:
    """Write a map in [0, 1] (mask or shading), (H, W), (1, H, W) or (1, 1, H, W), as 8-bit grey PNG, 1 = white.

    Values outside [0, 1] are clamped. Raises `OutputError`, `ValueError`.
    """
    write_bytes(path, encode_png(_levels(_single(mask, 1, "mask")[0])))


def write_normals(path: str | Path, normals: Tensor) -> None:
    """Write unit normals, (3, H, W) or (1, 3, H, W), as 8-bit PNG with the picture (n + 1) / 2.

    Raises `OutputError`, `ValueError`.
    """
    write_image(path, normals)  # (n + 1) / 2 is the same map as that of signed images.


def write_depth16(path: str | Path, depth: Tensor, *, near: float, far: float) -> None:
    """Write depth as 16-bit grey PNG: ``near`` is 65535 (white), ``far`` and beyond 0, and so are pixels not hit.

    Args:
        path: the PNG file.
        depth: (H, W), (1, H, W) or (1, 1, H, W) in scene units; NaN where nothing was hit.
        near, far: the depths of white and black, scene units, near < far.

    Raises:
        OutputError: the place cannot be written.
        ValueError: another shape, or near >= far.
    """
    if not near < far:
        raise ValueError(f"near must be less than far; got {near} and {far}")
    values = _array(depth, 1, "depth")[0]
    whiteness = np.nan_to_num((far - values) / (far - near), nan=0.0).clip(0, 1)
    write_bytes(path, encode_png(np.rint(whiteness * 65535).astype(np.uint16)))


def write_npy(path: str | Path, array: Tensor | np.ndarray) -> None:
    """Write an array in NumPy's format, as it is. Raises `OutputError`."""
    values = array.detach().cpu().numpy() if isinstance(array, Tensor) else array
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    write_bytes(path, stream.getvalue())


def _array(value: Tensor, channels: int, name: str) -> np.ndarray:
    """(channels, H, W) float64 on the CPU from a map with or without a batch of one (and, for one channel, (H, W))."""
    shaped = value[None] if value.dim() == 2 and channels == 1 else value
    shaped = shaped[0] if shaped.dim() == 4 and shaped.shape[0] == 1 else shaped
    if shaped.dim() != 3 or shaped.shape[0] != channels:
        raise ValueError(f"{name} must be ({channels}, H, W) or (1, {channels}, H, W); got {tuple(value.shape)}")
    return shaped.detach().cpu().double().numpy()


def _single(value: Tensor, channels: int, name: str) -> np.ndarray:
    values = _array(value, channels, name)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    return values


def _levels(unit: np.ndarray) -> np.ndarray:
    return np.rint(unit.clip(0, 1) * 255).astype(np.uint8)


def _read(path: str | Path, decode: Callable[[Path], T]) -> T:
    """What ``decode`` makes of a picture file, its failures told in one line."""
    file = Path(path)
    _check_is_file(file)
    try:
        with warnings.catch_warnings():
            # The limit on pixels is ours; Pillow's other warnings (odd EXIF and so on) do not concern the user.
            warnings.simplefilter("ignore")
            return decode(file)
    except Image.DecompressionBombError:
        raise InputError(_too_large(file, "a much larger one")) from None
    except UnidentifiedImageError:
        raise InputError(f"{file}: expected a picture ({', '.join(FORMATS)}); got another kind of file") from None
    except MemoryError:
        raise InputError(
            f"{file}: expected a picture that fits in memory; got too large a one; make it smaller"
        ) from None
    except _DAMAGED as error:
        if isinstance(error, PermissionError):
            raise InputError(
                f"{file}: expected a file you may read; got no permission; change its permissions"
            ) from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{file}: expected a whole picture; got a damaged one ({reason}); save it again") from None


def _check_is_file(file: Path) -> None:
    if os.path.isdir(file):
        raise InputError(f"{file}: expected a picture; got a folder; name a file in it")
    if not os.path.exists(file):
        raise InputError(f"{file}: expected a picture; got no such file; check the name")
    if not os.path.isfile(file):
        raise InputError(f"{file}: expected a picture; got something that is not a file; name a picture file")


def _decode(file: Path, *, size: int | None, frame: Frame | None, background: float) -> np.ndarray:
    """The square as (S, S, 3) float32 in [0, 1]; ``background`` shows through transparency."""
    with _upright(file, size, frame) as upright:
        if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
            grey = _square(Image.fromarray(_deep_grey(upright)), size, frame)
            return np.repeat(np.asarray(grey, dtype=np.float32)[..., None], 3, axis=2)
        # Without a frame, only the square has to be converted.
        part = upright if frame is not None else _centre_square(upright)
        return np.asarray(_square(_to_rgb(part, background), size, frame), dtype=np.float32) / 255


def _decode_alpha(file: Path, *, size: int | None, frame: Frame | None) -> np.ndarray | None:
    """Opacity (S, S) float32 in [0, 1]; None without any."""
    with _upright(file, size, frame) as upright:
        if not _has_alpha(upright):
            return None
        alpha = upright.convert("RGBA").getchannel("A")
        return np.asarray(_square(alpha, size, frame), dtype=np.float32) / 255


@contextlib.contextmanager
def _upright(file: Path, size: int | None, frame: Frame | None) -> Iterator[Image.Image]:
    """Check the header, then decode; JPEG files are decoded at a fraction of their size when that is enough."""
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1 px; got {size}")
    with Image.open(file, formats=FORMATS) as picture:
        width, height = picture.size
        if size is not None:
            # Twice the wanted size keeps the antialiased resize as good as from the full picture.
            part = 1.0 if frame is None else max(1e-6, min(1.0, frame.side / min(width, height)))
            picture.draft(None, (math.ceil(2 * size / part), math.ceil(2 * size / part)))
        _check_size(file, picture, (width, height))
        upright_px = _turned(picture, (width, height))
        if frame is not None and frame.picture_px != upright_px:
            expected, got = ("{} x {} px".format(*px) for px in (frame.picture_px, upright_px))
            raise InputError(f"{file}: expected a picture of {expected}, as its frame is for; got one of {got}")
        picture.load()
        yield ImageOps.exif_transpose(picture)


def _check_size(file: Path, picture: Image.Image, stored: tuple[int, int]) -> None:
    """Refuse a picture that is too small, or, at the size it is about to be decoded at, too large."""
    width, height = stored
    if min(stored) < MIN_SIDE_PX:
        raise InputError(
            f"{file}: expected a picture of at least {MIN_SIDE_PX} x {MIN_SIDE_PX} px; got {width} x {height} px; "
            "use a larger one"
        )
    if picture.size[0] * picture.size[1] > MAX_PIXELS:
        raise InputError(_too_large(file, f"{width} x {height} px"))


def _turned(picture: Image.Image, stored: tuple[int, int]) -> tuple[int, int]:
    """Width and height after the camera's rotation; a PNG is decoded to find that, so its size is checked before."""
    width, height = stored
    return (height, width) if picture.getexif().get(_ORIENTATION) in _LYING else (width, height)


def _square(picture: Image.Image, size: int | None, frame: Frame | None) -> Image.Image:
    """The wanted square of a picture in L, RGB or F, resized."""
    if frame is not None:
        return cut(picture, frame, size)
    square = _centre_square(picture)
    return square.resize(square.size if size is None else (size, size), Image.Resampling.BILINEAR)


def _too_large(file: Path, got: str) -> str:
    return f"{file}: expected a picture of at most {MAX_PIXELS // 1_000_000} million pixels; got {got}; make it smaller"


def _centre_square(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    side = min(width, height)
    if width == height:
        return picture
    left, top = (width - side) // 2, (height - side) // 2
    return picture.crop((left, top, left + side, top + side))


def _deep_grey(square: Image.Image) -> np.ndarray:
    """(H, W) float32 in [0, 1] of a grey picture of 16 bits (65535 = white) or of floating point (1 = white)."""
    values = np.asarray(square, dtype=np.float32)
    if square.mode != "F":
        return (values / 65535).clip(0, 1)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise ValueError("floating-point values outside 0 to 1")
    return values


def _to_rgb(square: Image.Image, background: float) -> Image.Image:
    profile = square.info.get("icc_profile")
    if _has_alpha(square):
        layers = square.convert("RGBA")
        alpha = layers.getchannel("A")
        canvas = Image.new("RGB", square.size, (round(background * 255),) * 3)
        canvas.paste(_to_srgb(layers.convert("RGB"), profile), mask=alpha)
        return canvas
    return _to_srgb(square, profile)


def _has_alpha(picture: Image.Image) -> bool:
    return picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info


def _to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB in sRGB; a profile that is missing, broken, or not for this kind of pixels is left out of account."""
    plain = picture.convert("RGB") if picture.mode in ("P", "1") else picture
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" in ImageCms.getProfileDescription(source) and plain.mode == "RGB":
                return plain
            turned = ImageCms.profileToProfile(plain, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if turned is not None:
                return turned
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass  # A damaged profile is left out, as viewers do; the colours are then those of the file.
    return plain.convert("RGB")
