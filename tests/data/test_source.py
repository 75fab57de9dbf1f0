"""One name for all kinds of pictures."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan2shape.data.facekit import read_facekit
from gan2shape.data.look import DETAILED
from gan2shape.data.model import write_packed
from gan2shape.data.source import open_pictures, read_model
from gan2shape.data.stored import FolderPictures, PackedPictures
from gan2shape.data.synface import SynFace
from gan2shape.errors import InputError
from tests.data.small import sphere_model, write_obj_folder


def test_each_kind_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = sphere_model(shapes=1.0)
    write_packed(tmp_path / "model.npz", model)
    layout = write_obj_folder(tmp_path / "repository" / "FaceXModel", model)
    monkeypatch.setattr("gan2shape.data.source.read_facekit", functools.partial(read_facekit, layout=layout))
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "pictures" / "a.png")
    np.savez(tmp_path / "packed.npz", image=np.zeros((2, 16, 16, 3), np.uint8))
    wanted = {
        "model.npz": SynFace,
        "repository": SynFace,
        "repository/FaceXModel": SynFace,
        "pictures": FolderPictures,
        "packed.npz": PackedPictures,
    }
    for name, kind in wanted.items():
        stream = open_pictures(str(tmp_path / name), size=16, seed=1, device="cpu")
        assert isinstance(stream, kind), name
        assert stream.size == 16
        assert stream(0, 2)["image"].shape == (2, 3, 16, 16)
    # Half precision of the packed file is all the difference.
    ours, theirs = (
        open_pictures(tmp_path / name, size=16, seed=1, device="cpu")(0, 2)["depth"]
        for name in ("model.npz", "repository")
    )
    assert ((ours > 0) == (theirs > 0)).float().mean() > 0.99
    both = (ours > 0) & (theirs > 0)
    assert (ours - theirs).abs()[both].mean() < 1e-3


def test_flags_reach_the_renderer(tmp_path: Path) -> None:
    write_packed(tmp_path / "model.npz", sphere_model())
    stream = open_pictures(tmp_path / "model.npz", size=16, seed=4, device="cpu", views=3, look=DETAILED)
    assert isinstance(stream, SynFace)
    assert (stream.seed, stream.views, stream.look) == (4, 3, DETAILED)
    assert torch.equal(stream(0, 1)["view"], SynFace(read_model(tmp_path / "model.npz"), size=16, seed=4)(0, 1)["view"])


def test_what_is_none_of_these(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("text")
    np.savez(tmp_path / "other.npz", something=np.zeros(3))
    (tmp_path / "empty").mkdir()
    for name, said in (
        ("text.txt", "expected a folder, a zip file or a packed file"),
        ("nowhere", "got no such file or folder"),
        ("other.npz", "the key image is missing"),
        ("empty", "found none"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            open_pictures(tmp_path / name, size=16, seed=0, device="cpu")
        assert str(caught.value).startswith(str(tmp_path / name))
