"""Masks: files, none, and the classical segmentation on scenes with known objects that no benchmark holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan2shape.errors import InputError
from gan2shape.io.framing import crop_frame
from gan2shape.priors import auto_mask, no_mask, read_mask


def _noise(rng: np.random.Generator, size: int, cells: int, channels: int = 3) -> np.ndarray:
    """(size, size, channels) smooth noise in about [-1, 1] with `cells` bumps a side."""
    maps = []
    for _ in range(channels):
        grid = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
        maps.append(np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC)))
    return np.stack(maps, axis=-1)


def _scene(seed: int, kind: str, texture: float, size: int = 64) -> tuple[torch.Tensor, np.ndarray]:
    """A shaded object on a background with a gradient and a texture: signed picture (1, 3, S, S), truth (S, S)."""
    rng = np.random.default_rng(seed)
    background = rng.uniform(0.15, 0.85, 3) + 0.06 * _noise(rng, size, 2)
    background = background + texture * _noise(rng, size, 12, 1) + texture / 2 * _noise(rng, size, 12)
    colour = rng.uniform(0.1, 0.9, 3)
    # Neither of the object's colours may be the background's: half an object would then be hidden from anyone.
    while min(np.abs(shade - background.mean(axis=(0, 1))).max() for shade in (colour, 1 - colour)) < 0.3:
        colour = rng.uniform(0.1, 0.9, 3)
    x0, y0 = size / 2 + rng.uniform(-0.1, 0.1, 2) * size
    radius = rng.uniform(0.22, 0.38) * size
    y, x = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    disc = np.hypot(x - x0, y - y0) < radius
    truth = {
        "disc": disc,
        "bust": disc | ((np.abs(x - x0) < 0.45 * radius) & (y > y0)),  # reaches the bottom
        "band": np.abs(y - y0) < 0.6 * radius,  # touches both sides
        "two colours": disc,
    }[kind]
    shading = np.clip(1 - 0.5 * ((x - x0) * 0.6 + (y - y0) * 0.5) / radius, 0.5, 1.4)[..., None]
    surface = np.clip(colour * shading + texture * _noise(rng, size, 9), 0, 1)
    if kind == "two colours":
        surface = np.where((y < y0)[..., None], surface, (1 - colour) * shading)
    picture = np.where(truth[..., None], surface, background) + rng.normal(0, 0.01, (size, size, 3))
    signed = torch.from_numpy(np.clip(picture, 0, 1)).permute(2, 0, 1)[None].float() * 2 - 1
    return signed, truth


def _iou(mask: torch.Tensor, truth: np.ndarray) -> float:
    found = mask[0, 0].numpy() > 0.5
    return float((found & truth).sum() / (found | truth).sum())


# The third texture is as strong as the object's own contrast in places; it may cost accuracy, not the object.
@pytest.mark.parametrize(("texture", "least"), [(0.0, 0.95), (0.05, 0.95), (0.15, 0.85)])
@pytest.mark.parametrize("kind", ["disc", "bust", "band", "two colours"])
def test_finds_objects_of_any_kind(kind: str, texture: float, least: float) -> None:
    scores = [_iou(auto_mask(image), truth) for image, truth in (_scene(seed, kind, texture) for seed in range(4))]
    assert np.mean(scores) > least, scores


def test_large_pictures_keep_their_edges() -> None:
    image, truth = _scene(1, "bust", 0.05, size=256)
    mask = auto_mask(image)
    assert mask.shape == (1, 1, 256, 256)
    assert _iou(mask, truth) > 0.95


def test_same_picture_same_mask_of_zeros_and_ones() -> None:
    image, _ = _scene(2, "disc", 0.1)
    first, second = auto_mask(image), auto_mask(image.clone())
    assert torch.equal(first, second)
    assert set(first.unique().tolist()) == {0.0, 1.0}


def test_mask_is_one_region_without_holes() -> None:
    image, _ = _scene(3, "disc", 0.05)
    image[..., 28:34, 28:34] = image[..., :6, :6]  # a patch of background in the object's middle
    image[..., 2:6, 2:6] = image[..., 40:44, 30:34]  # and a piece of the object in the corner
    mask = auto_mask(image)[0, 0]
    assert mask[28:34, 28:34].min() == 1
    assert mask[2:6, 2:6].max() == 0


def test_works_on_oblong_and_double_precision_pictures() -> None:
    image, truth = _scene(1, "disc", 0.0)
    mask = auto_mask(image[..., 4:-4, :].double())
    assert mask.shape == (1, 1, 56, 64)
    assert mask.dtype == torch.float64
    assert _iou(mask, truth[4:-4]) > 0.95


@pytest.mark.parametrize("kind", ["black", "white", "grey", "faint noise", "strong noise", "gradient"])
def test_where_nothing_stands_out_it_says_so(kind: str, rng: torch.Generator) -> None:
    shape = (1, 3, 64, 64)
    picture = {
        "black": torch.full(shape, -1.0),
        "white": torch.ones(shape),
        "grey": torch.zeros(shape),
        "faint noise": torch.randn(shape, generator=rng) * 0.02,
        "strong noise": (torch.randn(shape, generator=rng) * 0.4).clamp(-1, 1),
        "gradient": torch.linspace(-0.5, 0.5, 64).expand(shape),
    }[kind]
    with pytest.raises(InputError, match=r"no object stands out.*give a mask file"):
        auto_mask(picture)


def test_bad_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, H, W\)"):
        auto_mask(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match="finite"):
        auto_mask(torch.full((1, 3, 32, 32), torch.nan))
    with pytest.raises(ValueError, match="8×8"):
        auto_mask(torch.zeros(1, 3, 4, 32))


def test_no_mask_keeps_everything() -> None:
    assert torch.equal(no_mask(torch.zeros(1, 3, 6, 8)), torch.ones(1, 1, 6, 8))


def test_mask_file_is_read_and_resized(tmp_path: Path) -> None:
    levels = np.zeros((64, 64), dtype=np.uint8)
    levels[16:48, 16:48] = 255
    Image.fromarray(levels).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png", 32)
    assert mask.shape == (1, 1, 32, 32)
    assert mask[0, 0, 16, 16] == 1
    assert mask[0, 0, 2, 2] == 0
    assert mask.mean().item() == pytest.approx(0.25, abs=0.01)


def test_bad_mask_files_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((32, 32), dtype=np.uint8)).save(tmp_path / "black.png")
    with pytest.raises(InputError, match="mask is empty"):
        read_mask(tmp_path / "black.png", 32)
    with pytest.raises(InputError):
        read_mask(tmp_path / "missing.png", 32)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError):
        read_mask(tmp_path / "text.png", 32)


def test_a_mask_is_framed_like_its_photo_or_belongs_to_the_cut_out_square(tmp_path: Path) -> None:
    levels = np.zeros((30, 40), np.uint8)
    levels[:, 28:] = 255
    Image.fromarray(levels).save(tmp_path / "photo_sized.png")
    Image.fromarray(np.kron(np.asarray([[0, 255]], np.uint8), np.ones((16, 8), np.uint8))).save(tmp_path / "square.png")
    Image.fromarray(levels[:20]).save(tmp_path / "other.png")
    frame = crop_frame((20, 10, 16, 16), (40, 30))
    expected = torch.zeros(1, 1, 16, 16)
    expected[..., 8:] = 1
    for name in ("photo_sized.png", "square.png"):
        assert torch.equal(read_mask(tmp_path / name, 16, frame), expected), name
    with pytest.raises(InputError, match="a mask of the photo's 40 x 30 px, or a square one; got one of 40 x 20"):
        read_mask(tmp_path / "other.png", 16, frame)
