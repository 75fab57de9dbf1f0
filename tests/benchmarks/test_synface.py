"""The benchmark's table: rows of an earlier result that are taken over."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from tests.benchmarks.conftest import script

NEW = [{"key": "constant"}, {"key": "ellipsoid"}, {"key": "from_ellipsoid"}, {"key": "default"}]
OLD = {
    "pictures": "0-9",
    "rows": [{"key": "paper-synface", "note": "", "chosen": 1}, {"key": "default", "note": "old"}],
}


@pytest.fixture
def synface(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("synface", monkeypatch)


def test_a_row_that_is_kept_stands_before_those_that_take_minutes_and_says_of_when_it_is(synface: ModuleType) -> None:
    kept: dict[str, Any] = synface.kept_rows(OLD, {"paper-synface": "of old"}, "0-9")
    assert kept == {"paper-synface": {"key": "paper-synface", "note": "of old", "chosen": 1}}
    rows: list[dict[str, Any]] = synface.with_earlier(NEW, kept, {"from_ellipsoid", "default"})
    assert [row["key"] for row in rows] == ["constant", "ellipsoid", "paper-synface", "from_ellipsoid", "default"]


def test_nothing_is_kept_unless_it_is_named_and_what_does_not_fit_is_refused(synface: ModuleType) -> None:
    assert synface.with_earlier(NEW, synface.kept_rows({}, {}, "0-9"), {"default"}) == NEW
    with pytest.raises(SystemExit, match="expected rows of the earlier result; got supervised"):
        synface.kept_rows(OLD, {"supervised": "x"}, "0-9")
    with pytest.raises(SystemExit, match="expected a result of pictures 0-4; got 0-9"):
        synface.kept_rows(OLD, {"default": "x"}, "0-4")
