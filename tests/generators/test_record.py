"""What tells generators from each other, and its way through JSON."""

from __future__ import annotations

import pytest

from gan2shape.generators.record import GeneratorRecord


def test_classes_and_callables_are_told_apart() -> None:
    records = [("a.pt", "12"), ("b.pt", "12"), ("a.pt", "12", 0), ("a.pt", "12", 1), ("m:f", "")]
    identities = [GeneratorRecord(*entries).identity for entries in records]  # type: ignore[arg-type]
    assert identities[0] == identities[1]  # A renamed file is the same generator.
    assert len(set(identities[1:])) == 4
    assert identities[4] == "m:f"


def test_a_converted_file_is_its_source() -> None:
    for chosen in (None, 2):
        converted = GeneratorRecord("a.safetensors", "34", chosen, source_sha256="12")
        assert converted.identity == GeneratorRecord("a.pt", "12", chosen).identity
        assert GeneratorRecord.from_dict(converted.to_dict()) == converted
        assert converted.to_dict()["sha256"] == "34"


@pytest.mark.parametrize("record", [("a", "12"), ("a", "12", 3, "vgg.pth 34"), ("m:f", ""), ("", "")])
def test_there_and_back(record: tuple[str, str]) -> None:
    entries = GeneratorRecord(*record).to_dict()
    assert GeneratorRecord.from_dict(entries) == GeneratorRecord(*record)
    assert ("note" in entries) == (record == ("m:f", ""))


@pytest.mark.parametrize(
    "entries",
    [{}, {"name": "a"}, {"name": "a", "sha256": "", "class_index": None}, {"name": "a", "sha256": "", "x": 1}],
)
def test_other_entries_are_refused(entries: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected generator with"):
        GeneratorRecord.from_dict(entries)
