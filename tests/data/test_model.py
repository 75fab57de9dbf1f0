"""The packed model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from gan2shape.data.model import HeadModel, read_packed, write_packed
from gan2shape.errors import InputError
from tests.data.small import sphere_model


def test_packed_and_read_again(tmp_path: Path) -> None:
    model, file = sphere_model(shapes=1.0), tmp_path / "model.npz"
    write_packed(file, model)
    again = read_packed(file)
    assert again.names == model.names
    for name in ("mean", "faces", "uv", "part"):
        np.testing.assert_array_equal(getattr(again, name), getattr(model, name))
        assert getattr(again, name).dtype == getattr(model, name).dtype
    # Half precision: 11 bits.
    np.testing.assert_allclose(again.identity, model.identity, rtol=2**-11, atol=1e-7)
    np.testing.assert_allclose(again.expression, model.expression, rtol=2**-11, atol=1e-7)


def test_no_object_is_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "evil.npz"
    np.savez(file, mean_vertices_cm=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match=r"evil\.npz: expected a packed head model"):
        read_packed(file)


@pytest.mark.parametrize(
    "key, value, said",
    [
        ("faces", None, "the key faces is missing"),
        ("uv", np.zeros((3, 2), np.float32), r"uv must be \(\d+, 2\); got \(3, 2\)"),
        ("identity_basis_cm", np.zeros((2, 4), np.float32), "identity must be"),
        ("identity_basis_cm", np.float32(1), "expected a packed head model"),
        ("expression_names", np.array(["one"]), "expression must be"),
        ("mean_vertices_cm", "nan", "mean must be finite"),
        ("mean_vertices_cm", "far", "mean must be a head in centimetres"),
        ("faces", "negative", "faces must name vertices 0 to"),
        ("faces", np.zeros((4, 3), np.float32), "expected numbers of another kind in faces; got float32"),
        ("part", "large", "part must be 0 to 3; got 9"),
    ],
)
def test_arrays_that_do_not_fit(key: str, value: object, said: str, tmp_path: Path) -> None:
    file = tmp_path / "model.npz"
    write_packed(file, sphere_model())
    arrays = dict(np.load(file, allow_pickle=False))
    if value is None:
        del arrays[key]
    elif isinstance(value, str):
        arrays[key] = arrays[key].astype(np.int64 if value == "negative" else arrays[key].dtype)
        arrays[key].flat[1] = {"nan": np.nan, "far": 1e6, "negative": -1, "large": 9}[value]
    else:
        arrays[key] = value
    np.savez(file, **arrays)
    with pytest.raises(InputError, match=said) as caught:
        read_packed(file)
    assert str(caught.value).startswith(f"{file}: expected")
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    write_packed(tmp_path / "whole.npz", sphere_model())
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_text("no model")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.save(tmp_path / "single.npz", np.zeros(3))
    for name in ("half.npz", "text.npz", "empty.npz", "single.npz", "single.npz.npy", "nowhere.npz"):
        with pytest.raises(InputError, match=name):
            read_packed(tmp_path / name)


def test_a_model_without_faces_is_refused() -> None:
    with pytest.raises(ValueError, match="needs vertices and faces"):
        dataclasses.replace(sphere_model(), faces=np.zeros((0, 3), np.int64))
    assert isinstance(sphere_model(), HeadModel)
