"""How far a long command is: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from patchpress.converter.counted import Counted
from patchpress.converter.notebook import NotebookBar, in_notebook
from patchpress.converter.stderr import say
from patchpress.converter.text import clock

if TYPE_CHECKING:
    from rich.progress import Task, TaskID

EVERY = 10.0  # seconds between plain lines
WIDE = 100  # characters of a terminal that has room for bytes a second, too


class Progress(Protocol):
    """What a long function calls while it works. `ProgressLines` is one that prints."""

    def start(self, stage: str, total: int | None, unit: str = "records") -> None:
        """A stage of the work begins, ``converting`` for example, which is counted anew.

        It has `total` units, None if only the end of an archive tells how many. A patch is one
        unit for each modality that it has.
        """

    def advance(self, count: int, nbytes: int, /, share: float | None = None) -> None:
        """So many more units are done, of so many bytes: `share` of all, if no total is known."""


class NoProgress:
    """Progress for callers that want none."""

    def start(self, stage: str, total: int | None, unit: str = "records") -> None:
        """Do nothing."""

    def advance(self, count: int, nbytes: int, /, share: float | None = None) -> None:
        """Do nothing."""


class ProgressLines:
    """A line on stderr every ten seconds."""

    def __init__(self) -> None:
        self._counted = Counted()
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def start(self, stage: str, total: int | None, unit: str = "records") -> None:
        """Begin to count."""
        self._counted = Counted(stage, total, unit)
        self._last = time.monotonic()

    def advance(self, count: int, nbytes: int, /, share: float | None = None) -> None:
        """Count, and print when it is time."""
        counted = self._counted
        counted.add(count, nbytes, share)
        now = time.monotonic()
        if now - self._last >= EVERY:
            self._last = now
            said = (counted.far(), counted.rate(), counted.bytes_rate(), counted.times())
            text = ", ".join(part for part in said if part)
            say(f"{counted.stage}: {text}")


class ProgressBar:
    """A bar with the name of the stage, the rates, the time elapsed and the time left.

    On a terminal of 80 characters all of it is in one line.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        console = Console(stderr=True)
        self._is_wide = console.width >= WIDE
        self._rich = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),  # what the texts leave
            TextColumn("{task.fields[far]}", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[rate]}", table_column=Column(no_wrap=True)),
            _times_column(),
            console=console,
            refresh_per_second=4,
            expand=True,
        )
        self._task: TaskID | None = None
        self._counted = Counted()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            with suppress(OSError):  # the terminal is gone
                self._rich.stop()

    def start(self, stage: str, total: int | None, unit: str = "records") -> None:
        """Draw the bar. This starts a thread: worker processes are started before."""
        self._counted = Counted(stage, total, unit)
        if self._task is not None:
            self._rich.remove_task(self._task)
        self._task = self._rich.add_task(stage, total=total, far="", rate="")
        with suppress(OSError):
            self._rich.start()

    def advance(self, count: int, nbytes: int, /, share: float | None = None) -> None:
        """Move it; if no total is known, the share says how long it would be."""
        if self._task is None:
            return
        counted = self._counted
        counted.add(count, nbytes, share)
        self._rich.update(
            self._task,
            completed=counted.done,
            total=counted.estimated_total(),
            far=self._far(),
            rate=" ".join([self._rate(), counted.bytes_rate()]) if self._is_wide else self._rate(),
        )

    def _far(self) -> str:
        """What is done, with the unit, as short as a narrow terminal needs it."""
        counted = self._counted
        if self._is_wide or not counted.total:
            return counted.far()
        return f"{counted.done / counted.total:.0%} of {counted.total:,} {counted.unit}"

    def _rate(self) -> str:
        counted = self._counted
        return counted.rate() if self._is_wide else f"{counted.done / counted.seconds:,.0f}/s"


def _times_column() -> Any:
    """The time elapsed, and the time left as rich estimates it from the last half minute."""
    from rich.progress import ProgressColumn
    from rich.table import Column
    from rich.text import Text

    class Times(ProgressColumn):
        max_refresh = 0.5

        def render(self, task: "Task") -> Text:
            elapsed, left = task.elapsed, task.time_remaining
            said = [f"{clock(elapsed or 0)} elapsed"]
            if left is not None and not task.finished:
                said.append(f"{clock(left)} left")
            return Text(" ".join(said))

    return Times(table_column=Column(no_wrap=True))


def progress_for_terminal() -> ProgressLines | ProgressBar:
    """A bar if stderr is a terminal, plain lines elsewhere."""
    return ProgressBar() if sys.stderr.isatty() else ProgressLines()


def progress_bar() -> ProgressLines | ProgressBar | NotebookBar:
    """A bar where this Python shows its output: in a notebook, on a terminal; else plain lines.

    Use it as a context, and give it to functions that take `progress`::

        with patchpress.progress_bar() as progress:
            patchpress.verify("ben.store", progress=progress)
    """
    return NotebookBar() if in_notebook() else progress_for_terminal()
