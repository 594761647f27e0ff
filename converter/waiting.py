"""Whether work waits for files, as the system counts it for each thread."""

import resource
import time

WAITING_SHARE = 0.3
"""Work waits if it does so for this share of its time."""

# Only Linux counts for each thread. Elsewhere it is that of the process, which waits more often.
_WHO: int = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)


class Waiting:
    """How some work of one thread waited, between `begin` and `end`, which may be repeated."""

    def __init__(self) -> None:
        self._wall = self._busy = 0.0
        self._waits = 0

    def begin(self) -> None:
        """Look at the clocks and the counter before the work."""
        self._waits -= _waits()
        self._busy -= time.thread_time()
        self._wall -= time.monotonic()

    def end(self) -> None:
        """Look at them after it."""
        self._wall += time.monotonic()
        self._busy += time.thread_time()
        self._waits += _waits()

    def often(self, times: int) -> bool:
        """Whether the work waited so many times or more, and for much of its time.

        A busy machine lets a thread wait for a core, too: that is time, but no wait of its own.
        """
        if self._waits < times:
            return False
        return self._wall - self._busy > WAITING_SHARE * self._wall


def _waits() -> int:
    """How often this thread has given up its core by itself."""
    return resource.getrusage(_WHO).ru_nvcsw
