"""What the command knows about itself and about files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gan2shape import __version__
from gan2shape.cli import main
from tests.cli.conftest import RESOLUTION
from tests.io import official_files


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main(["info", *arguments, "--json"]) == 0
    facts: dict[str, object] = json.loads(capsys.readouterr().out)
    return facts


def test_versions_bundle_and_the_bundled_generator(capsys: pytest.CaptureFixture[str]) -> None:
    facts = told(capsys)
    assert facts["gan2shape"] == __version__
    assert facts["torch"] == torch.__version__
    assert "stylegan2_synface64.safetensors" in facts["bundled"]  # type: ignore[operator]
    assert "paper-celeba" in facts["presets"]  # type: ignore[operator]
    assert (facts["generator"], facts["resolution"], facts["file: licence"]) == ("bundled", 64, "MIT")


def test_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["gan2shape", __version__]
    assert any(line.startswith("resolution") and line.endswith("64") for line in lines)


def test_a_generator_file(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = told(capsys, str(checkpoint))
    assert (facts["generator"], facts["resolution"]) == ("tiny.safetensors", RESOLUTION)


def test_a_file_of_other_tensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file({"latent": torch.zeros(1, 8)}, tmp_path / "000.safetensors", metadata={"made": "by hand"})
    facts = told(capsys, str(tmp_path / "000.safetensors"))
    assert facts["shapes"] == {"latent": [1, 8]}
    assert facts["file: made"] == "by hand"
    assert "no generator" in facts


def test_every_file_of_a_release(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mistake: Callable[..., str]
) -> None:
    """Networks have a test of their own, with their conversion."""
    latents = {"000": torch.ones(512), "001": torch.ones(512)}
    pictures = {name: (b"a picture", latent) for name, latent in latents.items()}
    official_files.unpack(tmp_path, "celeba", states={}, pictures=pictures)
    folder, checkpoints = tmp_path / "data" / "celeba", tmp_path / "checkpoints" / "view_light"
    for name in latents:  # One is a dictionary, one a bare tensor.
        facts = told(capsys, str(folder / "latents" / f"{name}.pt"))
        assert (facts["kind"], facts["shapes"]) == ("latent", {"latent": [512]})
    facts = told(capsys, str(checkpoints / "celeba_view_mvn.pth"))
    assert (facts["kind"], facts["shapes"]) == ("Gaussian of the original program", {"cov": [6, 6], "mean": [6]})
    (folder / "latents" / "001.pt").unlink()
    facts = told(capsys, str(folder / "list.txt"))
    assert (facts["kind"], facts["pictures"], facts["latents"]) == ("list of pictures", 2, 1)
    file = tmp_path / "configs" / "celeba.yml"
    facts = told(capsys, str(file))
    assert (facts["kind"], facts["preset"]) == ("configuration of the original program", "paper-celeba")
    assert facts["names"]["networks"] == "checkpoints/gan2shape/celeba_pretrain.pth"  # type: ignore[index]
    file.write_text(file.read_text().replace("fov: 10", "fov: 11"))
    assert told(capsys, str(file))["preset"] == "none has these settings"
    file.write_text("batchsizes: 3\n")
    assert "line 1: the original program has no key batchsizes" in mistake("info", file)
    assert "No such file" in mistake("info", tmp_path / "none.txt")


def test_files_that_hold_nothing(tmp_path: Path, mistake: Callable[..., str]) -> None:
    (tmp_path / "text.pt").write_text("no checkpoint at all")
    assert "not a checkpoint" in mistake("info", tmp_path / "text.pt")
    assert "No such file" in mistake("info", tmp_path / "missing.pt")
    assert "Is a directory" in mistake("info", tmp_path)
