"""Pictures of every kind a user may have, built here, and the values that must come out."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from gan2shape.errors import InputError
from gan2shape.io.images import (
    MAX_PIXELS,
    MIN_SIDE_PX,
    encode_png,
    read_grey,
    read_image,
    to_uint8,
    write_depth16,
    write_image,
    write_mask,
    write_normals,
    write_npy,
)

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(side: int = 16) -> np.ndarray:
    """(side, side, 3): red top-left, green top-right, blue bottom-left, white bottom-right."""
    half = side // 2
    picture = np.zeros((side, side, 3), dtype=np.uint8)
    picture[:half, :half], picture[:half, half:] = RED, GREEN
    picture[half:, :half], picture[half:, half:] = BLUE, WHITE
    return picture


def colours(image: torch.Tensor) -> list[tuple[int, ...]]:
    """Levels at the centres of the four quarters, row by row."""
    levels = to_uint8(image)
    low, high = levels.shape[0] // 4, 3 * levels.shape[0] // 4
    return [tuple(int(v) for v in levels[r, c]) for r in (low, high) for c in (low, high)]


def saved(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


def test_rgb_values_and_orientation(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path / "a.png", Image.fromarray(quarters())))
    assert image.shape == (1, 3, 16, 16)
    assert image.dtype == torch.float32
    assert torch.equal(image[0, :, 0, 0], torch.tensor([1.0, -1.0, -1.0]))
    assert colours(image) == [RED, GREEN, BLUE, WHITE]


def test_eight_bit_pictures_survive_a_round_trip_exactly(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    image = read_image(saved(tmp_path / "a.png", Image.fromarray(levels)))
    write_image(tmp_path / "b.png", image)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), levels)


def test_grey_and_bilevel(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(16, dtype=np.uint8) * 17, (16, 1))
    image = read_image(saved(tmp_path / "grey.png", Image.fromarray(ramp)))
    assert np.array_equal(to_uint8(image), np.repeat(ramp[..., None], 3, axis=2))
    bits = Image.fromarray(ramp > 100).convert("1")
    assert torch.equal(
        read_image(saved(tmp_path / "bits.png", bits)), torch.tensor(ramp > 100).expand(1, 3, -1, -1) * 2.0 - 1
    )


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    palette = Image.fromarray(quarters()).quantize(4)
    assert palette.mode == "P"
    assert colours(read_image(saved(tmp_path / "a.png", palette))) == [RED, GREEN, BLUE, WHITE]
    assert colours(read_image(saved(tmp_path / "a.gif", palette))) == [RED, GREEN, BLUE, WHITE]
    index_of_blue = palette.getpixel((0, 15))
    file = saved(tmp_path / "b.png", palette, transparency=index_of_blue)
    assert colours(read_image(file)) == [RED, GREEN, WHITE, WHITE]


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    alpha = np.full((16, 16, 1), 255, dtype=np.uint8)
    alpha[:8], alpha[8:, :8] = 128, 0
    file = saved(tmp_path / "a.png", Image.fromarray(np.concatenate([quarters(), alpha], axis=2)))
    half = round(255 * (1 - 128 / 255))
    assert colours(read_image(file)) == [(255, half, half), (half, 255, half), WHITE, WHITE]
    grey_alpha = Image.merge("LA", [Image.new("L", (16, 16), 0), Image.new("L", (16, 16), 51)])
    assert colours(read_image(saved(tmp_path / "la.png", grey_alpha))) == [(204, 204, 204)] * 4


def test_sixteen_bit_grey_keeps_its_precision(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    image = read_image(saved(tmp_path / "a.png", Image.fromarray(values)))
    expected = torch.from_numpy(values.astype(np.float64) / 65535 * 2 - 1)
    assert (image.double() - expected).abs().max() < 1e-6
    tiff = read_image(saved(tmp_path / "a.tif", Image.fromarray(values)))
    assert torch.equal(tiff, image)


def test_sixteen_bit_colour_png(tmp_path: Path) -> None:
    """Pillow cannot write one, so the chunks are put together here (PNG specification, colour type 2, depth 16)."""
    levels = quarters().astype(np.uint16) * 257
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in levels)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    assert colours(read_image(tmp_path / "a.png")) == [RED, GREEN, BLUE, WHITE]


def test_floating_point_tiff(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    image = read_image(saved(tmp_path / "a.tif", Image.fromarray(values)))
    assert torch.equal(image[0, 0], torch.from_numpy(values) * 2 - 1)
    with pytest.raises(InputError, match="outside 0 to 1"):
        read_image(saved(tmp_path / "b.tif", Image.fromarray(values * 900)))


def test_cmyk_jpeg(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.jpg", Image.fromarray(quarters(32)).convert("CMYK"), quality=100, subsampling=0)
    assert Image.open(file).mode == "CMYK"
    for got, expected in zip(colours(read_image(file)), [RED, GREEN, BLUE, WHITE], strict=True):
        assert np.abs(np.subtract(got, expected)).max() <= 6


EXIF_TURNS = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, 1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_cameras_rotation_is_undone(tmp_path: Path, orientation: int) -> None:
    """What the sensor stored for each value of the EXIF tag is written out here; 6 means: turn clockwise to view."""
    stored = np.ascontiguousarray(EXIF_TURNS[orientation](quarters(32)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(tmp_path / "a.png", Image.fromarray(stored), exif=exif)
    assert colours(read_image(file)) == [RED, GREEN, BLUE, WHITE]
    file = saved(tmp_path / "a.jpg", Image.fromarray(stored), exif=exif, quality=100, subsampling=0)
    for got, expected in zip(colours(read_image(file)), [RED, GREEN, BLUE, WHITE], strict=True):
        assert np.abs(np.subtract(got, expected)).max() <= 4


def swapped_profile() -> bytes:
    """An sRGB profile whose red and green primaries are exchanged, made by exchanging two tags of the file format."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile = profile.replace(b"rXYZ", b"tmpX").replace(b"gXYZ", b"rXYZ").replace(b"tmpX", b"gXYZ")
    return bytes(profile.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be")))


def test_a_colour_profile_is_turned_to_srgb(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", Image.fromarray(quarters()), icc_profile=swapped_profile())
    for got, expected in zip(colours(read_image(file)), [GREEN, RED, BLUE, WHITE], strict=True):
        assert np.abs(np.subtract(got, expected)).max() <= 3


def test_srgb_and_broken_profiles_change_nothing(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, profile in {"srgb": srgb, "broken": b"not a profile" * 20}.items():
        file = saved(tmp_path / f"{name}.png", Image.fromarray(quarters()), icc_profile=profile)
        assert colours(read_image(file)) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("width, height", [(40, 16), (16, 40), (17, 16), (16, 19)])
def test_a_picture_that_is_not_square_is_cut_to_its_centre(tmp_path: Path, width: int, height: int) -> None:
    wide = np.zeros((height, width, 3), dtype=np.uint8)
    wide[..., 0], wide[..., 1] = np.arange(width)[None], np.arange(height)[:, None]
    levels = to_uint8(read_image(saved(tmp_path / "a.png", Image.fromarray(wide))))
    left, top = (width - 16) // 2, (height - 16) // 2
    assert np.array_equal(levels, wide[top : top + 16, left : left + 16])


def test_the_resize_is_antialiased_and_centred(tmp_path: Path) -> None:
    stripes = np.tile(np.asarray([0, 255], dtype=np.uint8), (64, 32))
    small = read_image(saved(tmp_path / "a.png", Image.fromarray(stripes)), size=8)
    assert small[..., 1:-1].abs().max() < 0.02  # A plain bilinear resize would pick stripes: -1 or 1.
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    smaller = to_uint8(read_image(saved(tmp_path / "b.png", Image.fromarray(ramp)), size=16))[0, :, 0].astype(float)
    centres = (np.arange(16) * 4 + 1.5) * 4  # The mean of the four pixels under each new one.
    assert np.abs(smaller - centres)[1:-1].max() <= 0.5


def test_a_large_jpeg_is_reduced_while_decoding_and_looks_the_same(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.jpg", Image.fromarray(quarters(1024)), quality=95)
    image = read_image(file, size=32)
    for got, expected in zip(colours(image), [RED, GREEN, BLUE, WHITE], strict=True):
        assert np.abs(np.subtract(got, expected)).max() <= 4


def header_only_png(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"\x00" * 1000)
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, body, b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("side", [20_000, 12_000])
def test_a_picture_beyond_the_limit_is_refused_before_it_is_unpacked(tmp_path: Path, side: int) -> None:
    (tmp_path / "a.png").write_bytes(header_only_png(side, side))
    assert side * side > MAX_PIXELS
    with pytest.raises(InputError, match="at most 100 million pixels"):
        read_image(tmp_path / "a.png", size=64)


def test_twenty_thousand_pixels_wide_within_the_limit(tmp_path: Path) -> None:
    wide = np.zeros((100, 20_000), dtype=np.uint8)
    wide[:, 9_950:10_050] = 200
    assert torch.equal(
        read_image(saved(tmp_path / "a.png", Image.fromarray(wide)), size=16),
        torch.full((1, 3, 16, 16), 200 / 255 * 2 - 1),
    )


def truncated(picture: Image.Image, form: str) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format=form)
    return stream.getvalue()[: int(len(stream.getvalue()) * 0.6)]


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
BAD = {
    "not a picture": (b"hello, this is a text\n" * 10, "another kind of file"),
    "empty": (b"", "another kind of file"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", "another kind of file"),
    "cut png": (truncated(NOISE, "PNG"), "damaged"),
    "cut jpeg": (truncated(NOISE, "JPEG"), "damaged"),
    "cut gif": (truncated(NOISE.quantize(), "GIF"), "damaged|another kind"),
    "cut webp": (truncated(NOISE, "WEBP"), "damaged|another kind"),
    "cut tiff": (truncated(NOISE, "TIFF"), "damaged|another kind"),
    "png header only": (b"\x89PNG\r\n\x1a\n", "damaged|another kind"),
}


@pytest.mark.parametrize("case", BAD)
def test_files_that_are_no_whole_pictures(tmp_path: Path, case: str) -> None:
    content, said = BAD[case]
    file = tmp_path / "a.png"
    file.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read_image(file)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{file}: expected")


def test_places_that_hold_no_picture(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path / ("n" * 300 + ".png"))
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(InputError, match="got a folder"):
        read_image(tmp_path)
    with pytest.raises(InputError, match="not a file"):
        read_image("/dev/null")


@pytest.mark.parametrize("width, height", [(1, 1), (MIN_SIDE_PX - 1, 100), (100, MIN_SIDE_PX - 1)])
def test_a_picture_that_is_too_small(tmp_path: Path, width: int, height: int) -> None:
    file = saved(tmp_path / "a.png", Image.new("RGB", (width, height)))
    with pytest.raises(InputError, match=f"at least 8 x 8 px; got {width} x {height} px"):
        read_image(file)
    assert read_image(saved(tmp_path / "b.png", Image.new("RGB", (MIN_SIDE_PX, MIN_SIDE_PX)))).shape[-1] == MIN_SIDE_PX


def test_a_file_without_read_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path / "a.png", Image.new("RGB", (16, 16)))

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refused)
    with pytest.raises(InputError, match="no permission"):
        read_image(file)


def test_tiff_of_several_pages_and_animations_give_the_first(tmp_path: Path) -> None:
    first, second = Image.fromarray(quarters()), Image.new("RGB", (16, 16))
    for name in ("a.tif", "a.gif", "a.png"):
        first.save(tmp_path / name, save_all=True, append_images=[second])
        assert colours(read_image(tmp_path / name)) == [RED, GREEN, BLUE, WHITE]


def test_masks_are_read_as_grey_over_black(tmp_path: Path) -> None:
    levels = np.zeros((16, 16, 4), dtype=np.uint8)
    levels[..., :3] = 255
    levels[:8, :, 3] = 255
    mask = read_grey(saved(tmp_path / "a.png", Image.fromarray(levels)))
    assert mask.shape == (1, 1, 16, 16)
    assert torch.allclose(mask[0, 0, :8], torch.ones(8, 16))
    assert torch.equal(mask[0, 0, 8:], torch.zeros(8, 16))


def test_sixteen_bit_depth_values(tmp_path: Path) -> None:
    depth = torch.tensor([[0.9, 1.0], [1.1, float("nan")], [0.5, 1.2]])
    write_depth16(tmp_path / "d.png", depth, near=0.9, far=1.1)
    picture = Image.open(tmp_path / "d.png")
    values = np.asarray(picture)
    assert values.dtype == np.uint16 or picture.mode == "I"
    assert values.tolist() == [[65535, 32768], [0, 0], [65535, 0]]
    content = (tmp_path / "d.png").read_bytes()
    assert content[24:26] == bytes([16, 0])  # Bit depth 16, colour type 0 (grey), in the header of the PNG itself.


def test_mask_and_normal_pictures(tmp_path: Path) -> None:
    write_mask(tmp_path / "m.png", torch.tensor([[[[0.0, 0.5, 1.0, 1.7]]]]))
    assert np.asarray(Image.open(tmp_path / "m.png")).tolist() == [[0, 128, 255, 255]]
    normals = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).T[:, None]  # (3, 1, 3)
    write_normals(tmp_path / "n.png", normals)
    assert np.asarray(Image.open(tmp_path / "n.png")).tolist() == [[[128, 128, 255], [0, 128, 128], [128, 255, 128]]]


def test_arrays_are_written_bit_for_bit(tmp_path: Path) -> None:
    values = torch.tensor([[0.1, float("nan")], [3e-40, -0.0]])
    write_npy(tmp_path / "a.npy", values)
    assert np.load(tmp_path / "a.npy", allow_pickle=False).tobytes() == values.numpy().tobytes()


def test_wrong_values_are_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be"):
        write_image(tmp_path / "a.png", torch.zeros(2, 3, 8, 8))
    with pytest.raises(ValueError, match="finite"):
        write_image(tmp_path / "a.png", torch.full((3, 8, 8), float("nan")))
    with pytest.raises(ValueError, match="less than far"):
        write_depth16(tmp_path / "a.png", torch.zeros(8, 8), near=1.1, far=0.9)
    assert list(tmp_path.iterdir()) == []


def test_encoded_levels_are_a_png() -> None:
    assert encode_png(np.zeros((4, 4), dtype=np.uint8)).startswith(b"\x89PNG")
