"""Settings in the flat part of YAML that hand-written configurations use: ``key: value`` lines.

A value is a number, a text, true or false, null, a list in brackets, a table in braces, or a table of lines below its
key, all indented by the same count of spaces; comments are skipped. Nothing else of YAML is read: no anchors, tags,
lists of lines or documents, so that a line means what it shows, and no library is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gan2shape.errors import InputError

Value = bool | int | float | str | None | list["Value"] | dict[str, "Value"]
_MOST_BYTES = 1 << 20
_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)\s*:(?:\s+(.*)|$)")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_WORDS: Mapping[str, Value] = {"true": True, "false": False, "null": None, "~": None, "": None}
_FOREIGN = "&*!|>%@`-?"
"""A plain text that begins so is another part of YAML."""


@dataclass(frozen=True)
class Setting:
    """One value and the line it stands on, from 1."""

    value: Value
    line: int


def read_settings(file: Path) -> dict[str, Setting]:
    """The settings of a file by key, in its order.

    Raises:
        InputError: no such file, no text, or a line that is not of this kind; it is named by its number.
    """
    try:
        with open(file, "rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{file}: expected a configuration (.yml); got {error.strerror or 'no file'}") from None
    if len(data) > _MOST_BYTES:
        raise InputError(f"{file}: expected a configuration (.yml); it is larger than any")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{file}: expected a configuration (.yml); it is no text") from None
    settings: dict[str, Setting] = {}
    table: dict[str, Value] | None = None
    width = 0
    for number, spaces, key, raw in _lines(text, file):
        if spaces and table is None:
            raise InputError(f"{file}, line {number}: {key} is indented, but belongs to no key above")
        if spaces and table and spaces != width:
            raise InputError(f"{file}, line {number}: expected {width} spaces before {key}; got {spaces}")
        if spaces and not raw:
            raise InputError(f"{file}, line {number}: expected a value of {key}; got none: a table holds no others")
        width = spaces
        target = table if spaces and table is not None else settings
        if key in target:
            raise InputError(f"{file}, line {number}: the key {key} is there twice")
        try:
            value = _value(raw)
        except ValueError as error:
            raise InputError(f"{file}, line {number}: {error}") from None
        if spaces and table is not None:
            table[key] = value
        else:
            table = {} if raw == "" else None
            settings[key] = Setting(value, number) if table is None else Setting(table, number)
    # A key without a value and without lines below it has none.
    return {key: Setting(None, s.line) if s.value == {} else s for key, s in settings.items()}


def _lines(text: str, file: Path) -> Iterator[tuple[int, int, str, str]]:
    """Number, count of spaces before it, key and raw value of every line that says something."""
    for number, line in enumerate(text.splitlines(), start=1):
        bare = _without_comment(line).rstrip()
        if not bare.strip() or bare == "---":
            continue
        found = _LINE.fullmatch(bare.strip())
        if found is None or "\t" in bare[: len(bare) - len(bare.lstrip())]:
            shown = "".join(c if c.isprintable() else "?" for c in bare.strip()[:60])
            raise InputError(f"{file}, line {number}: expected key: value; got {shown!r}")
        yield number, len(bare) - len(bare.lstrip(" ")), found[1], (found[2] or "").strip()


def _without_comment(line: str) -> str:
    """A line up to a # that stands at its start or behind a space, outside of quotes."""
    quote = ""
    for place, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and (place == 0 or line[place - 1] in " \t"):
            return line[:place]
    return line


def _value(raw: str) -> Value:
    """A scalar, or a list or table of scalars."""
    if raw.startswith("["):
        return [_scalar(part) for part in _parts(raw, "]")]
    if raw.startswith("{"):
        table: dict[str, Value] = {}
        for part in _parts(raw, "}"):
            key, colon, value = part.partition(":")
            if not colon or key.strip() in table:
                raise ValueError(f"expected {{key: value, ...}}, each key once; got {raw[:60]!r}")
            table[key.strip()] = _scalar(value.strip())
        return table
    return _scalar(raw)


def _parts(raw: str, end: str) -> list[str]:
    inside = raw[1:-1].strip()
    if not raw.endswith(end) or any(character in inside for character in "[]{}'\""):
        raise ValueError(f"expected a list or table of plain values on one line; got {raw[:60]!r}")
    return [part.strip() for part in inside.split(",")] if inside else []


def _scalar(raw: str) -> Value:
    if raw.lower() in _WORDS:
        return _WORDS[raw.lower()]
    if _NUMBER.fullmatch(raw):
        return int(raw) if raw.lstrip("+-").isdigit() and len(raw) < 20 else float(raw)
    if raw[0] in "'\"":
        if len(raw) < 2 or raw[-1] != raw[0] or raw[0] in raw[1:-1]:
            raise ValueError(f"a quoted text has no end: {raw[:60]!r}")
        return raw[1:-1]
    if raw[0] in _FOREIGN or "\\" in raw:
        raise ValueError(f"expected a plain value; got {raw[:60]!r}")
    return raw
