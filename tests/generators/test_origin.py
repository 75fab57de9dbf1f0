"""What a converted file says of its source: taken where it makes sense, passed over where it does not."""

from __future__ import annotations

import json

import pytest

from gan2shape.generators.origin import HEADER, Origin, origin_of

DIGEST, OTHER = "ab" * 32, "cd" * 32


def test_the_first_of_several_files_counts() -> None:
    assert origin_of({HEADER: json.dumps({"source_sha256": DIGEST})}) == Origin(DIGEST)
    assert origin_of({HEADER: json.dumps({"source_sha256": DIGEST, "class": 0})}) == Origin(DIGEST, 0)
    both = {"source_sha256": DIGEST, "origin_sha256": OTHER, "class": 7}
    assert origin_of({HEADER: json.dumps(both), "source_sha256": "else"}) == Origin(OTHER, 7)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[" * 100_000,
        "[]",
        "null",
        "9" * 10_000,
        "{}",
        '{"source_sha256": 5}',
        '{"source_sha256": ""}',
        json.dumps({"source_sha256": DIGEST.upper()}),
        json.dumps({"source_sha256": DIGEST + "\n"}),
        json.dumps({"source_sha256": DIGEST + " class 1"}),
        json.dumps({"source_sha256": DIGEST, "origin_sha256": "x"}),
        json.dumps({"source_sha256": DIGEST, "class": -1}),
        json.dumps({"source_sha256": DIGEST, "class": True}),
        json.dumps({"source_sha256": DIGEST, "class": "1"}),
        json.dumps({"source_sha256": DIGEST, "class": 1e3}),
        json.dumps({"source_sha256": DIGEST, "class": 1 << 40}),
    ],
)
def test_what_makes_no_sense_is_passed_over(text: str) -> None:
    assert origin_of({HEADER: text}) is None


def test_other_files_have_no_origin() -> None:
    assert origin_of({}) is None
    assert origin_of({"source_sha256": DIGEST}) is None
