"""The script benchmarks/coverage.py: its tables, and what it leaves of the model card."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from gan2shape.evaluate.coverage import Seen, compare
from gan2shape.networks.probe import NUMBERS
from tests.benchmarks.conftest import script


@pytest.fixture
def coverage(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("coverage", monkeypatch)


def test_a_card_without_a_mark_is_refused_before_anything_is_measured(
    coverage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = tmp_path / "card.md"
    monkeypatch.setattr(coverage, "CARD", card)
    monkeypatch.setattr(sys, "argv", ["coverage.py", "--truth", "nowhere.npz", "--probe", "nowhere"])
    for text in (f"a\n{coverage.FIRST}\nb\nc", f"a\n{coverage.LAST}\nb", f"{coverage.LAST}{coverage.FIRST}"):
        card.write_text(text, encoding="utf-8")
        with pytest.raises(SystemExit, match="one is missing"):
            coverage.main()
        assert card.read_text(encoding="utf-8") == text
    assert coverage.card_parts(f"a\n{coverage.FIRST}\nb\n{coverage.LAST}\nc") == ("a\n", "\nc")


def test_the_card_in_the_repository_has_its_marks(coverage: ModuleType) -> None:
    head, tail = coverage.card_parts(coverage.CARD.read_text(encoding="utf-8"))
    assert head
    assert tail


def test_tables_of_true_pictures_that_do_not_vary(coverage: ModuleType) -> None:
    rng = np.random.default_rng(0)
    generated, true = (Seen(rng.normal(size=(n, 3)), rng.normal(size=(n, len(NUMBERS)))) for n in (20, 40))
    true.numbers[:, NUMBERS.index("yaw")] = 2.0
    text = coverage.tables({"one": compare(generated, true)}, {})
    (row,) = [line for line in text.splitlines() if line.startswith("| yaw |")]
    assert row.split("|")[4] == " – "
    assert "| –, 1.000 |" in text or "| –, 0." in text
