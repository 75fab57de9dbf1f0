"""Truth folders: the same numbers as in a truth file, and one-line errors for what is missing or damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan2shape.errors import InputError
from gan2shape.evaluate.truth import Truth, read_truth
from tests.evaluate.test_truth import everything

NAMES = ("000000", "000001", "000002", "000003")


def a_folder(place: Path, *, heads: tuple[int, ...] | None = None) -> dict[str, np.ndarray]:
    """Write a truth folder of four pictures; the arrays that a truth file would have."""
    arrays = {key: values for key, values in everything(4).items() if not key.startswith("extra_")}
    arrays["mask"] = np.random.default_rng(1).uniform(size=arrays["mask"].shape) < 0.7
    for kind, ending in (
        ("image", ".png"),
        ("albedo", ".png"),
        ("mask", ".png"),
        ("depth", ".npy"),
        ("normal", ".npy"),
    ):
        (place / kind).mkdir(parents=True)
        for name, values in zip(NAMES, arrays[kind], strict=True):
            if ending == ".png":
                levels = values.astype(np.uint8) * 255 if kind == "mask" else values
                Image.fromarray(levels).save(place / kind / f"{name}.png")
            else:
                np.save(place / kind / f"{name}.npy", values.astype(np.float32))
    with (place / "parameters.jsonl").open("w") as file:
        for index in range(4):
            row = {key: np.asarray(arrays[key][index]).tolist() for key in ("view_deg", "translation", "light")}
            row |= {key: float(arrays[key][index]) for key in ("ambient", "diffuse")}
            if heads is not None:
                row["head"] = heads[index]
            file.write(json.dumps(row) + "\n")
    return arrays


def same(one: Truth, other: Truth) -> None:
    for name in ("depth", "mask", "normal", "albedo", "image"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), atol=1e-6, rtol=0, msg=name)
    assert one.pose is not None
    assert other.pose is not None
    torch.testing.assert_close(one.pose.rotation, other.pose.rotation)
    assert one.lighting is not None
    assert other.lighting is not None
    torch.testing.assert_close(one.lighting.direction, other.lighting.direction)


def test_a_folder_holds_what_a_file_holds(tmp_path: Path) -> None:
    arrays = a_folder(tmp_path / "faces")
    np.savez(tmp_path / "faces.npz", **arrays)
    folder = read_truth(tmp_path / "faces")
    same(folder, read_truth(tmp_path / "faces.npz"))
    assert [folder.name(index) for index in range(4)] == list(NAMES)
    assert folder.extra is None


def test_pictures_of_the_same_head_are_views_of_one_another(tmp_path: Path) -> None:
    a_folder(tmp_path, heads=(5, 9, 5, 9))
    truth = read_truth(tmp_path)
    assert truth.extra is not None
    assert truth.image is not None
    assert truth.pose is not None
    for index, other in ((0, 2), (1, 3), (2, 0), (3, 1)):
        views = truth.extra[index]
        assert torch.equal(views.image, truth.image[other : other + 1])
        torch.testing.assert_close(views.pose.rotation, truth.pose.rotation[other : other + 1])


@pytest.mark.parametrize("heads", [(0, 1, 2, 3), (0, 0, 0, 1)])
def test_heads_of_one_picture_or_of_unequal_numbers_have_no_views(tmp_path: Path, heads: tuple[int, ...]) -> None:
    a_folder(tmp_path, heads=heads)
    assert read_truth(tmp_path).extra is None


def test_depth_and_mask_are_enough(tmp_path: Path) -> None:
    a_folder(tmp_path)
    for kind in ("image", "albedo", "normal"):
        for file in (tmp_path / kind).iterdir():
            file.unlink()
        (tmp_path / kind).rmdir()
    (tmp_path / "parameters.jsonl").unlink()
    truth = read_truth(tmp_path)
    assert truth.count == 4
    assert truth.image is truth.pose is truth.lighting is None


def remove(name: str) -> Callable[[Path], None]:
    return lambda place: (place / name).unlink()


def replace(name: str, content: bytes) -> Callable[[Path], None]:
    def change(place: Path) -> None:
        (place / name).write_bytes(content)

    return change


def other_size(place: Path) -> None:
    np.save(place / "depth" / "000001.npy", np.ones((9, 9)))


def texts(place: Path) -> None:
    np.save(place / "depth" / "000001.npy", np.full((8, 8), "x"))


def no_depth(place: Path) -> None:
    (place / "depth").rename(place / "deep")


def no_mask(place: Path) -> None:
    (place / "mask").rename(place / "masked")


def wrong_numbers(place: Path) -> None:
    file = place / "parameters.jsonl"
    file.write_text(file.read_text().replace('"view_deg": [', '"view_deg": [1, ', 1))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_depth, "found no depth"),
        (no_mask, "found no mask"),
        (remove("depth/000002.npy"), "mask/000002.png|000002"),
        (remove("mask/000002.png"), r"000002\.png: expected one map for each picture; this one is missing"),
        (remove("normal/000000.npy"), r"000000\.npy: .* is missing"),
        (replace("depth/000001.npy", b"nothing"), "expected a depth map; it cannot be read"),
        (replace("mask/000001.png", b"nothing"), "mask"),
        (texts, "expected an array of numbers"),
        (other_size, "expected the shape of the first map"),
        (replace("parameters.jsonl", b"{}\n"), "expected one JSON object for each of 4 pictures; got 1 lines"),
        (replace("parameters.jsonl", b"no\n"), "expected one JSON object on each line"),
        (replace("parameters.jsonl", b"1\n2\n3\n4\n"), "expected one JSON object for each of 4"),
        (wrong_numbers, "in view_deg"),
    ],
)
def test_damage_is_told_in_one_line(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    a_folder(tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        read_truth(tmp_path)
    assert "\n" not in str(caught.value)
