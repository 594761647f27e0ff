"""Items of a task done one after the other, or side by side while they wait for files.

Files that are not in memory cost their time in waiting: for a disk, or for a server that answers
each `open` after milliseconds. A disk reads many files at once if it is told of them before
somebody needs them, and one thread is enough then: the next items are announced. If opening files
waits as well, as on a server, threads wait together. But for files in memory both are slower than
neither: announcing costs calls of the system, and Python lets one thread run at a time. So a task
begins with one item after the other, and looks at how often the system let it wait; every now and
then it looks again.
"""

import os
import resource
import threading
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar, cast

from patchpress.converter.waiting import Waiting

T = TypeVar("T")
R = TypeVar("R")
T_in = TypeVar("T_in", contravariant=True)
R_out = TypeVar("R_out", covariant=True)

ALL_THREADS = 64
"""Threads of all processes together, at most; but each may have `FEW`."""
FEW, MANY = 4, 32
AHEAD = 16
"""Items that are announced before one is done, it included."""
STRETCH = 4
"""Items that are done one after the other between two looks at how they waited."""
FIRST_TRIAL, LAST_TRIAL = 4, 64
"""Tasks with waiting items until one item is done alone, to see whether items still wait: at first,
and at most. It doubles each time."""
FIRST_ANNOUNCED, WAITS_EACH = 2, 2
"""Items that are announced first, and how often each must wait until threads are better: for its
folder and for a file. On a disk of this machine one of some hundred files waits: what is known of
them (inodes) is read together."""
ASKED_AGAIN = 16
"""Tasks between two trials from which on it is also seen whether announcing still waits."""
_FILES_EACH, _FILES_BESIDE = 20, 16  # descriptors that an item has open, and that are left free


class Worker(Protocol[T_in, R_out]):
    """Does items. Each thread has one of its own, which need not be safe between threads."""

    def __call__(self, item: T_in, /) -> R_out:
        """Do an item."""

    def announce(self, item: T_in, /) -> None:
        """Let the disk begin to read what an item needs; it raises nothing."""

    def forget(self) -> None:
        """Give back what is held of items that were announced and not done."""


class _How(Enum):
    """How items are done."""

    ALONE = "one after the other"
    AHEAD = "one after the other, and the next ones are announced"
    THREADS = "side by side"


