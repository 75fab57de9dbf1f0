"""The original's releases: key maps, Gaussians and lists, on files built in their layout."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch

from gan2shape.errors import CheckpointError, InputError
from gan2shape.io.images import to_uint8
from gan2shape.io.official import (
    is_networks,
    kind_of_release,
    latent_beside,
    networks_of,
    plain_tensors,
    read_gaussian,
    read_list,
    read_networks,
)
from tests.io import official_files

SMALL = {"width": 16, "code": 24, "offset": 8, "latent": 20}


def _png() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(to_uint8(torch.zeros(1, 3, 8, 8))).save(file, "png")
    return file.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    pictures = {f"{index:04d}": (_png(), torch.full((512,), float(index))) for index in range(3)}
    official_files.unpack(tmp_path, "celeba", states=official_files.networks(64, **SMALL), pictures=pictures)
    return tmp_path


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("size", [64, 128])
def test_sizes_are_read_from_the_tensors(size: int, legacy: bool, tmp_path: Path) -> None:
    states = official_files.networks(size, **SMALL)
    torch.save({**states, "optimizerD": {"state": {}}}, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    found = read_networks(tmp_path / "a.pth")
    assert (found.image_size, found.map_width, found.vector_width) == (size, 16, 16)
    assert (found.code_size, found.offset_width) == (24, 8)
    assert sum(w.numel() for w in found.weights.values()) == sum(w.numel() for s in states.values() for w in s.values())
    assert torch.equal(found.weights["factors.depth_net.encoder.0.weight"], states["netD"]["network.0.weight"])
    assert torch.equal(found.weights["encoder.blocks.1.shortcut.bias"], states["netEnc"]["network.2.conv_sc.bias"])


def test_what_is_no_such_file_is_told() -> None:
    states = official_files.networks(64, **SMALL)
    tensors = {f"{network}/{name}": t for network, state in states.items() for name, t in state.items()}
    assert is_networks(tensors)
    assert not is_networks({"g_ema/x": torch.ones(1), "factors.depth_net.x": torch.ones(1)})
    file = Path("a.pth")
    without = {name: tensor for name, tensor in tensors.items() if not name.startswith("netL/")}
    with pytest.raises(CheckpointError, match="netL is missing"):
        networks_of(without, file)
    with pytest.raises(CheckpointError, match=r"netV/network\.0\.weight holds NaN"):
        networks_of({**tensors, "netV/network.0.weight": torch.full((16, 3, 4, 4), float("nan"))}, file)
    with pytest.raises(CheckpointError, match="another network"):
        networks_of({**tensors, "netD/network.0.weight": torch.ones(3)}, file)
    prefixed = {name.replace("/network", "/module.network"): tensor for name, tensor in tensors.items()}
    assert networks_of(prefixed, file).weights.keys() == networks_of(tensors, file).weights.keys()


def test_kinds_of_files_are_told_from_each_other(root: Path) -> None:
    expected = {
        "checkpoints/gan2shape/celeba_pretrain.pth": "networks",
        "checkpoints/view_light/celeba_view_mvn.pth": "Gaussian",
        "checkpoints/view_light/celeba_light_mvn.pth": "Gaussian",
        "data/celeba/latents/0000.pt": "latent",
        "data/celeba/latents/0001.pt": "latent",
        "data/celeba/list.txt": "list",
        "data/celeba/0000.png": "",
        "configs/celeba.yml": "configuration",
        "none.txt": "",
        "none.pt": "",
    }
    assert {name: kind_of_release(root / name) for name in expected} == expected


def test_plain_tensors_are_those_of_the_networks() -> None:
    tensors = {
        "netD/module.network.0.weight": torch.ones(2, dtype=torch.float64),
        "netD/network.1.bias": torch.ones(3),
        "netX/network.0.weight": torch.ones(1),
        "optimizer_netD/exp_avg": torch.ones(1),
    }
    found = plain_tensors(tensors)
    assert {name: tensor.shape[0] for name, tensor in found.items()} == {
        "netD/network.0.weight": 2,
        "netD/network.1.bias": 3,
    }
    assert found["netD/network.0.weight"].dtype == torch.float32


def test_gaussians_are_read(root: Path) -> None:
    view, light = official_files.gaussians()
    for kind, count, made in (("view", 6, view), ("light", 4, light)):
        mean, covariance = read_gaussian(root / "checkpoints" / "view_light" / f"celeba_{kind}_mvn.pth", count)
        torch.testing.assert_close(mean, made["mean"].double())
        torch.testing.assert_close(covariance, made["cov"].double(), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    "content, says",
    [
        ({"mean": torch.zeros(4), "cov": torch.eye(4)}, r"expected mean \(6,\) and cov \(6, 6\); got mean \(4,\)"),
        ({"mean": torch.zeros(6)}, "expected mean"),
        ({"mean": torch.zeros(6), "cov": -torch.eye(6)}, "without negative directions"),
        ({"mean": torch.zeros(6), "cov": torch.ones(6, 6).triu()}, "symmetric"),
        ({"mean": torch.full((6,), float("nan")), "cov": torch.eye(6)}, "NaN"),
    ],
)
def test_other_gaussians_are_told(content: dict[str, torch.Tensor], says: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=says):
        read_gaussian(tmp_path / "a.pth", 6)


def test_lists_find_pictures_and_latents(root: Path) -> None:
    folder = root / "data" / "celeba"
    (folder / "latents" / "0001.pt").unlink()
    found = read_list(folder / "list.txt")
    assert [item.picture.name for item in found] == ["0000.png", "0001.png", "0002.png"]
    assert [item.latent and item.latent.name for item in found] == ["0000.pt", None, "0002.pt"]
    (folder / "image").mkdir()
    for item in found:
        item.picture.rename(folder / "image" / item.picture.name)
    assert [item.picture.parent.name for item in read_list(folder / "list.txt")] == ["image"] * 3
    assert read_list(folder / "list.txt", root=folder / "image", latents=folder)[0].latent is None
    assert latent_beside(folder / "latents", "0002.png") == folder / "latents" / "0002.pt"
    assert latent_beside(folder / "latents", "0" * 253 + ".png") is None  # Longer than a name can be with .safetensors.


def test_lists_that_are_none_are_told(root: Path) -> None:
    folder = root / "data" / "celeba"
    (folder / "empty.txt").write_text("\n")
    (folder / "binary.txt").write_bytes(b"\xff\xfe")
    (folder / "wrong.txt").write_text("0000.png\n../no\x1b[2J.png extra\n")
    (folder / "long.txt").write_text("a" * 300 + ".png\n")
    (folder / "null.txt").write_text("a\0b.png\n")
    for name, says in (
        ("empty", "it is empty"),
        ("binary", "got no text"),
        ("missing", "No such file"),
        ("wrong", r"the picture \.\./no\?\[2J\.png in .* not there"),
        ("long", "the picture a{100} in .* not there"),
        ("null", r"the picture a\?b\.png in .* not there"),
    ):
        with pytest.raises(InputError, match=says):
            read_list(folder / f"{name}.txt")
