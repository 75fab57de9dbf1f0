"""Numbers against seconds, drawn with Pillow: panels side by side, means with a band, and lines for comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gan2shape.io.files import write_bytes
from gan2shape.io.images import encode_png

PANEL_PX = (680, 440)
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 62, 24, 44, 62
TITLE_PX, LABEL_PX = 18, 14
_FINE = 3
"""Drawn so many times as large, and shrunk: Pillow's lines have no smooth edges."""
_BEND_SECONDS = 5.0
"""Below it the axis is nearly even, far above it nearly logarithmic."""
_PAPER, _INK, _FAINT, _GRID = (255, 255, 255), (25, 25, 30), (110, 110, 120), (230, 230, 235)
_MEAN, _BAND = (31, 95, 160), (205, 222, 240)
_LINES = ((150, 90, 30), (40, 120, 70), (120, 60, 120))

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Point:
    """A mean with its spread at a number of seconds."""

    x: float
    mean: float
    spread: float


@dataclass(frozen=True)
class Line:
    """A number for comparison, at all seconds."""

    label: str
    value: float


@dataclass(frozen=True)
class Panel:
    """One plot: its points from left to right."""

    title: str
    x_label: str
    points: Sequence[Point]
    lines: Sequence[Line]


def write_plot(path: Path, panels: Sequence[Panel]) -> None:
    """Draw panels side by side and write them as PNG. Raises `OutputError`."""
    write_bytes(path, encode_png(np.asarray(plot(panels))))


def plot(panels: Sequence[Panel]) -> Image.Image:
    """Panels side by side."""
    width, height = PANEL_PX
    image = Image.new("RGB", (_FINE * width * len(panels), _FINE * height), _PAPER)
    draw = ImageDraw.Draw(image)
    for index, panel in enumerate(panels):
        _draw_panel(draw, panel, _FINE * width * index)
    return image.resize((width * len(panels), height), Image.Resampling.LANCZOS)


def position(seconds: float) -> float:
    """Where seconds are on the axis: logarithmic, but with a place for 0."""
    return math.log1p(seconds / _BEND_SECONDS)


def nice_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """At most ``count`` + 1 round numbers from ``low`` to ``high``, 1, 2 or 5 times a power of ten apart."""
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


@dataclass(frozen=True)
class _Axes:
    """From values to pixels of the fine image."""

    box: Box
    x: tuple[float, float]
    y: tuple[float, float]

    @staticmethod
    def of(panel: Panel, offset: float) -> _Axes:
        width, height = PANEL_PX
        left, right = offset + _FINE * LEFT_PX, offset + _FINE * (width - RIGHT_PX)
        box = (left, _FINE * TOP_PX, right, _FINE * (height - BOTTOM_PX))
        places = [position(point.x) for point in panel.points]
        values = [p.mean + sign * p.spread for p in panel.points for sign in (-1, 1)]
        values += [line.value for line in panel.lines]
        low, high = min(values), max(values)
        margin = 0.08 * (high - low) or 0.5
        return _Axes(box, (min(places), max(places) if len(places) > 1 else 1.0), (low - margin, high + margin))

    def at(self, seconds: float, value: float) -> tuple[float, float]:
        left, top, right, bottom = self.box
        across = (position(seconds) - self.x[0]) / (self.x[1] - self.x[0])
        up = (value - self.y[0]) / (self.y[1] - self.y[0])
        inset = 0.03 * (right - left)
        return left + inset + across * (right - left - 2 * inset), bottom - up * (bottom - top)


def _draw_panel(draw: ImageDraw.ImageDraw, panel: Panel, offset: float) -> None:
    axes, small = _Axes.of(panel, offset), ImageFont.load_default(_FINE * LABEL_PX)
    left, _, right, bottom = axes.box
    gap = 6 * _FINE
    draw.text((left, gap), panel.title, font=ImageFont.load_default(_FINE * TITLE_PX), fill=_INK)
    ticks = nice_ticks(*axes.y)
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    for tick in ticks:
        _, y = axes.at(0, tick)
        draw.line((left, y, right, y), fill=_GRID, width=_FINE)
        draw.text((left - gap, y), f"{tick:.{digits}f}", font=small, fill=_FAINT, anchor="rm")
    edges = [axes.at(p.x, p.mean + p.spread) for p in panel.points]
    edges += [axes.at(p.x, p.mean - p.spread) for p in reversed(panel.points)]
    if len(panel.points) > 1:
        draw.polygon(edges, fill=_BAND)
    for line, colour in zip(panel.lines, _LINES, strict=False):
        _, y = axes.at(0, line.value)
        _dash(draw, (left, y, right, y), colour)
        label = f"{line.label} {line.value:.3g}"
        draw.text((right, y - gap / 3), label, font=small, fill=colour, anchor="rb")
    means = [axes.at(p.x, p.mean) for p in panel.points]
    draw.line(means, fill=_MEAN, width=2 * _FINE, joint="curve")
    for (x, y), point in zip(means, panel.points, strict=True):
        radius = 4 * _FINE
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_MEAN)
        draw.line((x, bottom, x, bottom + gap), fill=_FAINT, width=_FINE)
        draw.text((x, bottom + 1.5 * gap), f"{point.x:g}", font=small, fill=_FAINT, anchor="ma")
    draw.line((left, bottom, right, bottom), fill=_FAINT, width=_FINE)
    draw.text(((left + right) / 2, bottom + 5.5 * gap), panel.x_label, font=small, fill=_FAINT, anchor="ma")


def _dash(draw: ImageDraw.ImageDraw, ends: Box, colour: tuple[int, int, int]) -> None:
    """A dashed horizontal line."""
    left, y, right, _ = ends
    dash = 8 * _FINE
    x = left
    while x < right:
        draw.line((x, y, min(x + dash, right), y), fill=colour, width=2 * _FINE)
        x += 2 * dash
