"""Pictures from files."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan2shape.data.stored import FolderPictures, PackedPictures, Shuffle
from gan2shape.errors import InputError
from gan2shape.io.arrays import ArrayFile

SIZE = 16


def level(image: torch.Tensor) -> list[int]:
    """The red level of evenly coloured pictures (B, 3, S, S)."""
    return ((image[:, 0, 3, 3] + 1) * 127.5).round().int().tolist()


def even(value: int, side: int = SIZE) -> np.ndarray:
    return np.full((side, side, 3), value, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    (root / "more").mkdir(parents=True)
    (root / ".hidden").mkdir()
    for value, name in ((10, "b.png"), (20, "a.PNG"), (30, "more/c.png"), (40, "more/d.bmp")):
        Image.fromarray(even(value, side=2 * SIZE)).save(root / name)
    Image.fromarray(even(99)).save(root / ".hidden" / "e.png")
    (root / "notes.txt").write_text("no picture")
    return root


def zipped(folder: Path) -> Path:
    file = folder.parent / "pictures.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
        archive.write(folder / "b.png", "__MACOSX/._b.png")
    return file


@pytest.fixture
def packed(tmp_path: Path) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "image": np.stack([even(10 * k) for k in range(5)]),
        "mask": rng.random((5, SIZE, SIZE)) > 0.5,
        "depth": rng.random((5, SIZE, SIZE)).astype(np.float32),
        "normal": rng.normal(size=(5, SIZE, SIZE, 3)).astype(np.float16),
        "albedo": rng.integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8),
        "view_deg": rng.normal(size=(5, 3)).astype(np.float32),
        "ambient": np.arange(5, dtype=np.float32),
    }


def test_every_pass_is_another_order_of_the_same() -> None:
    shuffle = Shuffle(7, seed=3)
    passes = [shuffle(7 * e, 7).tolist() for e in range(4)]
    assert all(sorted(order) == list(range(7)) for order in passes)
    assert len({tuple(order) for order in passes}) > 1
    assert shuffle(5, 11).tolist() == [*passes[0][5:], *passes[1], *passes[2][:2]]
    assert Shuffle(7, seed=3)(7, 7).tolist() == passes[1]
    assert any(Shuffle(7, seed=4)(7 * e, 7).tolist() != passes[e] for e in range(4))
    for start, count in ((-1, 1), (0, 0)):
        with pytest.raises(ValueError, match="numbered from 0"):
            shuffle(start, count)


def test_packed_pictures_with_their_truth(packed: dict[str, np.ndarray], tmp_path: Path) -> None:
    file = tmp_path / "some.npz"
    np.savez(file, **packed, extra_image=np.zeros(3))
    pictures = PackedPictures(file, size=SIZE, seed=1)
    assert (pictures.size, pictures.count) == (SIZE, 5)
    assert pictures.description == "5 packed pictures of 16 px from some.npz"
    got = pictures(0, 5)
    assert set(got) == {"image", "mask", "depth", "normal", "albedo", "view", "ambient"}
    order = [value // 10 for value in level(got["image"])]
    assert sorted(order) == list(range(5))
    assert torch.equal(got["ambient"], torch.tensor(order, dtype=torch.float32)[:, None])
    np.testing.assert_array_equal(got["mask"][:, 0], packed["mask"][order])
    np.testing.assert_array_equal(got["depth"][:, 0], packed["depth"][order])
    np.testing.assert_array_equal(got["normal"].permute(0, 2, 3, 1), packed["normal"][order])
    np.testing.assert_allclose(got["albedo"].permute(0, 2, 3, 1) * 255, packed["albedo"][order], atol=1e-4)
    np.testing.assert_array_equal(got["view"], packed["view_deg"][order])
    assert all(value.dtype == torch.float32 for value in got.values())
    later = pictures(3, 4)["image"]
    assert torch.equal(later[:2], got["image"][3:])


@pytest.mark.parametrize(
    "change, said",
    [
        ({"image": None}, "the key image is missing"),
        ({"image": np.zeros((5, 16, 16, 3), np.float32)}, r"expected image \(N, S, S, 3\) of uint8; got"),
        ({"image": np.zeros((5, 16, 8, 3), np.uint8)}, r"expected image \(N, S, S, 3\)"),
        ({"image": np.zeros((0, 16, 16, 3), np.uint8)}, "expected pictures; got none"),
        ({"image": np.zeros((5, 8, 8, 3), np.uint8)}, r"expected mask \(5, 8, 8\)"),
        ({"depth": np.zeros((4, 16, 16), np.float32)}, r"expected depth \(5, 16, 16\)"),
        ({"depth": np.full((5, 16, 16), np.nan, np.float32)}, "expected finite numbers in depth"),
        ({"ambient": np.array(["a"] * 5)}, r"expected ambient \(5,\) of numbers"),
    ],
)
def test_packed_files_that_do_not_fit(
    change: dict[str, np.ndarray | None], said: str, packed: dict[str, np.ndarray], tmp_path: Path
) -> None:
    arrays = {**packed, **change}
    np.savez(tmp_path / "some.npz", **{key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(InputError, match=said):
        dict(PackedPictures(tmp_path / "some.npz", size=SIZE)(0, 1))


def test_only_the_maps_that_are_looked_at_are_read(
    packed: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "some.npz", **packed)
    read: list[str] = []
    whole = ArrayFile.read
    monkeypatch.setattr(ArrayFile, "read", lambda file, name: (read.append(name), whole(file, name))[1])
    pictures = PackedPictures(tmp_path / "some.npz", size=SIZE)
    batches = [pictures(start, 2) for start in range(3)]
    assert "image" in batches[0]
    assert "albedo" in set(batches[0])
    assert "view_deg" not in batches[0]
    assert {"image", "depth"} <= set(batches[0])
    assert read == []
    for batch in batches:
        assert batch["image"].shape == (2, 3, SIZE, SIZE)
        assert batch["image"] is batch["image"]
    assert read == ["image"]
    assert batches[0]["depth"].shape == (2, 1, SIZE, SIZE)
    assert read == ["image", "depth"]
    (tmp_path / "some.npz").unlink()
    with pytest.raises(InputError, match="the file is gone"):
        batches[0]["mask"]


def test_packed_files_that_are_none(packed: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "some.npz", **packed)
    whole = (tmp_path / "some.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    damaged = bytearray(whole)
    damaged[60:90] = bytes(30)
    (tmp_path / "damaged.npz").write_bytes(damaged)
    for name in ("half.npz", "damaged.npz", "nowhere.npz"):
        with pytest.raises(InputError, match=name):
            dict(PackedPictures(tmp_path / name, size=SIZE)(0, 1))
    with pytest.raises(InputError, match="expected pictures of 32 px; got 16 px"):
        PackedPictures(tmp_path / "some.npz", size=32)


@pytest.mark.parametrize("place", [lambda folder: folder, zipped], ids=["folder", "zip"])
def test_pictures_of_a_folder_or_zip(place: Callable[[Path], Path], folder: Path) -> None:
    pictures = FolderPictures(place(folder), size=SIZE, seed=2)
    assert pictures.count == 4
    image = pictures(0, 8)["image"]
    assert image.shape == (8, 3, SIZE, SIZE)
    assert sorted(level(image[:4])) == sorted(level(image[4:])) == [10, 20, 30, 40]
    again = FolderPictures(place(folder), size=SIZE, seed=2)(2, 3)["image"]
    assert torch.equal(again, image[2:5])
    assert torch.equal(pictures(2, 3)["image"], again)  # Now from memory.


def test_folder_and_zip_have_the_same_order(folder: Path) -> None:
    first, second = (FolderPictures(place, size=8, seed=5)(0, 9)["image"] for place in (folder, zipped(folder)))
    assert torch.equal(first, second)


def test_little_memory_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = FolderPictures(folder, size=SIZE)(0, 6)["image"]
    monkeypatch.setattr("gan2shape.data.stored.CACHE_BYTES", 0)
    assert torch.equal(FolderPictures(folder, size=SIZE)(0, 6)["image"], wanted)


def test_places_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_text("no zip")
    for name, said in ((".", "found none"), ("nowhere", "got no such place"), ("bad.zip", "cannot be read")):
        with pytest.raises(InputError, match=said):
            FolderPictures(tmp_path / name, size=SIZE)


@pytest.mark.parametrize("place", [lambda folder: folder, zipped], ids=["folder", "zip"])
def test_a_damaged_picture_is_named(place: Callable[[Path], Path], folder: Path) -> None:
    (folder / "more" / "c.png").write_bytes((folder / "more" / "c.png").read_bytes()[:40])
    source = place(folder)
    with pytest.raises(InputError, match=r"more/c\.png: expected a picture") as caught:
        FolderPictures(source, size=SIZE)(0, 4)
    assert str(caught.value).startswith(str(source))
