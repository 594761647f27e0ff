"""How far a long command is: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from rich.progress import TaskID

EVERY = 10.0  # seconds between plain lines


class Progress(Protocol):
    """What a long function calls while it works. `ProgressLines` is one that prints."""

    def start(self, total: int | None, unit: str = "patches") -> None:
        """There are `total` units to do, None if only the end of an archive tells how many.

        Called once more if another part of the work begins, which is counted anew.
        """

    def advance(self, count: int, nbytes: int, /, share: float | None = None) -> None:
        """So many more units are done, of so many bytes: `share` of all, if no total is known."""


class NoProgress:
    """Progress for callers that want none."""

    def start(self, total: int | None, unit: str = "patches") -> None:
        """Do nothing."""

    def advance(self, count: int, nbytes: int, /, share: float | None = None) -> None:
        """Do nothing."""


class _Counted:
    """What is done so far, and how fast."""

    def __init__(self, total: int | None, unit: str) -> None:
        self.total, self.unit = total, unit
        self.done = 0
        self._bytes = 0
        self._begun = time.monotonic()

    def add(self, count: int, nbytes: int) -> None:
        """So many units more."""
        self.done += count
        self._bytes += nbytes

    @property
    def seconds(self) -> float:
        """Since the start; never 0."""
        return max(time.monotonic() - self._begun, 1e-6)

    def rates(self) -> list[str]:
        """Units a second, and bytes a second if any are counted."""
        rates = [f"{self.done / self.seconds:,.0f} {self.unit}/s"]
        if self._bytes:
            rates.append(f"{self._bytes / self.seconds / 1e6:,.0f} MB/s")
        return rates


class ProgressLines:
    """A line on stderr every ten seconds."""

    def __init__(self) -> None:
        self._counted = _Counted(None, "patches")
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def start(self, total: int | None, unit: str = "patches") -> None:
        """Begin to count."""
        self._counted = _Counted(total, unit)
        self._last = time.monotonic()

    def advance(self, count: int, nbytes: int, /, share: float | None = None) -> None:
        """Count, and print when it is time."""
        self._counted.add(count, nbytes)
        now = time.monotonic()
        if now - self._last >= EVERY:
            self._last = now
            print(self._line(share), file=sys.stderr, flush=True)

    def _line(self, share: float | None) -> str:
        counted = self._counted
        done = f"{counted.done:,}"
        if counted.total:
            done = f"{done} of {counted.total:,}"
            share = counted.done / counted.total
        left = "time left unknown"
        if share:
            left = f"{counted.seconds / share - counted.seconds:,.0f} s left"
        return ", ".join([f"{done} {counted.unit}", *counted.rates(), left])


class ProgressBar:
    """A bar with the rates and the time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._rich = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rates]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            refresh_per_second=4,
        )
        self._task: TaskID | None = None
        self._counted = _Counted(None, "patches")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._rich.stop()

    def start(self, total: int | None, unit: str = "patches") -> None:
        """Draw the bar. This starts a thread: worker processes are started before."""
        self._counted = _Counted(total, unit)
        if self._task is not None:
            self._rich.remove_task(self._task)
        self._task = self._rich.add_task("", total=total, rates="")
        self._rich.start()

    def advance(self, count: int, nbytes: int, /, share: float | None = None) -> None:
        """Move it; if no total is known, the share says how long it would be."""
        if self._task is None:
            return
        counted = self._counted
        counted.add(count, nbytes)
        rates = " ".join(counted.rates())
        if share and not counted.total:
            estimate = round(counted.done / share)
            self._rich.update(self._task, advance=count, total=estimate, rates=rates)
        else:
            self._rich.update(self._task, advance=count, rates=rates)


def progress_for_terminal() -> ProgressLines | ProgressBar:
    """A bar if stderr is a terminal, plain lines elsewhere."""
    return ProgressBar() if sys.stderr.isatty() else ProgressLines()
