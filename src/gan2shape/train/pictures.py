"""What a training learns from: an endless, deterministic sequence of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor


class Pictures(Protocol):
    """Pictures by number. The same numbers are always the same pictures, so that a resumed training sees what an
    uninterrupted one would.

    Attributes:
        size: side of the square pictures, in pixels.
        description: where they come from, in one line.
    """

    size: int
    description: str

    def __call__(self, start: int, count: int) -> Mapping[str, Tensor]:
        """Pictures number ``start`` … ``start + count - 1``: ``image`` (count, 3, size, size), signed.

        Where the truth is known, also ``mask`` (count, 1, size, size), 1 = object, ``depth`` (count, 1, size, size) in
        scene units, 0 = background, ``normal`` and ``albedo`` (count, 3, size, size), and numbers of pose and light.
        """
        ...
