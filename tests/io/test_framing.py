"""Squares of pictures whose colours are their coordinates, so that every pixel says where it came from."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gan2shape.errors import InputError
from gan2shape.io.framing import Frame, centre_frame, crop_frame, cut, face_frame, read_landmarks
from gan2shape.io.images import read_alpha, read_grey, read_image, to_uint8, upright_size

WIDTH, HEIGHT = 120, 90
FACE = np.asarray([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-0.7, 2.2], [0.7, 2.2]])
"""Eyes 2 apart, mouth 2.2 below: FFHQ's side is max(4 · 2, 3.6 · 2.2) = 8, the centre 0.22 below the eyes."""


def coordinates() -> Image.Image:
    """Red is twice the column, green twice the row (of pixel centres)."""
    levels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    levels[..., 0], levels[..., 1] = 2 * np.arange(WIDTH)[None], 2 * np.arange(HEIGHT)[:, None]
    return Image.fromarray(levels)


def face_at(x: float, y: float, scale: float, degrees: float) -> np.ndarray:
    """The five landmarks, turned clockwise as seen."""
    turn = np.exp(1j * math.radians(degrees)) * scale
    points = (FACE[:, 0] + 1j * FACE[:, 1]) * turn + x + 1j * y
    return np.stack([points.real, points.imag], axis=1)


def sixty_eight(five: np.ndarray) -> np.ndarray:
    """iBUG's points with the same eye centres and mouth corners; the others lie anywhere."""
    points = np.full((68, 2), 1e3)
    ring = np.stack([np.cos(np.arange(6) * np.pi / 3), np.sin(np.arange(6) * np.pi / 3)], axis=1)
    points[36:42], points[42:48] = five[0] + ring, five[1] + ring
    points[48], points[54] = five[3], five[4]
    return points


def test_a_crop_by_hand_gives_exactly_those_pixels(tmp_path: Path) -> None:
    coordinates().save(tmp_path / "a.png")
    frame = crop_frame((10, 20, 40, 40), upright_size(tmp_path / "a.png"))
    levels = to_uint8(read_image(tmp_path / "a.png", frame=frame))
    assert np.array_equal(levels, np.asarray(coordinates())[20:60, 10:50])
    wide = read_image(tmp_path / "a.png", frame=crop_frame((10, 20, 60, 40), (WIDTH, HEIGHT)))
    assert np.array_equal(to_uint8(wide), np.asarray(coordinates())[20:60, 20:60])


def test_the_centre_frame_is_what_is_read_without_a_frame(tmp_path: Path) -> None:
    coordinates().save(tmp_path / "a.png")
    for size in (None, 30):
        framed = read_image(tmp_path / "a.png", size=size, frame=centre_frame((WIDTH, HEIGHT)))
        assert torch.allclose(framed, read_image(tmp_path / "a.png", size=size), atol=2 / 255 + 1e-6)


