"""Numbers that a benchmark keeps as it goes, so that a run that was stopped goes on.

In the file they are a table: picture, then row, then named numbers. Means over the pictures stand beside it, and the
settings that the numbers depend on: a run with other settings begins its table anew.
"""

from __future__ import annotations

import json
import statistics
from typing import Any

from common import RESULTS, machine, write_result

Numbers = dict[str, float]
Table = dict[str, dict[str, Numbers]]


class Kept:
    """A table of the file ``results/NAME.json``: what is done already, and every entry written as soon as it is made.

    Two runs of the same settings may share the file, each with pictures of its own.

    Args:
        name: of the result file.
        settings: what the numbers depend on.
        place: keys under which the table stands in the file; whatever else is there stays.
    """

    def __init__(self, name: str, settings: dict[str, Any], place: tuple[str, ...] = ()) -> None:
        self.name, self.settings, self.place = name, json.loads(json.dumps(settings)), place
        self.table = self._kept(read(name))

    def has(self, index: int, row: str) -> bool:
        """Whether a row of a picture is done."""
        return row in self.table.get(str(index), {})

    def add(self, index: int, row: str, numbers: Numbers) -> None:
        """Keep a row of a picture, and write."""
        print(*self.place, index, row, numbers, flush=True)
        whole = read(self.name)
        self.table = self._kept(whole)
        self.table.setdefault(str(index), {})[row] = numbers
        self.table = dict(sorted(self.table.items(), key=lambda entry: int(entry[0])))
        own = {"machine": machine(), "settings": self.settings, "mean": summary(self.table), "pictures": self.table}
        at(whole, self.place).update(own)
        write_result(self.name, whole)

    def _kept(self, whole: dict[str, Any]) -> Table:
        """What a file has of these settings."""
        earlier = at(whole, self.place)
        return earlier["pictures"] if earlier.get("settings") == self.settings else {}


def read(name: str) -> dict[str, Any]:
    """A result file; nothing where there is none."""
    file = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


def at(whole: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    """What stands under these keys, made where it is missing."""
    for key in place:
        whole = whole.setdefault(key, {})
    return whole


def summary(table: Table) -> dict[str, dict[str, float]]:
    """Mean and standard deviation (population) of every number of every row over its pictures, with their count."""
    rows: dict[str, dict[str, float]] = {}
    for row in dict.fromkeys(row for rows in table.values() for row in rows):
        entries = [rows[row] for rows in table.values() if row in rows]
        means: dict[str, float] = {}
        for name in entries[0]:
            values = [float(one[name]) for one in entries if name in one]
            means[name] = round(statistics.mean(values), 4)
            if len(values) > 1:
                means[f"{name}_std"] = round(statistics.pstdev(values), 4)
        rows[row] = {**means, "pictures": len(entries)}
    return rows
