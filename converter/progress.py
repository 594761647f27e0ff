"""How far a long command is: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from rich.progress import TaskID

EVERY = 10.0  # seconds between plain lines


class Progress(Protocol):
    """What a long function tells while it works."""

    def start(self, total: int | None) -> None:
        """There are `total` patches to do, None where only the end of an archive tells.

        Called once more where another part of the work begins, which is counted anew.
        """

    def advance(self, patches: int, nbytes: int, share: float | None = None) -> None:
        """So many more are done, of so many bytes: `share` of all, where no total is known."""


class Silent:
    """Progress for callers that want none."""

    def start(self, total: int | None) -> None:
        """Do nothing."""

    def advance(self, patches: int, nbytes: int, share: float | None = None) -> None:
        """Do nothing."""


class PlainProgress:
    """A line on stderr every ten seconds."""

    def __init__(self) -> None:
        self._total: int | None = None
        self._done = self._bytes = 0
        self._begun = self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def start(self, total: int | None) -> None:
        """Begin to count."""
        self._total, self._done, self._bytes = total, 0, 0
        self._begun = self._last = time.monotonic()

    def advance(self, patches: int, nbytes: int, share: float | None = None) -> None:
        """Count, and print when it is time."""
        self._done += patches
        self._bytes += nbytes
        now = time.monotonic()
        if now - self._last >= EVERY:
            self._last = now
            seconds = now - self._begun
            if self._total:
                share = self._done / self._total
            whole = f" of {self._total:,}" if self._total else ""
            left = f"{seconds / share - seconds:,.0f} s left" if share else "time left unknown"
            print(
                f"{self._done:,}{whole} patches, "
                f"{self._done / seconds:,.0f} patches/s, "
                f"{self._bytes / seconds / 1e6:,.0f} MB/s, {left}",
                file=sys.stderr,
                flush=True,
            )


class BarProgress:
    """A bar with patches/s, MB/s and the time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Rich

        self._rich = Rich(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            refresh_per_second=4,
        )
        self._task: TaskID | None = None
        self._total: int | None = None
        self._done = self._bytes = 0
        self._begun = 0.0

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

    def start(self, total: int | None) -> None:
        """Draw the bar; its thread starts here, after workers have forked."""
        self._begun = time.monotonic()
        self._total, self._done, self._bytes = total, 0, 0
        if self._task is not None:
            self._rich.remove_task(self._task)
        self._task = self._rich.add_task("", total=total, rate="")
        self._rich.start()

    def advance(self, patches: int, nbytes: int, share: float | None = None) -> None:
        """Move it."""
        if self._task is None:
            return
        self._done += patches
        self._bytes += nbytes
        seconds = max(time.monotonic() - self._begun, 1e-6)
        rate = f"{self._done / seconds:,.0f} patches/s {self._bytes / seconds / 1e6:,.0f} MB/s"
        total = {"total": round(self._done / share)} if share and not self._total else {}
        self._rich.update(self._task, advance=patches, rate=rate, **total)  # type: ignore[arg-type]


def progress_for_terminal() -> PlainProgress | BarProgress:
    """A bar where stderr is a terminal, plain lines elsewhere."""
    return BarProgress() if sys.stderr.isatty() else PlainProgress()
