"""The benchmark's table: rows of an earlier result that are taken over."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from tests.benchmarks.conftest import script

NEW = [{"key": "constant", "note": ""}, {"key": "default", "note": ""}]
OLD = {"rows": [{"key": "paper-synface", "note": "", "chosen": 1}, {"key": "default", "note": "old"}]}


@pytest.fixture
def synface(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("synface", monkeypatch)


def test_a_row_that_is_kept_stands_before_the_presets_and_says_of_when_it_is(synface: ModuleType) -> None:
    rows: list[dict[str, Any]] = synface.with_earlier(NEW, OLD, {"paper-synface": "of old"}, ["default"])
    assert [row["key"] for row in rows] == ["constant", "paper-synface", "default"]
    assert rows[1] == {"key": "paper-synface", "note": "of old", "chosen": 1}
    assert rows[2]["note"] == ""


def test_nothing_is_kept_unless_it_is_named_and_what_is_missing_is_refused(synface: ModuleType) -> None:
    assert synface.with_earlier(NEW, OLD, {}, ["default"]) == NEW
    with pytest.raises(SystemExit, match="expected rows of the earlier result; got supervised"):
        synface.with_earlier(NEW, OLD, {"supervised": "x"}, ["default"])
