"""Progress bars with ETA for a reconstruction's events; one plain line per step where there is no terminal."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn

from gan2shape.reconstruct.watch import Event, IterationDone, StepFinished, StepStarted, Stopped


class ProgressBars:
    """Shows events; a context manager. Also keeps the seconds that every step took (``seconds``)."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.title = title
        self.bars = Progress(
            TextColumn("{task.description:<26}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.seconds: dict[str, float] = {}
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}

    def __enter__(self) -> ProgressBars:
        self.console.print(self.title)
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, StepStarted):
            self._began[event.name] = time.perf_counter()
            self._tasks[event.name] = self.bars.add_task(event.name, total=event.iterations, loss="")
        elif isinstance(event, IterationDone):
            loss = f"loss {event.record['total']:.4f}" if "total" in event.record else ""
            self.bars.update(self._tasks[event.name], completed=event.iteration + 1, loss=loss)
        elif isinstance(event, StepFinished) and event.resumed:
            self.console.print(f"  {event.name}: kept from the earlier run")
        elif isinstance(event, StepFinished):
            self.seconds[event.name] = time.perf_counter() - self._began[event.name]
            if not self.console.is_terminal:
                self.console.print(f"  {event.name}: {self.seconds[event.name]:.1f} s")
        elif isinstance(event, Stopped):
            self.console.print(f"  stopped in {event.name}: {event.reason}; the last good state is kept")
