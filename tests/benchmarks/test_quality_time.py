"""The script benchmarks/quality_time.py and its plot: what a budget of seconds is taken to mean."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from gan2shape.evaluate.score import score_depth
from gan2shape.evaluate.truth import read_truth
from gan2shape.generators import load_generator
from gan2shape.priors.masks import auto_mask
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.reconstruct.target import Target
from gan2shape.reconstruct.turned import TurnedReconstructor, load_start
from gan2shape.reconstruct.turned_refinement import mean_scene
from gan2shape.render import Scene, render
from tests.benchmarks.conftest import BENCHMARKS, script


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("quality_time", monkeypatch)


@pytest.fixture
def plots(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("quality_plot", monkeypatch)


def test_a_budget_is_scored_before_the_iteration_that_would_break_it(quality: ModuleType) -> None:
    now, done = [0.0], [0]

    def score() -> dict[str, float]:
        now[0] += 1000.0  # Scoring must not count.
        return {"side": float(done[0])}

    listen = quality.OnTheWay([10.0, 12.0, 30.0], setup=5.0, score=score, clock=lambda: now[0])

    def run() -> None:
        for iteration in range(100):
            now[0] += 2.0
            done[0] += 1
            listen(iteration, {})

    with pytest.raises(quality.EnoughError):
        run()
    assert {budget: row["iterations"] for budget, row in listen.rows.items()} == {10.0: 2, 12.0: 3, 30.0: 12}
    assert {budget: row["seconds"] for budget, row in listen.rows.items()} == {10.0: 9.0, 12.0: 11.0, 30.0: 29.0}
    assert all(row["side"] == row["iterations"] for row in listen.rows.values())
    assert done[0] == 12


def test_time_that_is_no_iteration_counts_too(quality: ModuleType) -> None:
    now = [0.0]
    listen = quality.OnTheWay([4.0, 20.0], setup=1.0, score=lambda: {"side": now[0]}, clock=lambda: now[0])
    now[0] += 2.0
    listen.prepared()
    assert listen.spent == 3
    now[0] += 0.5
    listen(0, {})
    assert listen.rows == {}
    now[0] += 6.0
    listen.prepared()
    assert list(listen.rows) == [4.0]
    assert listen.spent == 9.5


def test_refinements_scored_on_their_way_are_those_of_the_preset(quality: ModuleType) -> None:
    loaded, truth = load_generator(), read_truth(BENCHMARKS / "data" / "synface64_val.npz")
    start, preset = load_start(loaded), PRESETS["default"]
    few = dataclasses.replace(preset.turned, views=8, batch_size=4, refine=2, refinements=2, hold=0)
    config = dataclasses.replace(preset, turned=few)
    setting = quality.Setting(truth, loaded, start, config, 2, 3)
    image, seen, scenes = setting.picture(1), [], []

    def listener(so_far: Callable[[], Scene]) -> Callable[[int, dict[str, float]], None]:
        return lambda iteration, record: seen.append(setting.score(so_far(), 1))

    for number in (1, 2):
        scenes.append(setting.refine(image, number, listener))
    target = Target(image, loaded.w_mean[None], auto_mask(image))
    result = TurnedReconstructor(loaded, config, start)(target, seed=3)
    mean = setting.score(mean_scene(setting.copy(), image, scenes, told=start(image)), 1)
    view = render(result.scene, result.camera)
    score = score_depth(1, view.depth, view.mask, truth)
    assert mean == {"side": round(score.side, 4), "mad": round(score.mad, 3)}
    assert len(seen) == 4
    assert seen[1] == setting.score(scenes[0], 1)
    assert seen[3] == setting.score(scenes[1], 1)
    assert seen[1] != seen[3]


def test_budgets_are_filled_with_refinements(quality: ModuleType) -> None:
    loaded, truth = load_generator(), read_truth(BENCHMARKS / "data" / "synface64_val.npz")
    preset = PRESETS["default"]
    few = dataclasses.replace(preset.turned, views=4, batch_size=2, refine=2, hold=0)
    found = dataclasses.replace(preset.inversion, samples=4, restarts=1, survey_steps=1, final_steps=2)
    config = dataclasses.replace(preset, turned=few, inversion=found)
    setting = quality.Setting(truth, loaded, load_start(loaded), config, 3, 0)
    rows = quality.rows_of(setting, 1, (0.0, 1000.0))
    assert rows[0.0]["iterations"] == 0
    assert rows[1000.0]["iterations"] == 6
    assert rows[1000.0]["mad"] != rows[0.0]["mad"]


def test_the_axis_has_a_place_for_zero_and_is_logarithmic_far_out(plots: ModuleType) -> None:
    assert plots.position(0.0) == 0.0
    assert plots.position(4e6) - plots.position(2e6) == pytest.approx(math.log(2), abs=1e-5)


@pytest.mark.parametrize(
    "low, high, expected",
    [(0.66, 1.27, [0.8, 1.0, 1.2]), (13.2, 24.1, [14, 16, 18, 20, 22, 24]), (-0.4, 6.1, [0, 2, 4, 6])],
)
def test_ticks_are_round(plots: ModuleType, low: float, high: float, expected: list[float]) -> None:
    assert plots.nice_ticks(low, high) == pytest.approx(expected)


def test_a_plot_shows_its_means_where_the_axes_say(plots: ModuleType, tmp_path: Path) -> None:
    points = [plots.Point(0.0, 1.0, 0.1), plots.Point(10.0, 0.8, 0.1), plots.Point(300.0, 0.6, 0.1)]
    panel = plots.Panel("SIDE", "seconds", points, [plots.Line("supervised", 0.5)])
    plots.write_plot(tmp_path / "plot.png", [panel, panel])
    pixels = np.asarray(plots.plot([panel, panel])).astype(int)
    assert pixels.shape == (plots.PANEL_PX[1], 2 * plots.PANEL_PX[0], 3)
    # The blue of the means falls from left to right, in both panels alike.
    blue = np.abs(pixels - np.array(plots._MEAN)).sum(2) < 60
    heights = [np.nonzero(blue[:, column])[0].mean() for column in (82, 250, 634)]
    assert heights[0] < heights[1] < heights[2]
    assert (blue[:, : plots.PANEL_PX[0]] == blue[:, plots.PANEL_PX[0] :]).all()
    alone = plots.plot([plots.Panel("MAD", "seconds", points[:1], [])])
    assert alone.size == plots.PANEL_PX


def test_panels_have_the_lines_that_the_table_knows(quality: ModuleType) -> None:
    mean = {"10": {"side": 1.0, "mad": 20.0, "pictures": 1}, "0": {"side": 1.2, "mad": 22.0, "pictures": 1}}
    chosen = {"side": {"mean": 0.7}, "mad": {"mean": 14.0}}
    side, mad = quality.panels({"mean": mean}, {"rows": [{"key": "supervised", "chosen": chosen}]})
    assert [(p.x, p.mean, p.spread) for p in side.points] == [(0.0, 1.2, 0.0), (10.0, 1.0, 0.0)]
    assert [(line.label, line.value) for line in mad.lines] == [("supervised", 14.0)]
