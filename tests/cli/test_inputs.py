"""Masks by --mask: what the maskers are shown of a photo, and where their masks come to lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan2shape.cli import inputs
from gan2shape.errors import InputError
from gan2shape.io.framing import crop_frame
from gan2shape.io.images import read_image
from gan2shape.reconstruct.target import Framing

SIZE = 24
FRAMING = Framing(SIZE, SIZE, SIZE)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The pictures that rembg was shown; the stand-in for it finds what is bright."""
    pictures: list[Tensor] = []

    def bright(image: Tensor) -> Tensor:
        pictures.append(image)
        return image[:, :1] / 2 + 0.5

    monkeypatch.setattr(inputs, "cutout_mask", bright)
    return pictures


def photo(folder: Path, width: int, height: int) -> Path:
    """Grey, brighter towards the lower right corner, nowhere darker than the middle, and free of detail."""
    levels = 128 + 127 * (np.arange(height)[:, None] / height + np.arange(width)[None] / width) / 2
    Image.fromarray(levels.astype(np.uint8)).save(folder / "photo.png")
    return folder / "photo.png"


@pytest.mark.parametrize("box", [None, (40, 20, 60, 60), (100, 70, 20, 20), (0, 0, 30, 30), (0, 0, 100, 90)])
def test_a_mask_from_around_the_frame_lies_where_the_frame_does(
    box: tuple[float, float, float, float] | None, tmp_path: Path, shown: list[Tensor]
) -> None:
    file = photo(tmp_path, 150, 100)
    frame = None if box is None else crop_frame(box, (150, 100))
    picture = read_image(file, size=SIZE, frame=frame)
    mask = inputs.fixed_masker("rembg", picture, FRAMING, file, frame)(picture)
    assert mask.shape == (1, 1, SIZE, SIZE)
    # The stand-in makes the mask from the brightness, so that it has to be the picture's own, cut without context.
    assert (mask - (picture[:, :1] / 2 + 0.5)).abs().max() < 0.03
    assert shown[0].shape == (1, 3, inputs.SIDE_PX, inputs.SIDE_PX)
    assert shown[0].max() - shown[0].min() > picture.max() - picture.min() + 0.05


def test_a_square_photo_is_shown_as_it_is_and_a_sample_at_its_own_size(tmp_path: Path, shown: list[Tensor]) -> None:
    file = photo(tmp_path, 90, 90)
    picture = read_image(file, size=SIZE)
    inputs.fixed_masker("rembg", picture, FRAMING, file)
    inputs.fixed_masker("rembg", picture, FRAMING, 7)
    assert torch.equal(shown[0], read_image(file, size=inputs.SIDE_PX))
    assert torch.equal(shown[1], picture)


def test_an_object_beside_the_frame_is_none_inside_it(tmp_path: Path, shown: list[Tensor]) -> None:
    levels = np.zeros((100, 150), np.uint8)
    levels[:, 90:] = 255
    Image.fromarray(levels).save(tmp_path / "photo.png")
    frame = crop_frame((10, 20, 60, 60), (150, 100))
    picture = read_image(tmp_path / "photo.png", size=SIZE, frame=frame)
    with pytest.raises(InputError, match=r"photo\.png: --mask rembg finds no object in the part"):
        inputs.fixed_masker("rembg", picture, FRAMING, tmp_path / "photo.png", frame)
    assert shown[0].max() > 0.9


@pytest.mark.parametrize("name", ["alpha", "rembg", "FILE"])
def test_a_mask_is_cut_to_the_part_of_the_picture_that_the_settings_use(
    name: str, tmp_path: Path, shown: list[Tensor]
) -> None:
    levels = np.asarray(Image.open(photo(tmp_path, 2 * SIZE, 2 * SIZE)))
    file = tmp_path / "transparent.png"
    Image.fromarray(np.stack([levels] * 4, axis=2), "RGBA").save(file)
    if name == "rembg":
        file = tmp_path / "photo.png"
    picture = read_image(file, size=2 * SIZE)
    framing = Framing(2 * SIZE, SIZE // 2, SIZE)
    mask = inputs.fixed_masker(str(tmp_path / "photo.png") if name == "FILE" else name, picture, framing, file)(picture)
    middle = torch.from_numpy(levels / 255.0)[SIZE // 2 : -SIZE // 2, SIZE // 2 : -SIZE // 2]
    expected = middle.reshape(SIZE // 2, 2, SIZE // 2, 2).mean((1, 3))  # Averages of 2 x 2 pixels of the middle half.
    assert (mask[0, 0] - expected).abs().max() < 0.01
