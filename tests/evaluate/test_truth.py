"""Truth files: what is read, and one-line errors for everything that cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gan2shape.errors import InputError
from gan2shape.evaluate.truth import Truth, read_truth

DEPTH = np.linspace(0.9, 1.1, 3 * 16).reshape(3, 4, 4)
MASK = DEPTH > 0.95


def write(file: Path, **arrays: Any) -> Path:
    np.savez(file, **arrays)
    return file


def one_line(caught: pytest.ExceptionInfo[InputError]) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("mask_kind", [bool, np.uint8, np.float32])
def test_a_truth_file_is_read(tmp_path: Path, kind: Any, mask_kind: Any) -> None:
    truth = read_truth(write(tmp_path / "t.npz", depth=DEPTH.astype(kind), mask=MASK.astype(mask_kind), other=1))
    assert truth.count == 3
    assert truth.depth.shape == truth.mask.shape == (3, 1, 4, 4)
    assert truth.depth.dtype == truth.mask.dtype == torch.float32
    np.testing.assert_allclose(truth.depth[:, 0].numpy(), DEPTH, atol=1e-3)
    np.testing.assert_array_equal(truth.mask[:, 0].numpy() > 0, MASK)


def test_background_may_be_zero(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path / "t.npz", depth=np.where(MASK, DEPTH, 0), mask=MASK))
    assert float(truth.depth.min()) == 0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mask": MASK}, "expected the keys depth and mask; depth is missing"),
        ({"depth": DEPTH}, "mask is missing"),
        ({"depth": DEPTH[0], "mask": MASK[0]}, r"expected depth and mask \(N, S, S\) alike"),
        ({"depth": DEPTH[:, :3], "mask": MASK[:, :3]}, r"got \(3, 3, 4\)"),
        ({"depth": DEPTH, "mask": MASK[:2]}, r"got \(3, 4, 4\) and \(2, 4, 4\)"),
        ({"depth": np.where(MASK, np.nan, DEPTH), "mask": MASK}, "got NaN, infinity or 0"),
        ({"depth": np.zeros_like(DEPTH), "mask": MASK}, "expected positive depth on the whole mask"),
        ({"depth": -DEPTH, "mask": MASK}, "expected positive depth on the whole mask"),
        ({"depth": DEPTH[:0], "mask": MASK[:0]}, "no picture"),
        ({"depth": DEPTH, "mask": np.zeros_like(MASK)}, "mask of picture 0 is empty"),
        ({"depth": DEPTH.astype(str), "mask": MASK}, "numbers"),
        ({"depth": np.array([[[object()]]]), "mask": MASK}, "cannot be read"),
    ],
)
def test_bad_arrays_are_refused_in_one_line(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    file = write(tmp_path / "t.npz", **arrays)
    with pytest.raises(InputError, match=message) as caught:
        read_truth(file)
    assert str(file) in one_line(caught)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 damaged", b"\x93NUMPY\x01\x00"])
def test_files_that_are_no_archive_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "t.npz"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"expected a truth file \(.npz\); it cannot be read") as caught:
        read_truth(file)
    one_line(caught)


def test_a_cut_archive_a_plain_array_and_nothing(tmp_path: Path) -> None:
    whole = write(tmp_path / "t.npz", depth=DEPTH, mask=MASK).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    np.save(tmp_path / "plain.npy", DEPTH)
    for name in ("cut.npz", "plain.npy"):
        with pytest.raises(InputError, match="it cannot be read") as caught:
            read_truth(tmp_path / name)
        one_line(caught)
    with pytest.raises(InputError, match="got no such file"):
        read_truth(tmp_path / "missing.npz")


def test_an_archive_with_a_flipped_byte(tmp_path: Path) -> None:
    file = write(tmp_path / "t.npz", depth=DEPTH, mask=MASK)
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0xFF
    file.write_bytes(bytes(content))
    with pytest.raises(InputError, match="it cannot be read"):
        read_truth(file)


def everything(count: int = 2, views: int = 3, size: int = 8) -> dict[str, np.ndarray]:
    """All keys that a truth file may have, with numbers that are possible."""
    rng = np.random.default_rng(0)

    def one(*lead: int) -> dict[str, np.ndarray]:
        return {
            "image": rng.integers(0, 256, (*lead, size, size, 3), dtype=np.uint8),
            "mask": np.ones((*lead, size, size), bool),
            "view_deg": rng.normal(0, 10, (*lead, 3)),
            "translation": rng.normal(0, 0.01, (*lead, 3)),
            "ambient": rng.uniform(0.2, 0.6, lead),
            "diffuse": rng.uniform(0.2, 0.6, lead),
            "light": rng.normal(0, 1, (*lead, 3)),
        }

    more = {
        "depth": rng.uniform(0.9, 1.1, (count, size, size)),
        "normal": rng.normal(0, 1, (count, size, size, 3)).astype(np.float16),
        "albedo": rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8),
    }
    return {**one(count), **more, **{f"extra_{key}": values for key, values in one(count, views).items()}}


def test_everything_that_a_file_may_hold_is_read(tmp_path: Path) -> None:
    arrays = everything()
    truth = read_truth(write(tmp_path / "t.npz", **arrays, identity=np.zeros((2, 100))))
    assert truth.image is not None
    assert truth.albedo is not None
    assert truth.normal is not None
    assert truth.pose is not None
    assert truth.lighting is not None
    assert truth.extra is not None
    np.testing.assert_allclose(truth.image[1, 2].numpy(), arrays["image"][1, ..., 2] / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(truth.albedo[0, 1].numpy(), arrays["albedo"][0, ..., 1] / 255, atol=1e-6)
    np.testing.assert_allclose(truth.normal[1, 0].numpy(), arrays["normal"][1, ..., 0], atol=1e-6)
    np.testing.assert_allclose(np.rad2deg(truth.pose.euler().numpy()), arrays["view_deg"], atol=1e-3)
    np.testing.assert_allclose(truth.pose.translation.numpy(), arrays["translation"], atol=1e-6)
    direction = arrays["light"] / np.linalg.norm(arrays["light"], axis=1, keepdims=True)
    np.testing.assert_allclose(truth.lighting.direction.numpy(), direction, atol=1e-6)
    views = truth.extra[1]
    np.testing.assert_allclose(views.image[2, 0].numpy(), arrays["extra_image"][1, 2, ..., 0] / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(np.rad2deg(views.pose.euler().numpy()), arrays["extra_view_deg"][1], atol=1e-3)
    np.testing.assert_allclose(views.lighting.ambient[:, 0].numpy(), arrays["extra_ambient"][1], atol=1e-6)


def test_one_picture_of_a_truth(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path / "t.npz", **everything()))
    item = truth.item(1)
    assert item.count == 1
    assert item.name(0) == "000001"
    for name in ("depth", "mask", "normal", "albedo", "image"):
        assert torch.equal(getattr(item, name), getattr(truth, name)[1:]), name
    assert item.pose is not None
    assert truth.pose is not None
    assert torch.equal(item.pose.rotation, truth.pose.rotation[1:])
    assert item.extra is not None
    assert truth.extra is not None
    assert item.extra[0] is truth.extra[1]
    with pytest.raises(IndexError, match="picture 2 of 2"):
        truth.item(2)


def test_what_is_not_known_is_none() -> None:
    item = Truth(torch.ones(2, 1, 4, 4), torch.ones(2, 1, 4, 4)).item(0)
    assert (item.image, item.normal, item.albedo, item.pose, item.lighting, item.extra) == (None,) * 6


@pytest.mark.parametrize("key", ["ambient", "extra_diffuse"])
def test_numbers_may_have_a_dimension_of_one(tmp_path: Path, key: str) -> None:
    arrays = everything()
    truth = read_truth(write(tmp_path / "t.npz", **{**arrays, key: arrays[key][..., None]}))
    assert truth.lighting is not None
    assert truth.extra is not None


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("normal", lambda v: v[:1], "expected normal of shape"),
        ("view_deg", lambda v: v[:, :2], "expected view_deg of shape"),
        ("extra_mask", lambda v: v[:, :, :4], "expected extra_mask of shape"),
        ("extra_light", lambda v: v[:, :2], "expected"),
        ("albedo", lambda v: v / 255, "expected bytes"),
        ("image", lambda v: v.astype(str), "expected numbers in image"),
        ("translation", lambda v: v * np.nan, "expected finite numbers in translation"),
        ("light", lambda v: v * 0, "expected directions in light"),
    ],
)
def test_bad_further_arrays_are_refused_in_one_line(tmp_path: Path, key: str, change: Any, message: str) -> None:
    arrays = everything()
    with pytest.raises(InputError, match=message) as caught:
        read_truth(write(tmp_path / "t.npz", **{**arrays, key: change(arrays[key])}))
    assert "t.npz" in one_line(caught)
