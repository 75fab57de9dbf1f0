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


def test_files_that_hold_nothing(tmp_path: Path, mistake: Callable[..., str]) -> None:
    (tmp_path / "text.pt").write_text("no checkpoint at all")
    assert "not a checkpoint" in mistake("info", tmp_path / "text.pt")
    assert "No such file" in mistake("info", tmp_path / "missing.pt")
    assert "Is a directory" in mistake("info", tmp_path)
