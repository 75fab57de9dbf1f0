"""The looks."""

from __future__ import annotations

from gan2shape.data.look import DETAILED, LOOKS, PLAIN


def test_the_benchmark_keeps_geometry_shading_and_background() -> None:
    assert (PLAIN.hair_volume_cm, PLAIN.wrap, PLAIN.background_waves) == (0, 0, 0)


def test_looks_by_name() -> None:
    assert LOOKS == {"plain": PLAIN, "detailed": DETAILED}
