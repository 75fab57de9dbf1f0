"""The script benchmarks/inversion.py: a run goes on with the same settings alone."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import ModuleType

import pytest

from gan2shape.generators import load_generator
from gan2shape.reconstruct.presets import PRESETS
from tests.benchmarks.conftest import script


@pytest.fixture
def inversion(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("inversion", monkeypatch)


def test_another_truth_or_preset_begins_anew(
    inversion: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inversion, "RESULTS", tmp_path)
    monkeypatch.setattr(inversion, "machine", lambda: {})
    monkeypatch.setattr(
        inversion, "write_result", lambda name, result: (tmp_path / f"{name}.json").write_text(json.dumps(result))
    )
    loaded = load_generator()
    options = argparse.Namespace(truth=tmp_path / "truth.npz", steps=300, seed=0)
    options.truth.write_bytes(b"one")
    first = inversion.Kept(inversion.settings_of(options, loaded))
    first.add("fit", 0, "w", {"psnr_db": 30.0})
    assert inversion.Kept(inversion.settings_of(options, loaded)).has("fit", 0, "w")
    options.truth.write_bytes(b"another")
    assert not inversion.Kept(inversion.settings_of(options, loaded)).has("fit", 0, "w")
    options.truth.write_bytes(b"one")
    monkeypatch.setattr(inversion, "PRESETS", {"default": PRESETS["paper-celeba"]})
    assert not inversion.Kept(inversion.settings_of(options, loaded)).has("fit", 0, "w")
