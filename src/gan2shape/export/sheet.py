"""The contact sheet: everything about one reconstruction on one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gan2shape.io.files import write_bytes
from gan2shape.io.images import encode_png, to_uint8

WIDTH_PX = 1400
MARGIN_PX = 20
GAP_PX = 6
TITLE_PX = 17
LABEL_PX = 13
_PAPER, _INK, _FAINT = (255, 255, 255), (25, 25, 30), (110, 110, 120)


@dataclass(frozen=True, eq=False)
class Cell:
    """One picture of the sheet.

    Attributes:
        label: a few words under it.
        image: (3, H, W), signed; (1, H, W) is shown as grey.
    """

    label: str
    image: Tensor


@dataclass(frozen=True, eq=False)
class Band:
    """One row of the sheet: its cells share the whole width.

    Attributes:
        title: one line above it.
        cells: at most 10, so that each is at least 128 px wide.
    """

    title: str
    cells: Sequence[Cell]


def contact_sheet(bands: Sequence[Band]) -> Image.Image:
    """Lay the bands out below each other on white, every band as wide as the sheet."""
    title_font, label_font = ImageFont.load_default(TITLE_PX), ImageFont.load_default(LABEL_PX)
    heights = [_band_height(band) for band in bands]
    sheet = Image.new("RGB", (WIDTH_PX, MARGIN_PX + sum(heights)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    top = MARGIN_PX
    for band, height in zip(bands, heights, strict=True):
        draw.text((MARGIN_PX, top), band.title, font=title_font, fill=_INK)
        side = _cell_side(band)
        for index, cell in enumerate(band.cells):
            left, cell_top = MARGIN_PX + index * (side + GAP_PX), top + TITLE_PX + 8
            sheet.paste(_enlarged(cell.image, side), (left, cell_top))
            middle = left + side / 2
            draw.text((middle, cell_top + side + 3), cell.label, font=label_font, fill=_FAINT, anchor="ma")
        top += height
    return sheet


def write_contact_sheet(path: str | Path, bands: Sequence[Band]) -> None:
    """Write the sheet as PNG. Raises `OutputError`."""
    write_bytes(path, encode_png(np.asarray(contact_sheet(bands))))


def _cell_side(band: Band) -> int:
    count = max(6, len(band.cells))  # A lone cell should not fill the sheet.
    return (WIDTH_PX - 2 * MARGIN_PX - (count - 1) * GAP_PX) // count


def _band_height(band: Band) -> int:
    return TITLE_PX + 8 + _cell_side(band) + 3 + LABEL_PX + 18


def _enlarged(image: Tensor, side: int) -> Image.Image:
    colour = image.expand(3, -1, -1) if image.shape[0] == 1 else image
    return Image.fromarray(to_uint8(colour)).resize((side, side), Image.Resampling.BICUBIC)
