"""Cut-outs by a stand-in for rembg, and by rembg itself where that and its network are."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan2shape.errors import InputError, UserError
from gan2shape.priors import cutout

Remove = Callable[..., Image.Image]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())


def install(monkeypatch: pytest.MonkeyPatch, remove: Remove, new_session: Callable[[str], str] = str) -> None:
    module = types.SimpleNamespace(remove=remove, new_session=new_session)
    monkeypatch.setattr(cutout, "import_module", lambda name: module)


def bright(picture: Image.Image, *, session: str, only_mask: bool) -> Image.Image:
    """What is brighter than the middle."""
    assert only_mask
    assert session == "u2net"
    return picture.convert("L").point(lambda level: 255 if level > 127 else 51)


def test_the_opacity_comes_back_at_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, bright)
    image = torch.full((1, 3, 12, 12), -1.0)
    image[..., 2:5, 7:] = 1
    expected = torch.full((1, 1, 12, 12), 0.2)
    expected[..., 2:5, 7:] = 1
    assert torch.allclose(cutout.cutout_mask(image), expected)


def test_nothing_found_and_failures_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(picture: Image.Image, **_: object) -> Image.Image:
        raise RuntimeError("no such\nlayer")

    image = torch.full((1, 3, 8, 8), -1.0)
    install(monkeypatch, bright)
    with pytest.raises(InputError, match="finds no object"):
        cutout.cutout_mask(image)
    install(monkeypatch, damaged)
    with pytest.raises(UserError, match=r"could not cut the object out \(no such layer\)"):
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


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (ConnectionError("HTTPSConnectionPool(host='example.org', port=443): Max retries"), "ConnectionError"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
    ],
)
def test_without_its_network_it_says_where_to_put_it_and_announces_nothing(
    failure: OSError, reason: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def download(name: str) -> str:
        print(f"Downloading {name}", file=sys.stderr)
        raise failure

    install(monkeypatch, bright, download)
    with pytest.raises(UserError, match=rf"download its network u2net \({reason}\): put u2net.onnx .*U2NET_HOME"):
        cutout.cutout_mask(torch.zeros(1, 3, 8, 8))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("wish", [None, "0"])
def test_onnxruntime_sends_nothing_home_unless_it_was_told_to(
    wish: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wish is None:
        monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    else:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", wish)
    install(monkeypatch, bright)
    cutout.cutout_mask(torch.ones(1, 3, 8, 8))
    assert os.environ["ORT_DISABLE_TELEMETRY"] == (wish or "1")


def network_is_here() -> bool:
    """Whether rembg finds its network without a download: where it looks for it in old releases and in new ones."""
    home = os.environ.get("U2NET_HOME")
    old = Path(home or "~/.u2net").expanduser()
    new = Path(home or os.environ.get("REMBG_HOME", "~/.rembg")).expanduser() / "models" / "u2net"
    return any((folder / "u2net.onnx").is_file() for folder in (old, new))


@pytest.mark.skipif(find_spec("rembg") is None, reason="needs rembg (extra mask)")
@pytest.mark.skipif(not network_is_here(), reason="needs rembg's u2net.onnx, in the folder that U2NET_HOME names")
def test_rembg_itself_cuts_a_ball_out_of_a_shaded_background(capfd: pytest.CaptureFixture[str]) -> None:
    y, x = torch.meshgrid(torch.arange(160.0), torch.arange(160.0), indexing="ij")
    distance = ((x - 90).square() + (y - 70).square()).sqrt() / 45
    ball = distance <= 1
    bulge = (1 - distance.square()).clamp(min=0).sqrt()
    colours = torch.where(ball, torch.stack([bulge, bulge / 2, bulge / 5]), torch.stack([x, y, x + y]) / 640 + 0.3)
    found = cutout.cutout_mask(colours[None] * 2 - 1)
    assert found.shape == (1, 1, 160, 160)
    seen = found[0, 0] > 0.5
    assert (seen & ball).sum() / (seen | ball).sum() > 0.95
    assert capfd.readouterr() == ("", "")