def threads_each(processes: int) -> int:
    """How many threads each of so many processes may have for its items."""
    return min(max(ALL_THREADS // max(processes, 1), FEW), MANY)


class SideBySide(Generic[T, R]):
    """Does the items of tasks by workers, and gives their results in the order of the items.

    The results, and the errors, are those of doing one item after the other.
    """

    def __init__(self, make: Callable[[], Worker[T, R]], most: int) -> None:
        """Say who does the items.

        Args:
            make: makes a worker; called in the thread that makes this object and calls it.
            most: how many items are done at once, at most; if 1, none is announced either.
        """
        self._make, self._most = make, most
        self._do = make()
        self._team: _Team[T, R] | None = None
        self._is_begun, self._how = False, _How.ALONE
        self._trial = self._until_trial = FIRST_TRIAL

    def __call__(self, items: Sequence[T]) -> list[R]:
        """Do all items of a task.

        Raises:
            Exception: what a worker raises at the first item at which it raises something.
        """
        results: list[R] = []
        if not self._is_begun and items:  # the first one loads what all need
            results.append(self._do(items[0]))
            self._is_begun = True
        if self._how is not _How.ALONE:
            self._try(items, results)
        while self._how is _How.ALONE and len(results) < len(items):
            self._stretch(items[len(results) :][:STRETCH], results)
        if self._how is _How.AHEAD:
            self._go_ahead(items, results)
        left = items[len(results) :]
        if left:
            results += self._threads().do(left)
        return results

    def _stretch(self, items: Sequence[T], results: list[R]) -> None:
        """Do some items one after the other, and see how they wait."""
        waiting = Waiting()
        waiting.begin()
        results += map(self._do, items)
        waiting.end()
        if waiting.often(len(items)) and self._most > 1:
            self._how = _How.AHEAD
            self._trial = self._until_trial = FIRST_TRIAL

    def _try(self, items: Sequence[T], results: list[R]) -> None:
        """Do one item alone if it is time to see how it waits."""
        self._until_trial -= 1
        if self._until_trial > 0 or not items:
            return
        waiting = Waiting()
        waiting.begin()
        results.append(self._do(items[0]))
        waiting.end()
        if not waiting.often(1):
            self._how = _How.ALONE
        elif self._trial >= ASKED_AGAIN:  # opening may have waited for a folder's first look only
            self._how = _How.AHEAD
        self._trial = self._until_trial = min(2 * self._trial, LAST_TRIAL)

    def _go_ahead(self, items: Sequence[T], results: list[R]) -> None:
        """Do items with the next ones announced, until it is seen that announcing waits."""
        most, waiting = min(self._most, AHEAD, _at_once_by_files()), Waiting()
        announced = begun = len(results)
        try:
            while len(results) < len(items):
                # Few at first: announcing may wait.
                room = min(FIRST_ANNOUNCED, most) if announced == begun else most
                until = min(len(results) + room, len(items))
                if announced < until:
                    waiting.begin()
                    for item in items[announced:until]:
                        self._do.announce(item)
                    waiting.end()
                    announced = until
                    if waiting.often(WAITS_EACH * (announced - begun)):
                        self._how = _How.THREADS
                        return
                results.append(self._do(items[len(results)]))
        finally:
            self._do.forget()

    def _threads(self) -> "_Team[T, R]":
        if self._team is None:
            self._team = _Team(self._do, self._make, min(self._most, _at_once_by_files()))
        return self._team

    def close(self) -> None:
        """End the threads, after the items that they do now."""
        if self._team is not None:
            self._team.close()
            self._team = None


def _at_once_by_files() -> int:
    """How many items the limit on open files leaves room for, at least one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MANY
    try:
        taken = len(os.listdir("/proc/self/fd"))
    except OSError:
        taken = soft // 2
    return max(1, (soft - taken - _FILES_BESIDE) // _FILES_EACH)


class _Failed:
    """Stands for the result of an item at which a function raised something."""


_FAILED = _Failed()


class _Team(Generic[T, R]):
    """This thread and others, which are started as they are needed."""

    def __init__(self, do: Worker[T, R], make: Callable[[], Worker[T, R]], most: int) -> None:
        self._do, self._make, self._most = do, make, most
        self._begins: SimpleQueue[tuple[Iterator[tuple[int, T]], list[Any]] | None] = SimpleQueue()
        self._ends: SimpleQueue[None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def do(self, items: Sequence[T]) -> list[R]:
        """Do items in all threads at once."""
        helpers = self._helpers(len(items) - 1)
        shared, results = iter(list(enumerate(items))), [_FAILED] * len(items)
        for _ in range(helpers):
            self._begins.put((shared, results))
        try:
            _work(self._do, shared, results)
        finally:
            for _ in shared:  # if this thread was interrupted: the others take no more
                pass
            for _ in range(helpers):
                self._ends.get()
        # What one thread can do, many may have too little memory or too few files for.
        return [
            self._do(item) if result is _FAILED else cast(R, result)
            for item, result in zip(items, results, strict=True)
        ]

    def _helpers(self, wanted: int) -> int:
        """Start threads, as many as are wanted in all, or as there may be; gives how many."""
        wanted = min(wanted, self._most - 1)
        while len(self._threads) < wanted:
            thread = threading.Thread(
                target=self._run, args=(self._make(),), name="patchpress-files", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the system lets this process have no more
                self._most = len(self._threads) + 1
                break
            self._threads.append(thread)
        return min(wanted, len(self._threads))

    def _run(self, do: Worker[T, R]) -> None:
        while (task := self._begins.get()) is not None:
            try:
                _work(do, *task)
            finally:
                self._ends.put(None)

    def close(self) -> None:
        """End the threads."""
        for _ in self._threads:
            self._begins.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()


def _work(do: Worker[T, R], shared: Iterator[tuple[int, T]], results: list[Any]) -> None:
    """Do the next item as long as there is one: an iterator gives each to one thread alone."""
    for at, item in shared:
        try:
            do.announce(item)
            results[at] = do(item)
        except Exception:  # noqa: S112 -- the item is done again, alone
            continue
        finally:
            do.forget()  # what was announced and not needed, of an item with an error