def test_a_crop_counts_in_the_upright_picture(tmp_path: Path) -> None:
    """Orientation 6: the camera stored the picture lying on its left side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    coordinates().transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    assert upright_size(tmp_path / "a.png") == (WIDTH, HEIGHT)
    levels = to_uint8(read_image(tmp_path / "a.png", frame=crop_frame((10, 20, 40, 40), (WIDTH, HEIGHT))))
    assert np.array_equal(levels, np.asarray(coordinates())[20:60, 10:50])


def test_a_large_jpeg_is_cropped_as_finely_as_a_whole_one(tmp_path: Path) -> None:
    big = coordinates().resize((WIDTH * 16, HEIGHT * 16), Image.Resampling.NEAREST)
    big.save(tmp_path / "a.jpg", quality=95)
    frame = crop_frame((160, 320, 640, 640), upright_size(tmp_path / "a.jpg"))
    levels = to_uint8(read_image(tmp_path / "a.jpg", size=40, frame=frame)).astype(int)
    assert np.abs(levels - np.asarray(coordinates())[20:60, 10:50].astype(int))[..., :2].max() <= 4


@pytest.mark.parametrize("degrees", [0, 25, -40, 170])
def test_a_face_is_cut_level_and_at_its_place(degrees: float) -> None:
    """Every pixel of the cut must hold the coordinates that a similarity through the face says."""
    frame = face_frame(face_at(60, 45, 5, degrees), (WIDTH, HEIGHT))
    assert frame.side == pytest.approx(40)
    levels = np.asarray(cut(coordinates(), frame, 20)).astype(float)
    place = (np.arange(20) + 0.5) / 20 * 8 - 4  # In units of the face, right and down of the frame's centre.
    x, y = np.meshgrid(place, place + 0.22)
    where = (x + 1j * y) * 5 * np.exp(1j * math.radians(degrees)) + 60 + 45j - (0.5 + 0.5j)
    for channel, expected in enumerate((2 * where.real, 2 * where.imag)):
        error = levels[..., channel] - expected
        assert np.abs(error).max() <= 2  # One pixel; Pillow cuts fractions of a level off.
        assert abs(error.mean()) <= 1


@settings(deadline=None, max_examples=30)
@given(st.floats(20, 100), st.floats(20, 70), st.floats(1, 20), st.floats(-180, 180), st.floats(0.3, 3), st.booleans())
def test_the_frame_is_that_of_the_published_script(
    x: float, y: float, scale: float, degrees: float, tall: float, many: bool
) -> None:
    """recreate_aligned_images of the FFHQ repository, written with complex numbers."""
    five = face_at(x, y, scale, degrees) * [1, 1]
    middle = five[:2].mean(0)
    five[3:] = middle + tall * (five[3:] - middle)
    eyes, mouth = five[:2] @ [1, 1j], five[3:] @ [1, 1j]
    to_eye, to_mouth = eyes[1] - eyes[0], mouth.mean() - eyes.mean()
    way = to_eye - 1j * to_mouth
    right = way / abs(way) * max(2.0 * abs(to_eye), 1.8 * abs(to_mouth))
    centre = eyes.mean() + 0.1 * to_mouth
    corners = np.asarray([centre + right * turn for turn in (-1 - 1j, -1 + 1j, 1 + 1j, 1 - 1j)])
    frame = face_frame(sixty_eight(five) if many else five, (1000, 1000))
    assert np.allclose(frame.corners @ [1, 1j], corners, atol=1e-6)
    assert np.allclose(frame.scaled(2).corners.mean(0), frame.corners.mean(0))
    assert frame.scaled(2).side == pytest.approx(2 * frame.side)


def test_what_lies_outside_continues_the_picture() -> None:
    plain = Image.new("RGB", (60, 60), (200, 100, 50))
    levels = np.asarray(cut(plain, face_frame(face_at(20, 20, 10, 15), (60, 60)), 32)).astype(int)
    assert np.abs(levels - [200, 100, 50]).max() <= 1
    frame = Frame((0.0, 45.0), (20.0, 0.0), (WIDTH, HEIGHT))
    levels = np.asarray(cut(coordinates(), frame, 40)).astype(int)
    inner, outer = levels[:, 21:25, 0].mean(), levels[:, 15:19, 0].mean()
    assert abs(inner - outer) < 8  # Mirrored: both sides of the edge are dark, black is never pasted in.
    assert np.abs(levels[:, 25:, 0] - 2 * np.arange(5, 20)[None]).max() <= 2


def test_masks_and_opacity_are_cut_like_their_picture(tmp_path: Path) -> None:
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[20:60, 10:30] = 255
    Image.merge("RGBA", [*coordinates().split(), Image.fromarray(alpha)]).save(tmp_path / "a.png")
    Image.fromarray(alpha).save(tmp_path / "mask.png")
    frame = crop_frame((10, 20, 40, 40), (WIDTH, HEIGHT))
    expected = torch.cat([torch.ones(40, 20), torch.zeros(40, 20)], dim=1)[None, None]
    opacity = read_alpha(tmp_path / "a.png", frame=frame)
    assert opacity is not None
    assert torch.equal(opacity, expected)
    assert torch.allclose(read_grey(tmp_path / "mask.png", frame=frame), expected)
    assert read_alpha(tmp_path / "mask.png") is None
    deep = Image.fromarray(alpha.astype(np.uint16) * 257)
    deep.save(tmp_path / "deep.png")
    assert torch.allclose(read_grey(tmp_path / "deep.png", frame=frame), expected)
    Image.new("L", (40, 40)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match="expected a picture of 120 x 90 px, as its frame is for; got one of 40 x 40"):
        read_grey(tmp_path / "small.png", frame=frame)


def test_landmarks_are_read_from_json_text_and_pts(tmp_path: Path) -> None:
    points = face_at(60, 45, 5, 10)
    rows = [f"{x!r} {y!r}" for x, y in points.tolist()]
    texts = {
        "a.json": json.dumps(points.tolist()),
        "a.txt": "# eyes first\n" + "\n".join(rows) + "\n",
        "a.csv": "\n".join(row.replace(" ", ",") for row in rows),
        "a.pts": "version: 1\nn_points: 5\n{\n" + "\n".join(rows) + "\n}\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert np.array_equal(read_landmarks(tmp_path / name), points), name


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1, 2]", "[[1, 2, 3]]", '[["a", "b"]]', "1 2\n3\n", "x y\n", "[" * 5000, f"[[1{'0' * 400}, 1]]"],
    ids=lambda text: text[:8],
)
def test_other_texts_are_no_landmarks(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="expected x and y in every line"):
        read_landmarks(tmp_path / "a.txt")


def test_bad_landmark_files_and_faces_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_landmarks(tmp_path / "none.txt")
    (tmp_path / "a.bin").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match="as text"):
        read_landmarks(tmp_path / "a.bin")
    face = face_at(60, 45, 5, 0)
    for wrong, words in (
        (face[:4], "5 or 68"),
        (face * np.nan, "NaN"),
        (face[[1, 0, 2, 3, 4]], "no face"),
        (face * 0 + 50, "no face"),
        (face * 50, "do not belong"),
        (face + 500, "do not belong"),
    ):
        with pytest.raises(InputError, match=words):
            face_frame(wrong, (WIDTH, HEIGHT))


@pytest.mark.parametrize(
    "box, words",
    [
        ((-1, 0, 10, 10), "inside the picture of 120 x 90 px"),
        ((100, 0, 40, 40), "ends at 140,40"),
        ((0, 0, 0, 10), "at least 1 x 1"),
        ((0, 0, math.nan, 10), "at least 1 x 1"),
    ],
)
def test_impossible_crops_are_named(box: tuple[float, float, float, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        crop_frame(box, (WIDTH, HEIGHT))
