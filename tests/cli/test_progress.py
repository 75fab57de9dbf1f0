"""What a reconstruction shows of its events, on a terminal and without one."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from gan2shape.cli.progress import ProgressBars, _clock, tracked
from gan2shape.reconstruct.watch import IterationDone, StepFinished, StepStarted, Stopped


def play(bars: ProgressBars, *, finish: bool = True) -> None:
    with bars:
        bars(StepFinished("shape prior", resumed=True))
        bars(StepStarted("stage 1: pose and light", 1000))
        for iteration in range(500):
            bars(IterationDone("stage 1: pose and light", iteration, {"total": 0.25}))
        bars.bars.refresh()
        if finish:
            bars(StepFinished("stage 1: pose and light"))
            bars(Stopped("stage 1: shape", "the loss became nan"))


def shown(*, terminal: bool, finish: bool = True, title: str = "face", width: int = 80) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=width, color_system=None)
    play(ProgressBars(title, console), finish=finish)
    return stream.getvalue()


def test_without_a_terminal_every_step_is_one_plain_line() -> None:
    lines = shown(terminal=False, title="face [/b] " + "x" * 100).splitlines()
    assert lines[0] == "face [/b] " + "x" * 100
    assert lines[1].split() == ["shape", "prior", "kept", "from", "the", "earlier", "run"]
    assert lines[2].startswith("  stage 1: pose and light")
    assert "1000 in " in lines[2]
    assert lines[2].endswith("loss 0.2500")
    assert "stopped in stage 1: shape: the loss became nan" in lines[3]
    assert len(lines) == 4


@pytest.mark.parametrize("width", [80, 200])
def test_on_a_terminal_a_bar_with_count_and_eta_fits_the_width(width: int) -> None:
    text = shown(terminal=True, finish=False, width=width)
    line = next(line for line in reversed(text.splitlines()) if "500/1000" in line)
    assert "stage 1: pose and light" in line
    assert "ETA" in line
    assert "loss 0.2500" in line
    assert len(line.rsplit("\r")[-1].replace("\x1b[2K", "").rstrip()) <= width


def test_on_a_terminal_a_finished_step_gives_its_place_to_a_line() -> None:
    assert "1000 in " in shown(terminal=True)


@pytest.mark.parametrize("seconds, text", [(None, "-:--"), (0.4, "0:00"), (59.6, "1:00"), (3725, "1:02:05")])
def test_clock(seconds: float | None, text: str) -> None:
    assert _clock(seconds) == text


def test_tracked_items_are_all_there() -> None:
    assert list(tracked([1, 2, 3], "things")) == [1, 2, 3]
    assert list(tracked(iter("ab"), "things", total=2)) == ["a", "b"]
