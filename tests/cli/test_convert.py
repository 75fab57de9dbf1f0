"""``gan2shape convert``, and ``info`` of what it wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gan2shape.cli import main
from tests.cli.conftest import leftovers
from tests.generators.test_convert import alias_free, conditional

Mistake = Callable[..., str]


def test_a_class_of_a_pickle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = conditional(tmp_path), tmp_path / "one.safetensors"
    assert main(["convert", str(source), "--class", "2", "--half", "-o", str(target)]) == 0
    said = capsys.readouterr().out
    assert "StyleGAN2, class 2 from network.pkl" in said
    assert str(target) in said
    assert main(["info", str(target), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    origin = json.loads(facts["file: generator"])
    assert (origin["source"], origin["class"], origin["precision"]) == ("network.pkl", 2, "float16")
    assert "classes" not in facts
    assert main(["sample", "--generator", str(target), "--count", "1", "-o", str(tmp_path / "samples")]) == 0


def test_info_of_every_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = alias_free(tmp_path), tmp_path / "free.safetensors"
    assert main(["convert", str(source), "-o", str(target)]) == 0
    capsys.readouterr()
    for file, layout in ((source, "NVIDIA pickle"), (target, "NVIDIA's names")):
        assert main(["info", str(file), "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert (facts["kind"], facts["layout"], facts["resolution"]) == ("StyleGAN3-R", layout, 64)
        assert facts["missing"] == ["discriminator"]


def test_mistakes_are_one_line_and_leave_nothing(tmp_path: Path, checkpoint: Path, mistake: Mistake) -> None:
    assert "file to convert itself" in mistake("convert", checkpoint, "-o", checkpoint)
    assert "must end in .safetensors" in mistake("convert", checkpoint, "-o", tmp_path / "out.pt")
    assert "No such file" in mistake("convert", tmp_path / "no.pt", "-o", tmp_path / "out.safetensors")
    assert "only files can be converted" in mistake("convert", "m:f", "-o", tmp_path / "out.safetensors")
    (tmp_path / "file").write_text("in the way")
    assert "gan2shape: " in mistake("convert", checkpoint, "-o", tmp_path / "file" / "out.safetensors")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file"]
    assert leftovers(tmp_path) == []
