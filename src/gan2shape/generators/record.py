"""What a result keeps of the generator that it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NO_HASH = "not a file, so there is no hash of it; it is known by its name only"
_KINDS = {"name": str, "sha256": str, "class_index": int, "features": str, "note": str, "source_sha256": str}


@dataclass(frozen=True)
class GeneratorRecord:
    """Which generator, or which other file of weights, made a result.

    Attributes:
        name: the bundled name, the file's name without its folder, or ``module:function``.
        sha256: of the file of weights, hexadecimal; empty for a generator that is not a file.
        class_index: which class of a conditional generator; None for an unconditional one.
        features: where features came from that took the place of the generator's own; empty for those.
        source_sha256: of the file that this one was converted from, as it says itself; empty for any other.
    """

    name: str
    sha256: str
    class_index: int | None = None
    features: str = ""
    source_sha256: str = ""

    @property
    def identity(self) -> str:
        """A text that tells one generator from another: the file's hash with the class, or else the name.

        A converted file is the generator that it was converted from. Two different callables of one name cannot be
        told apart.
        """
        base = self.source_sha256 or self.sha256 or self.name
        return base if self.class_index is None else f"{base} class {self.class_index}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; a generator that is no file is said to have no hash."""
        entries: dict[str, Any] = {"name": self.name, "sha256": self.sha256}
        if self.class_index is not None:
            entries["class_index"] = self.class_index
        if self.features:
            entries["features"] = self.features
        if self.source_sha256:
            entries["source_sha256"] = self.source_sha256
        if self.name and not self.sha256:
            entries["note"] = _NO_HASH
        return entries

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> GeneratorRecord:
        """What `to_dict` gave. Raises ValueError for other entries."""
        got = sorted(entries)
        if not {"name", "sha256"} <= set(got) <= set(_KINDS) or any(
            type(entries[one]) is not _KINDS[one] for one in got
        ):
            raise ValueError(f"expected generator with ['name', 'sha256']; got {got}")
        return cls(**{name: value for name, value in entries.items() if name != "note"})
