"""Truth files and result folders: what is read, and one-line errors for everything that cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gan2shape.errors import InputError
from gan2shape.evaluate.truth import Truth, match_results, read_depth, read_truth

DEPTH = np.linspace(0.9, 1.1, 3 * 16).reshape(3, 4, 4)
MASK = DEPTH > 0.95


def write(file: Path, **arrays: Any) -> Path:
    np.savez(file, **arrays)
    return file


def a_truth(count: int = 3) -> Truth:
    return Truth(torch.ones(count, 1, 4, 4), torch.ones(count, 1, 4, 4))


def result_folder(place: Path, depth: np.ndarray | None = None) -> Path:
    place.mkdir(parents=True)
    np.save(place / "depth.npy", np.ones((4, 4), np.float32) if depth is None else depth)
    return place


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


def test_a_cut_archive_a_plain_array_a_folder_and_nothing(tmp_path: Path) -> None:
    whole = write(tmp_path / "t.npz", depth=DEPTH, mask=MASK).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    np.save(tmp_path / "plain.npy", DEPTH)
    (tmp_path / "folder").mkdir()
    for name in ("cut.npz", "plain.npy", "folder"):
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


def test_folders_belong_to_the_picture_that_their_name_ends_with(tmp_path: Path) -> None:
    for name in ("000002", "face_0", "x1"):
        result_folder(tmp_path / name)
    (tmp_path / "empty7").mkdir()
    (tmp_path / "file5").write_text("")
    matched = match_results(tmp_path, a_truth())
    assert {index: folder.name for index, folder in matched.items()} == {0: "face_0", 1: "x1", 2: "000002"}


def test_a_single_result_folder_is_taken_itself(tmp_path: Path) -> None:
    folder = result_folder(tmp_path / "picture_2")
    assert match_results(folder, a_truth()) == {2: folder}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "expected result folders with depth.npy; found none"),
        (["a"], "expected a name that ends in the picture's number, like 000007; got a"),
        (["a3"], r"picture 3, but the truth has 3 \(from 0\)"),
        (["a1", "b1"], "are both of picture 1; keep one"),
    ],
)
def test_folders_that_match_no_picture_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        result_folder(tmp_path / name)
    with pytest.raises(InputError, match=message) as caught:
        match_results(tmp_path, a_truth())
    one_line(caught)


def test_a_results_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder with results; got a file"):
        match_results(tmp_path / "file", a_truth())
    with pytest.raises(InputError, match="expected a folder with results; got nothing"):
        match_results(tmp_path / "missing", a_truth())


def test_a_depth_with_holes_is_read_finite(tmp_path: Path) -> None:
    depth = np.full((4, 4), 1.0, np.float32)
    depth[0], depth[1, 1] = np.nan, 1.05
    read, hit = read_depth(result_folder(tmp_path / "r0", depth), 4)
    assert read.shape == hit.shape == (1, 1, 4, 4)
    np.testing.assert_array_equal(hit[0, 0].numpy(), np.isfinite(depth))
    np.testing.assert_array_equal(read[0, 0, 1:].numpy(), depth[1:])
    assert bool(torch.isfinite(read).all())


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        (np.ones((5, 5)), "expected 4x4 as the truth; got 5x5"),
        (np.ones((4, 4, 1)), "expected 4x4 as the truth"),
        (np.full((4, 4), np.nan), "no pixel holds a finite depth"),
        (np.zeros((4, 4)), "positive"),
        (np.array([["a"] * 4] * 4), "cannot be read"),
        (np.array([object()]), "cannot be read"),
        (np.ones((4, 4), complex), "cannot be read"),
    ],
)
def test_bad_depth_maps_are_refused_in_one_line(tmp_path: Path, depth: np.ndarray, message: str) -> None:
    folder = result_folder(tmp_path / "r0", depth)
    with pytest.raises(InputError, match=message) as caught:
        read_depth(folder, 4)
    assert "depth.npy" in one_line(caught)


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x93NUMPY\x01\x00\x10"])
def test_damaged_depth_files_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    folder = result_folder(tmp_path / "r0")
    (folder / "depth.npy").write_bytes(content)
    with pytest.raises(InputError, match="it cannot be read") as caught:
        read_depth(folder, 4)
    one_line(caught)
