"""The flat part of YAML: every kind of value, and one line for everything else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gan2shape.errors import InputError
from gan2shape.io.flat_yaml import Setting, read_settings

TEXT = """\ufeff## heading
---
a: 1   # one
b: -0.5
c: 1e-4
d: true
e: False
f:
g: null
h: some/path-1.pth
i: 'a # b'
j: "x: y"
k: [1, 2.5, false, word]
l: []
m:
    step1: 600  # inside

    step2: 7
n: {a: 1, b: two}
o: ~
p: .5
q: a#b
"""


def test_values_of_every_kind(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(TEXT, encoding="utf-8")
    settings = read_settings(tmp_path / "a.yml")
    assert {key: setting.value for key, setting in settings.items()} == {
        "a": 1, "b": -0.5, "c": 1e-4, "d": True, "e": False, "f": None, "g": None, "h": "some/path-1.pth",
        "i": "a # b", "j": "x: y", "k": [1, 2.5, False, "word"], "l": [], "m": {"step1": 600, "step2": 7},
        "n": {"a": 1, "b": "two"}, "o": None, "p": 0.5, "q": "a#b",
    }  # fmt: skip
    assert type(settings["a"].value) is int
    assert settings["b"] == Setting(-0.5, 4)
    assert settings["m"].line == 15


def test_what_pyyaml_says_of_the_same_text(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    text = TEXT.replace("c: 1e-4\n", "")  # YAML 1.1 takes this for a text.
    (tmp_path / "a.yml").write_text(text, encoding="utf-8")
    assert {key: s.value for key, s in read_settings(tmp_path / "a.yml").items()} == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text, says",
    [
        ("a: 1\nb 2\n", r"line 2: expected key: value; got 'b 2'"),
        ("a: 1\n  b: 2\n", "line 2: b is indented, but belongs to no key"),
        ("a: 1\na: 2\n", "line 2: the key a is there twice"),
        ("a:\n  b: 1\n  b: 2\n", "line 3: the key b is there twice"),
        ("a:\n  b:\n    c: 1\n", "line 2: expected a value of b; got none: a table holds no others"),
        ("a:\n  b: 1\n    c: 2\n", "line 3: expected 2 spaces before c; got 4"),
        ("a:\n    b: 1\n  c: 2\n", "line 3: expected 4 spaces before c; got 2"),
        ("a: [1, [2]]\n", "line 1: expected a list or table of plain values"),
        ("a: [1, 2\n", "line 1: expected a list or table of plain values"),
        ("a: {b}\n", r"line 1: expected \{key: value"),
        ("a: 'b\n", "line 1: a quoted text has no end"),
        ("a: &x 1\n", "line 1: expected a plain value"),
        ("a: *x\n", "line 1: expected a plain value"),
        ("a: !!python/object/apply:os.system [touch canary]\n", "line 1: expected a plain value"),
        ("- a\n", "line 1: expected key: value"),
        ("a: |\n", "line 1: expected a plain value"),
        ("\ta: 1\n", "line 1: expected key: value"),
        ("a\x1b[2J\n", r"line 1: expected key: value; got 'a\?\[2J'"),
    ],
)
def test_other_lines_are_told_by_their_number(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        read_settings(tmp_path / "a.yml")
    assert str(caught.value).isprintable()


def test_other_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "large").write_bytes(b"a: 1\n" * 300_000)
    for name, says in (("missing", "No such file"), ("binary", "no text"), ("large", "larger than any"), (".", "dir")):
        with pytest.raises(InputError, match=says):
            read_settings(tmp_path / name)


def test_mutations_are_read_or_told(tmp_path: Path) -> None:
    rng = random.Random(1)
    told = 0
    for _ in range(2000):
        data = bytearray(TEXT.encode())
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] = rng.choice(b" :#'\"[]{}\n\x00a1\xff-")
        (tmp_path / "a.yml").write_bytes(data)
        try:
            read_settings(tmp_path / "a.yml")
        except InputError:
            told += 1
    assert 500 < told < 2000
