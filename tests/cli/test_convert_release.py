"""``gan2shape convert`` of the original program's files: its networks become one file, the others need none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from gan2shape.cli import main
from gan2shape.io.checkpoints import read_tensors, write_tensors
from gan2shape.result import ReconstructionResult
from tests.cli.conftest import FEW_STEPS, LATENT_DIM
from tests.io import official_files

Mistake = Callable[..., str]
SIZES = {"width": 8, "code": 8, "offset": 4, "latent": LATENT_DIM}


@pytest.fixture
def networks(tmp_path: Path) -> Path:
    """As a release has them: beside an optimiser, in the format that torch had at the time."""
    file = tmp_path / "celeba_pretrain.pth"
    content = {**official_files.networks(64, **SIZES), "optimizer_netD": {"exp_avg": torch.ones(5)}, "iteration": 7}
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file


def test_networks_alone_are_kept_with_their_origin(networks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = networks.with_suffix(".safetensors")
    assert main(["convert", str(networks), "-o", str(target)]) == 0
    assert "networks of the original program from celeba_pretrain.pth: " in capsys.readouterr().out
    kept, states = read_tensors(target), official_files.networks(64, **SIZES)
    assert kept.keys() == {f"{network}/{name}" for network, state in states.items() for name in state}
    assert all(
        torch.equal(kept[f"{n}/{name}"], tensor) for n, state in states.items() for name, tensor in state.items()
    )
    with safe_open(str(target), framework="pt") as file:
        origin = json.loads(file.metadata()["networks"])
    assert origin["source"] == "celeba_pretrain.pth"
    assert origin["source_sha256"] == hashlib.sha256(networks.read_bytes()).hexdigest()
    assert (origin["image_size"], origin["latent_dim"], origin["precision"]) == (64, LATENT_DIM, "float32")
    assert main(["convert", str(target), "--half", "-o", str(networks.with_name("half.safetensors"))]) == 0
    half = read_tensors(networks.with_name("half.safetensors"))
    assert {tensor.dtype for tensor in half.values()} == {torch.float16}
    assert half.keys() == kept.keys()


def test_info_tells_sizes_of_both(networks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = networks.with_suffix(".safetensors")
    assert main(["convert", str(networks), "-o", str(target)]) == 0
    capsys.readouterr()
    count = {n: sum(t.numel() for t in s.values()) for n, s in official_files.networks(64, **SIZES).items()}
    for file in (networks, target):
        assert main(["info", str(file), "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert (facts["networks"], facts["kind"]) == (file.name, "networks of the original program")
        assert (facts["image_size"], facts["map_width"], facts["vector_width"]) == (64, 8, 8)
        assert (facts["code_size"], facts["offset_width"], facts["latent_dim"]) == (8, 4, LATENT_DIM)
        assert facts["parameters"] == count
    assert json.loads(facts["file: networks"])["source"] == "celeba_pretrain.pth"


def test_a_reconstruction_starts_from_either_in_the_same_way(networks: Path, checkpoint: Path, tmp_path: Path) -> None:
    target = networks.with_suffix(".safetensors")
    assert main(["convert", str(networks), "-o", str(target)]) == 0
    flags = ["--generator", str(checkpoint), "--sample", "0", *FEW_STEPS]
    for file in (networks, target):
        out = str(tmp_path / file.suffix)
        assert main(["reconstruct", *flags, "--pretrained", str(file), "-o", out, "--compat"]) == 0
    one, other = (ReconstructionResult.load(tmp_path / file.suffix / "sample_0") for file in (networks, target))
    assert one.config == other.config
    assert all(torch.equal(tensor, other.networks[name]) for name, tensor in one.networks.items())


def test_what_needs_no_conversion_is_told(networks: Path, tmp_path: Path, mistake: Mistake) -> None:
    view, _ = official_files.gaussians()
    torch.save(view, tmp_path / "view.pth")
    torch.save(torch.ones(1, 512), tmp_path / "bare.pt")
    torch.save({"latent": torch.ones(512)}, tmp_path / "named.pt")
    (tmp_path / "list.txt").write_text("000.png\n")
    (tmp_path / "celeba.yml").write_text("fov: 10\n")
    known = "convertible are StyleGAN checkpoints and the original program's networks"
    for name, says in {
        "view.pth": "a Gaussian of the original program, which reconstruct reads as it is (--view-mvn, --light-mvn)",
        "bare.pt": "a latent, which reconstruct reads as it is (--latent, --latents)",
        "named.pt": "a latent, which reconstruct reads as it is (--latent, --latents)",
        "celeba.yml": "a configuration of the original program, which reconstruct reads as it is (--config)",
        "list.txt": "a list of pictures, which reconstruct reads as it is (in place of a PICTURE)",
    }.items():
        said = mistake("convert", tmp_path / name, "-o", tmp_path / "out.safetensors")
        assert f"{name} is {says}; {known}" in said
    said = mistake("convert", networks, "--class", "1", "-o", tmp_path / "out.safetensors")
    assert "holds networks, which know no classes; leave out --class" in said
    assert not (tmp_path / "out.safetensors").exists()


def test_mistakes_leave_nothing(networks: Path, tmp_path: Path, mistake: Mistake) -> None:
    target = tmp_path / "out.safetensors"
    assert "must end in .safetensors" in mistake("convert", networks, "-o", tmp_path / "out.pth")
    tensors = {f"{n}/{name}": t for n, s in official_files.networks(64, **SIZES).items() for name, t in s.items()}
    cases = {
        "netL is missing": {name: tensor for name, tensor in tensors.items() if not name.startswith("netL")},
        "holds NaN": tensors | {"netD/network.0.weight": tensors["netD/network.0.weight"] * float("nan")},
        "expected (4,": tensors | {"netL/network.10.weight": torch.ones(5, 128, 1, 1)},
    }
    for says, changed in cases.items():
        write_tensors(tmp_path / "bad.safetensors", changed)
        assert says in mistake("convert", tmp_path / "bad.safetensors", "-o", target)
        assert main(["info", str(tmp_path / "bad.safetensors")]) == 0  # It still tells what is there.
    large = tensors | {"netD/network.0.weight": tensors["netD/network.0.weight"] * 1e6}
    write_tensors(tmp_path / "large.safetensors", large)
    said = mistake("convert", tmp_path / "large.safetensors", "--half", "-o", target)
    assert "the tensor netD/network.0.weight does not fit into torch.float16" in said
    assert not target.exists()
