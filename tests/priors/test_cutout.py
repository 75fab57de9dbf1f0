"""Cut-outs by a stand-in for rembg."""

from __future__ import annotations

import types
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from gan2shape.errors import InputError, UserError
from gan2shape.priors import cutout

Remove = Callable[..., Image.Image]


def install(monkeypatch: pytest.MonkeyPatch, remove: Remove) -> None:
    monkeypatch.setattr(cutout, "import_module", lambda name: types.SimpleNamespace(remove=remove))


def bright(picture: Image.Image, *, only_mask: bool) -> Image.Image:
    """What is brighter than the middle."""
    assert only_mask
    return picture.convert("L").point(lambda level: 255 if level > 127 else 51)


def test_the_opacity_comes_back_at_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, bright)
    image = torch.full((1, 3, 12, 12), -1.0)
    image[..., 2:5, 7:] = 1
    expected = torch.full((1, 1, 12, 12), 0.2)
    expected[..., 2:5, 7:] = 1
    assert torch.allclose(cutout.cutout_mask(image), expected)


def test_nothing_found_and_failures_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(picture: Image.Image, **_: object) -> Image.Image:
        raise ConnectionError("no route\nto host")

    image = torch.full((1, 3, 8, 8), -1.0)
    install(monkeypatch, bright)
    with pytest.raises(InputError, match="finds no object"):
        cutout.cutout_mask(image)
    install(monkeypatch, offline)
    with pytest.raises(UserError, match=r"could not cut the object out \(no route to host\)"):
        cutout.cutout_mask(image)
    install(monkeypatch, lambda picture, **_: Image.fromarray(np.full((4, 6), 255, np.uint8)))
    with pytest.raises(UserError, match=r"could not cut the object out \(a mask of 6 x 4 px for 8 x 8 px\)"):
        cutout.cutout_mask(image)


def test_a_missing_package_is_named_and_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends(name: str) -> object:
        print("No onnxruntime backend found.")
        raise SystemExit(1)

    def absent(name: str) -> object:
        raise ImportError(name)

    for find in (ends, absent):
        monkeypatch.setattr(cutout, "import_module", find)
        with pytest.raises(UserError, match=r"pip install 'gan2shape\[mask\]'"):
            cutout.cutout_mask(torch.zeros(1, 3, 8, 8))
    assert capsys.readouterr().out == ""
