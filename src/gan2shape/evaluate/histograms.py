"""Two samples as histograms on one picture: what is true as an area, what was generated as a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gan2shape.io.files import write_bytes
from gan2shape.io.images import encode_png

BINS = 40
PANEL_PX, HEIGHT_PX, MARGIN_PX = 420, 260, 24
_TEXT_PX = 14
_PAPER, _INK, _TRUE, _GENERATED = (255, 255, 255), (25, 25, 30), (200, 205, 212), (200, 60, 30)
_TICKS = 5


@dataclass(frozen=True, eq=False)
class Panel:
    """One comparison.

    Attributes:
        title: one line above it.
        note: one line below the title.
        true: sample (N,).
        generated: sample (M,).
    """

    title: str
    note: str
    true: np.ndarray
    generated: np.ndarray


def shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of a sample (N,) in each of the bins between ``edges`` (K + 1,): (K,), what is outside counts nowhere."""
    return np.histogram(values, edges)[0] / len(values)


def draw_histograms(panels: Sequence[Panel]) -> Image.Image:
    """Panels side by side on white.

    Raises:
        ValueError: no panel, or an empty sample.
    """
    if not panels or not all(len(panel.true) and len(panel.generated) for panel in panels):
        raise ValueError("expected panels with two samples each; got none, or an empty sample")
    sheet = Image.new("RGB", (len(panels) * (PANEL_PX + MARGIN_PX) + MARGIN_PX, HEIGHT_PX + 4 * MARGIN_PX), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, panel in enumerate(panels):
        _draw_panel(draw, panel, MARGIN_PX + index * (PANEL_PX + MARGIN_PX))
    return sheet


def write_histograms(path: str | Path, panels: Sequence[Panel]) -> None:
    """Write `draw_histograms` as PNG. Raises `OutputError`, `ValueError`."""
    write_bytes(path, encode_png(np.asarray(draw_histograms(panels))))


def _draw_panel(draw: ImageDraw.ImageDraw, panel: Panel, left: int) -> None:
    font = ImageFont.load_default(_TEXT_PX)
    both = np.concatenate([panel.true, panel.generated])
    low, high = (float(value) for value in np.quantile(both, (0.001, 0.999)))
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    true, generated = shares(panel.true, edges), shares(panel.generated, edges)
    top, bottom = 2 * MARGIN_PX + 8, HEIGHT_PX + 2 * MARGIN_PX
    scale = (bottom - top) / max(true.max(), generated.max())
    across = np.linspace(left, left + PANEL_PX, BINS + 1)
    draw.text((left, 4), panel.title, font=ImageFont.load_default(_TEXT_PX + 3), fill=_INK)
    draw.text((left, MARGIN_PX + 4), panel.note, font=font, fill=_GENERATED)
    line: list[tuple[float, float]] = [(float(across[0]), float(bottom))]
    for k in range(BINS):
        sides, height = (float(across[k]), float(across[k + 1])), float(bottom - scale * generated[k])
        if true[k] > 0:
            draw.rectangle((sides[0], float(bottom - scale * true[k]), sides[1], float(bottom)), fill=_TRUE)
        line += [(sides[0], height), (sides[1], height)]
    draw.line([*line, (float(across[-1]), float(bottom))], fill=_GENERATED, width=2)
    draw.line([(left, bottom), (left + PANEL_PX, bottom)], fill=_INK)
    ticks = zip(np.linspace(0, PANEL_PX, _TICKS), np.linspace(low, high, _TICKS), strict=True)
    for index, (place, value) in enumerate(ticks):
        anchor = "la" if index == 0 else "ra" if index == _TICKS - 1 else "ma"  # Panels stand side by side.
        draw.line([(left + place, bottom), (left + place, bottom + 5)], fill=_INK)
        draw.text((left + place, bottom + 8), f"{value:.3g}", font=font, fill=_INK, anchor=anchor)
