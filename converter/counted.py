"""`Counted`: how far a stage of a long command is, in words."""

import time

from patchpress.converter.text import clock, size


class Counted:
    """What is done of a stage so far, and how fast."""

    def __init__(self, stage: str = "", total: int | None = None, unit: str = "records") -> None:
        self.stage, self.total, self.unit = stage, total, unit
        self.done = 0
        self._bytes = 0
        self.share: float | None = None
        """Of all that is done; None if nobody knows."""
        self._begun = time.monotonic()

    def add(self, count: int, nbytes: int, share: float | None) -> None:
        """So many units more; `share` of all if no total is known."""
        self.done += count
        self._bytes += nbytes
        self.share = self.done / self.total if self.total else share

    @property
    def seconds(self) -> float:
        """Since the start; never 0."""
        return max(time.monotonic() - self._begun, 1e-6)

    def far(self) -> str:
        """How much is done, and of how much if that is known."""
        done = f"{self.done:,}"
        return f"{done} of {self.total:,} {self.unit}" if self.total else f"{done} {self.unit}"

    def rate(self) -> str:
        """Units a second."""
        return f"{self.done / self.seconds:,.0f} {self.unit}/s"

    def bytes_rate(self) -> str:
        """Bytes a second; empty if none are counted."""
        return f"{size(self._bytes / self.seconds)}/s" if self._bytes else ""

    def times(self) -> str:
        """The time since the start, and the time left if all goes on like this."""
        left = "time left unknown"
        if self.share:
            left = f"{clock(self.seconds / self.share - self.seconds)} left"
        return f"{self.elapsed()}, {left}"

    def elapsed(self) -> str:
        """The time since the start."""
        return f"{clock(self.seconds)} elapsed"

    def estimated_total(self) -> int | None:
        """How many units there are, about if only a share tells."""
        return self.total or (round(self.done / self.share) if self.share else None)
