"""The histograms: counted by hand, and found again in the pixels of the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan2shape.evaluate.histograms import (
    HEIGHT_PX,
    MARGIN_PX,
    PANEL_PX,
    Panel,
    draw_histograms,
    shares,
    write_histograms,
)

TRUE, GENERATED = (200, 205, 212), (200, 60, 30)


def test_shares_by_counting() -> None:
    values = np.array([-5.0, 0.1, 0.2, 0.9, 1.5, 2.0])
    np.testing.assert_allclose(shares(values, np.array([0.0, 1.0, 2.0])), [3 / 6, 2 / 6])


def _panel(generated: np.ndarray) -> Panel:
    return Panel("yaw", "half as wide", np.random.default_rng(0).normal(0, 10, 4000), generated)


def test_areas_and_lines_stand_where_the_samples_are() -> None:
    panel = _panel(np.random.default_rng(1).uniform(5, 10, 4000))
    sheet = np.asarray(draw_histograms([panel, panel]))
    assert sheet.shape == (HEIGHT_PX + 4 * MARGIN_PX, 2 * (PANEL_PX + MARGIN_PX) + MARGIN_PX, 3)
    # The axis lies below the bars, its end at the 0.1 % quantiles of both samples together.
    low, high = np.quantile(np.concatenate([panel.true, panel.generated]), (0.001, 0.999))
    first = sheet[: HEIGHT_PX + 2 * MARGIN_PX, MARGIN_PX : MARGIN_PX + PANEL_PX]
    heights = (first == TRUE).all(2).sum(0)
    places = low + (np.arange(PANEL_PX) + 0.5) / PANEL_PX * (high - low)
    free = (places < 4) | (places > 11)  # Elsewhere the line covers some of the area.
    density = np.exp(-0.5 * (places[free] / 10) ** 2)
    assert np.corrcoef(heights[free], density)[0, 1] > 0.95
    below_titles = first[2 * MARGIN_PX + 4 :]
    red = (below_titles[:-5] == GENERATED).all(2)  # The line is at the very bottom where nothing was generated.
    inside, outside = (places > 5.7) & (places < 9.3), (places > 12) | (places < 3)
    assert bool(red[:, inside].any(0).all())
    assert red.argmax(0)[inside].max() < 40
    assert not red[:, outside].any()
    assert np.array_equal(sheet[:, MARGIN_PX : MARGIN_PX + PANEL_PX], sheet[:, -MARGIN_PX - PANEL_PX : -MARGIN_PX])


def test_a_constant_sample_is_drawn_too(tmp_path: Path) -> None:
    write_histograms(tmp_path / "h.png", [Panel("a", "b", np.ones(5), np.ones(3))])
    assert Image.open(tmp_path / "h.png").size == (PANEL_PX + 2 * MARGIN_PX, HEIGHT_PX + 4 * MARGIN_PX)


def test_nothing_to_draw() -> None:
    for panels in ([], [_panel(np.zeros(0))]):
        with pytest.raises(ValueError, match="expected panels with two samples each"):
            draw_histograms(panels)
