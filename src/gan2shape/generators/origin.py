"""Which file a converted generator was made from, as its header says.

The header is data from a stranger. Whoever writes another file's hash into it has results and encoders of that file
opened with other weights: views that do not fit, and nothing worse. Sizes are checked wherever they meet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

HEADER = "generator"
"""Entry of a safetensors header with what `save_generator` and `convert` say of the file, as JSON."""
SOURCE, ORIGIN, CLASS = "source_sha256", "origin_sha256", "class"
"""In that entry: the hash of the file converted, that of the first of several conversions, the class chosen."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOST_CLASSES = 1 << 20


@dataclass(frozen=True)
class Origin:
    """The file that a conversion goes back to."""

    sha256: str
    """Of the first file, in hexadecimal."""
    class_index: int | None = None
    """Which class of it the converted file holds; None where the first file is unconditional."""


def origin_of(metadata: Mapping[str, str]) -> Origin | None:
    """What the texts of a safetensors header say; None where they say nothing that can be used."""
    try:
        record = json.loads(metadata[HEADER])
    except (KeyError, ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    digest, chosen = record.get(ORIGIN, record.get(SOURCE)), record.get(CLASS)
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        return None
    if chosen is not None and (type(chosen) is not int or not 0 <= chosen < _MOST_CLASSES):
        return None
    return Origin(digest, chosen)
