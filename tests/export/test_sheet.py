"""The contact sheet: cells large enough, pictures where they belong, labels below them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan2shape.export.sheet import GAP_PX, LABEL_PX, MARGIN_PX, TITLE_PX, WIDTH_PX, Band, Cell, write_contact_sheet

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 100, 0), (0, 100, 200)]


def plain(colour: tuple[int, int, int]) -> torch.Tensor:
    return (torch.tensor(colour) / 127.5 - 1)[:, None, None].expand(3, 8, 8)


@pytest.mark.parametrize("count", [1, 6, 9, 10])
def test_cells_are_large_and_in_order(tmp_path: Path, count: int) -> None:
    cells = [Cell(f"label {index}", plain(COLOURS[index % 5])) for index in range(count)]
    write_contact_sheet(
        tmp_path / "s.png", [Band("A title", cells), Band("Another", [Cell("grey", torch.zeros(1, 8, 8))])]
    )
    sheet = np.asarray(Image.open(tmp_path / "s.png"))
    assert sheet.shape[1] == WIDTH_PX
    columns = max(6, count)
    side = (WIDTH_PX - 2 * MARGIN_PX - (columns - 1) * GAP_PX) // columns
    assert side >= 128
    top = MARGIN_PX + TITLE_PX + 8
    for index in range(count):
        left = MARGIN_PX + index * (side + GAP_PX)
        cell = sheet[top : top + side, left : left + side]
        assert (cell == COLOURS[index % 5]).all()
        label = sheet[top + side + 3 : top + side + 3 + LABEL_PX + 4, left : left + side]
        assert (label < 160).any()  # Ink.
        assert (sheet[top + side + 3 : top + side + 20, left + side : left + side + GAP_PX] == 255).all()
    assert (sheet[MARGIN_PX : MARGIN_PX + TITLE_PX + 6] < 100).any()
    assert (sheet[:, :MARGIN_PX] == 255).all()
    assert (sheet[-5:] == 255).all()
