"""The module benchmarks/kept.py: tables of results that a stopped run goes on with."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmarks.conftest import script


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    return with_results(script("kept", monkeypatch), tmp_path, monkeypatch)


def with_results(module: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, with its results in a folder and without facts about the machine."""

    def write(name: str, result: object) -> None:
        (folder / f"{name}.json").write_text(json.dumps(result))

    monkeypatch.setattr(module, "RESULTS", folder)
    monkeypatch.setattr(module, "machine", dict)
    monkeypatch.setattr(module, "write_result", write)
    return module


def test_a_stopped_run_goes_on_with_the_same_settings_alone(kept: ModuleType) -> None:
    kept.Kept("some", {"sizes": (1, 2)}).add(3, "w", {"side": 1.0})
    again = kept.Kept("some", {"sizes": (1, 2)})
    assert again.has(3, "w")
    assert not again.has(3, "w+")
    assert not again.has(4, "w")
    assert not kept.Kept("some", {"sizes": (1, 3)}).has(3, "w")


def test_what_stands_elsewhere_in_the_file_stays(kept: ModuleType, tmp_path: Path) -> None:
    kept.Kept("some", {"seed": 0}, ("fit",)).add(0, "w", {"psnr_db": 30.0})
    kept.Kept("some", {"seed": 0}, ("shape", "one")).add(0, "w", {"side": 1.0})
    kept.Kept("some", {"seed": 1}, ("shape", "another")).add(0, "w", {"side": 2.0})
    whole = json.loads((tmp_path / "some.json").read_text())
    assert whole["fit"]["pictures"] == {"0": {"w": {"psnr_db": 30.0}}}
    assert whole["shape"]["one"]["pictures"] == {"0": {"w": {"side": 1.0}}}
    assert whole["shape"]["another"]["settings"] == {"seed": 1}
    # Other settings replace their own table only.
    kept.Kept("some", {"seed": 5}, ("shape", "one")).add(7, "w", {"side": 3.0})
    whole = json.loads((tmp_path / "some.json").read_text())
    assert list(whole["shape"]["one"]["pictures"]) == ["7"]
    assert list(whole["shape"]["another"]["pictures"]) == ["0"]


def test_means_and_spreads_are_over_the_pictures_that_have_the_row(kept: ModuleType) -> None:
    table = {"0": {"w": {"side": 1.0}, "w+": {"side": 5.0}}, "1": {"w": {"side": 3.0}}}
    assert kept.summary(table) == {
        "w": {"side": 2.0, "side_std": 1.0, "pictures": 2},
        "w+": {"side": 5.0, "pictures": 1},
    }
