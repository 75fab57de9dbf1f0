"""Files of trained networks: what was written is read, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gan2shape.errors import CheckpointError
from gan2shape.io.checkpoints import sha256
from gan2shape.networks.trained import (
    SUPERVISED,
    UNSUP3D,
    DepthNetwork,
    NetworkSizes,
    describe,
    load_depth_network,
    load_unsup3d,
    read_about,
    save_networks,
    unsup3d_networks,
)

SIZES = NetworkSizes(16, 4, 4, 8)


@pytest.fixture
def picture(rng: torch.Generator) -> torch.Tensor:
    return torch.rand(1, 3, 16, 16, generator=rng) * 2 - 1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_networks(tmp_path / "u.safetensors", UNSUP3D, unsup3d_networks(SIZES), SIZES, {"steps": 7})
    return tmp_path / "u.safetensors"


def test_the_papers_sizes() -> None:
    networks = unsup3d_networks(NetworkSizes.scaled(64))
    firsts = [next(net.parameters()).shape[0] for net in (networks.depth_net, networks.albedo_net)]
    assert firsts == [64, 64]
    assert [next(net.parameters()).shape[0] for net in (networks.view_net, networks.light_net)] == [32, 32]
    assert NetworkSizes.scaled(64, 0.5) == NetworkSizes(64, 32, 16, 256)


def test_reading_back_differs_by_half_precision_only(tmp_path: Path, picture: torch.Tensor) -> None:
    torch.manual_seed(0)
    network, factors = DepthNetwork(SIZES), unsup3d_networks(SIZES)
    save_networks(tmp_path / "s.safetensors", SUPERVISED, network, SIZES)
    save_networks(tmp_path / "u.safetensors", UNSUP3D, factors, SIZES, {"steps": 7})
    with torch.no_grad():
        assert torch.allclose(load_depth_network(tmp_path / "s.safetensors")(picture), network(picture), atol=2e-3)
        scene, again = factors(picture), load_unsup3d(tmp_path / "u.safetensors")(picture)
    assert torch.allclose(scene.depth, again.depth, atol=2e-3)
    assert torch.allclose(scene.pose.rotation, again.pose.rotation, atol=2e-3)
    assert read_about(tmp_path / "u.safetensors") == {"steps": 7}
    assert describe(tmp_path / "u.safetensors")["sizes"] == asdict(SIZES)
    assert (tmp_path / "s.safetensors").stat().st_size < 2.2 * sum(p.numel() for p in network.parameters()) + 8000


def test_what_is_beside_networks_is_kept_whole(tmp_path: Path, picture: torch.Tensor) -> None:
    torch.manual_seed(0)
    network, exact = DepthNetwork(SIZES), torch.tensor([1 / 3, 1e-9, 1e6])
    save_networks(tmp_path / "plain.safetensors", SUPERVISED, network, SIZES)
    save_networks(tmp_path / "more.safetensors", SUPERVISED, network, SIZES, beside={"more.numbers": exact})
    written, plain = (load_file(tmp_path / f"{name}.safetensors") for name in ("more", "plain"))
    assert torch.equal(written.pop("more.numbers"), exact)
    assert written.keys() == plain.keys()
    again, same = (load_depth_network(tmp_path / f"{name}.safetensors") for name in ("more", "plain"))
    assert torch.equal(again(picture), same(picture))


def _shared(file: Path, place: object) -> Path:
    """The same networks without their depth network, which the header says to be elsewhere."""
    header = {**json.loads(_metadata(file)), "shared": {"depth_net.": place}}
    tensors = {name: tensor for name, tensor in load_file(file).items() if not name.startswith("depth_net.")}
    other = file.with_name("other.safetensors")
    save_file(tensors, other, {"gan2shape": json.dumps(header)})
    return other


def _metadata(file: Path) -> str:
    with safe_open(file, "pt") as opened:
        return str(opened.metadata()["gan2shape"])


def test_networks_may_be_kept_in_a_file_beside(file: Path, picture: torch.Tensor) -> None:
    depth = {f"factors.{n}": t for n, t in load_file(file).items() if n.startswith("depth_net.")}
    save_file(depth, file.with_name("depth.safetensors"))
    place = ["depth.safetensors", "factors.depth_net.", sha256(file.with_name("depth.safetensors"))]
    other = _shared(file, place)
    with torch.no_grad():
        assert torch.equal(load_unsup3d(other)(picture).depth, load_unsup3d(file)(picture).depth)
    assert describe(other)["shared"] == {"depth_net.": place}
    assert "shared" not in describe(file)


def test_a_file_beside_that_is_missing_is_told(file: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors"):
        load_unsup3d(_shared(file, ["nowhere.safetensors", "depth_net.", "0" * 64]))
    with pytest.raises(CheckpointError, match="do not belong together"):
        load_unsup3d(_shared(file, [file.name, "depth_net.", "0" * 64]))
    other = _shared(file, [file.name, "nothing_like_it.", sha256(file)])
    with pytest.raises(CheckpointError, match=r"depth_net.* got nothing"):
        load_unsup3d(other)


@pytest.mark.parametrize(
    "place",
    [
        ["../depth.safetensors", "depth_net.", ""],
        ["/etc/passwd", "depth_net.", ""],
        ["..", "depth_net.", ""],
        ["a\\b", "depth_net.", ""],
        ["a\0b", "depth_net.", ""],
        ["\ud800", "depth_net.", ""],
        ["\x1b[2J", "depth_net.", ""],
        ["a" * 300, "depth_net.", ""],
        ["u.safetensors", "", ""],
        ["", "depth_net.", ""],
        ["u.safetensors", "depth_net."],
        "u.safetensors",
        [1, 2],
    ],
)
def test_a_header_names_no_file_elsewhere(file: Path, place: object) -> None:
    with pytest.raises(CheckpointError, match="expected weights that gan2shape train wrote"):
        load_unsup3d(_shared(file, place))


def test_depths_reach_as_far_as_a_view_may() -> None:
    network = DepthNetwork(SIZES)
    with torch.no_grad():
        network.depth_net.decoder[-1].weight *= 1e4
        depth = network(torch.rand(1, 3, 16, 16) * 2 - 1)
    assert [float(depth.min()), float(depth.max())] == pytest.approx([0.8, 1.2], abs=1e-6)


def test_another_kind(file: Path) -> None:
    with pytest.raises(CheckpointError, match="expected the weights of supervised; got those of unsup3d"):
        load_depth_network(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, header: tensors.pop("view_net.network.0.weight"), "view_net.network.0.weight"),
        (lambda tensors, header: tensors.update({"pose_mean": torch.zeros(5)}), "pose_mean of shape"),
        (lambda tensors, header: tensors["pose_mean"].fill_(torch.nan), "NaN"),
        (lambda tensors, header: header["sizes"].update(image_size=17), "power of two"),
        (lambda tensors, header: header["sizes"].update(map_width=-1), "another file"),
        (lambda tensors, header: header["sizes"].update(colour=1), "another file"),
        (lambda tensors, header: header.pop("kind"), "another file"),
    ],
)
def test_changed_files(file: Path, change, message: str) -> None:
    from safetensors import safe_open

    with safe_open(str(file), "pt") as opened:
        header = json.loads(opened.metadata()["gan2shape"])
    tensors = load_file(file)
    change(tensors, header)
    save_file(tensors, file, {"gan2shape": json.dumps(header)})
    with pytest.raises(CheckpointError, match=message) as caught:
        load_unsup3d(file)
    assert "\n" not in str(caught.value)


def test_other_files(tmp_path: Path, file: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    assert describe(tmp_path / "other.safetensors") == {}
    assert describe(file)["kind"] == UNSUP3D
    (tmp_path / "text.safetensors").write_text("nothing of the kind")
    for name in ("other", "text", "missing"):
        with pytest.raises(CheckpointError):
            load_unsup3d(tmp_path / f"{name}.safetensors")
