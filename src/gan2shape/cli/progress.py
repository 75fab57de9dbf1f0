"""Progress bars with ETA; plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from gan2shape.reconstruct.watch import Event, IterationDone, StepFinished, StepStarted, Stopped

T = TypeVar("T")


class TimeLeft(ProgressColumn):
    """The time that is left, and in the end the time that it took."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Text of one fixed width, so that the bars stay in line."""
        if task.finished:
            return Text(f"    {_clock(task.finished_time):>7}")
        return Text(f"ETA {_clock(task.time_remaining):>7}")


class ProgressBars:
    """Shows the events of a reconstruction; a context manager. Keeps the seconds that steps took in ``seconds``."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self.console = console or new_console()
        self.title = title
        self.bars = new_bars(self.console, TextColumn("{task.fields[loss]}"))
        self.seconds: dict[str, float] = {}
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}
        self._iterations: dict[str, int] = {}
        self._losses: dict[str, str] = {}

    def __enter__(self) -> ProgressBars:
        self._say(self.title)
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        name = event.name
        if isinstance(event, StepStarted):
            self._began[name] = time.perf_counter()
            self._iterations[name] = event.iterations
            self._tasks[name] = self.bars.add_task(f"  {name}", total=event.iterations, loss="")
        elif isinstance(event, IterationDone):
            if "total" in event.record:
                self._losses[name] = f"loss {event.record['total']:.4f}"
            self.bars.update(self._tasks[name], completed=event.iteration + 1, loss=self._losses.get(name, ""))
        elif isinstance(event, StepFinished) and event.resumed:
            self._say(f"  {name:<23} kept from the earlier run")
        elif isinstance(event, StepFinished):
            self.seconds[name] = time.perf_counter() - self._began[name]
            self._end(name)
        elif isinstance(event, Stopped):
            self._say(f"  stopped in {name}: {event.reason}; the last good state is kept")

    def _end(self, name: str) -> None:
        """One line in place of the bar: the bars of many stages would not fit on the screen."""
        self.bars.remove_task(self._tasks.pop(name))
        count = f"{self._iterations[name]} in {self.seconds[name]:.1f} s"
        self._say(f"  {name:<23} {count:>18}  {self._losses.get(name, '')}".rstrip())

    def _say(self, text: str) -> None:
        # File names may hold what rich would take for its markup, and lines in a log are not to be broken.
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def new_console() -> Console:
    """Standard output."""
    return Console(highlight=False)


def new_bars(console: Console, *more: ProgressColumn) -> Progress:
    """Bars of name, count and time left that fit into 80 columns; none where there is no terminal."""
    return Progress(
        TextColumn("{task.description:<25}", markup=False),
        BarColumn(bar_width=18),
        MofNCompleteColumn(),
        TimeLeft(),
        *more,
        console=console,
        disable=not console.is_terminal,
    )


def tracked(items: Iterable[T], what: str, *, total: int | None = None) -> Iterator[T]:
    """The items, with a progress bar called ``what`` while they are worked on."""
    count = len(items) if total is None and isinstance(items, Sized) else total
    with new_bars(new_console()) as bars:
        yield from bars.track(items, total=count, description=what)


def _clock(seconds: float | None) -> str:
    """Seconds as ``m:ss`` or ``h:mm:ss``; a mark for "not known yet"."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
