"""Locks between the processes of a machine: `flock`, which a process that dies lets go of.

A child made by `fork` has its parent's open files, and with them its locks. It would hold them when
the parent has died, so that nobody could go on: it closes those of `Lock`s at once.
"""

import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

PATIENCE = 10.0
"""Seconds after which a lock that is held for moments is taken to be lost."""

possible = fcntl is not None


class Busy(Exception):
    """Another process, or another thread of this one, holds the lock."""


class Lock:
    """An open file, locked until this is closed or nothing refers to it."""

    def __init__(self, descriptor: int, *, shared: bool = False, inherited: bool = False) -> None:
        """Lock an open file, and take it over: it is closed with the lock, or if that fails.

        Args:
            descriptor: of the file.
            shared: others may hold it, too, if theirs is shared.
            inherited: children made by `fork` hold it, too, as long as they live.

        Raises:
            Busy: another holds it.
            OSError: the file system has no locks.
        """
        self.descriptor = descriptor
        owner = 0 if inherited else os.getpid()
        self._close = weakref.finalize(self, _close, descriptor, owner)
        self._close.atexit = False
        if not inherited:  # before it is locked, since another thread may fork at any moment
            _held.add(self)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            if isinstance(error, BlockingIOError):
                raise Busy from None
            raise

    def close(self) -> None:
        """Let go of the lock."""
        self._close()


def _close(descriptor: int, owner: int) -> None:
    if os.getpid() == owner:  # at once, also if a child was made that has not closed it yet
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


_held: "weakref.WeakSet[Lock]" = weakref.WeakSet()


def _close_all() -> None:
    for lock in list(_held):
        lock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_all)


@contextmanager
def for_a_moment(path: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock of a file that others hold for moments only.

    Raises:
        Busy: it did not become free: a process that holds it was stopped.
        OSError: the file cannot be opened, or the file system has no locks.
    """
    end = time.monotonic() + patience
    while True:
        with suppress(Busy):
            lock = Lock(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
            break
        if time.monotonic() > end:
            raise Busy
        time.sleep(0.005)
    try:
        yield
    finally:
        lock.close()
