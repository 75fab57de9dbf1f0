"""How much is done for the eye: the benchmark's own look, and a richer one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """What may differ between pictures of the same draws. Pose, light and camera never do."""

    name: str
    """Name on the command line and in files."""
    hair_volume_cm: float = 0.0
    """How far hair stands off the scalp, before its waves. Changes depth, normals and mask."""
    strands: float = 0.05
    """Relative strength of the strands in the colour of hair, brows and beard."""
    wrap: float = 0.0
    """How far light reaches round the terminator, as a cosine; 0 is Lambert's law, the method's own shading."""
    background_waves: float = 0.0
    """Height of the soft pattern on backgrounds, in linear brightness."""


PLAIN = Look("plain")
"""The benchmark: its recipe's geometry, shading and smooth backgrounds."""
DETAILED = Look("detailed", hair_volume_cm=0.9, strands=0.14, wrap=0.25, background_waves=0.025)
"""Hair with volume, softer light, textured backgrounds: nicer, and not what the benchmark's numbers are about."""
LOOKS = {look.name: look for look in (PLAIN, DETAILED)}
"""The looks by name."""
