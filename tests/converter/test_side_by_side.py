"""Items of a task: alone, with the next ones announced, or in many threads; same results."""

import os
import resource
import sys
import threading
import time
from collections.abc import Callable

import pytest

from patchpress.converter.side_by_side import (
    AHEAD,
    FEW,
    FIRST_TRIAL,
    MANY,
    STRETCH,
    SideBySide,
    threads_each,
)

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux counts waits of threads"
)
WAIT = 0.003  # seconds; an item that sleeps has waited, however busy the machine is
TASK = range(40)


class Made:
    """A worker made of two functions."""

    def __init__(
        self, do: Callable[[int], int], announce: Callable[[int], None] = lambda item: None
    ) -> None:
        self.do, self.first = do, announce
        self.held = set[int]()
        self.most_held = 0

    def announce(self, item: int) -> None:
        self.held.add(item)
        self.most_held = max(self.most_held, len(self.held))
        self.first(item)

    def __call__(self, item: int) -> int:
        self.held.discard(item)
        return self.do(item)

    def forget(self) -> None:
        self.held.clear()


def sleep(item: int) -> None:
    """Wait, as for a server that opens a folder and a file in it."""
    time.sleep(WAIT)
    time.sleep(WAIT)


class Doubler:
    """Doubles numbers, in a thread of its own."""

    def __init__(
        self,
        waits: Callable[[int], bool] = lambda item: True,
        announce: Callable[[int], None] = sleep,
    ) -> None:
        self.threads: set[int] = set()
        self.at_once: list[int] = []
        self.most = 0
        self.waits, self.announce = waits, announce
        self.workers: list[Made] = []

    def make(self) -> Made:
        def double(item: int) -> int:
            self.threads.add(threading.get_ident())
            self.at_once.append(item)
            self.most = max(self.most, len(self.at_once))
            if self.waits(item):
                time.sleep(WAIT)
            self.at_once.pop()
            return 2 * item

        self.workers.append(Made(double, self.announce))
        return self.workers[-1]


def test_items_that_wait_are_done_side_by_side_and_come_in_order() -> None:
    doubler = Doubler()
    work = SideBySide(doubler.make, 16)
    for _ in range(3):
        assert work(TASK) == [2 * item for item in TASK]
    assert 4 <= doubler.most <= 16
    assert len(doubler.threads) <= 16
    work.close()
    assert "patchpress-files" not in {thread.name for thread in threading.enumerate()}


def test_items_that_do_not_wait_stay_in_one_thread() -> None:
    doubler = Doubler(lambda item: False)
    work = SideBySide(doubler.make, 16)
    for _ in range(50):
        assert work(TASK) == [2 * item for item in TASK]
    assert doubler.threads == {threading.get_ident()}


def test_items_that_wait_are_announced_and_one_thread_is_enough() -> None:
    told = list[int]()
    doubler = Doubler(announce=told.append)
    work = SideBySide(doubler.make, 32)
    for _ in range(3):
        assert work(TASK) == [2 * item for item in TASK]
    worker = doubler.workers[0]
    assert doubler.threads == {threading.get_ident()}
    assert told == [*TASK[1 + STRETCH :], *TASK, *TASK]  # before that, each was done alone
    assert (worker.most_held, worker.held) == (AHEAD, set())


def test_what_was_announced_is_given_back_after_an_error() -> None:
    def refuse(item: int) -> int:
        time.sleep(WAIT)
        if item == 30:
            raise Refused(item)
        return item

    worker = Made(refuse)
    work = SideBySide(lambda: worker, 8)
    with pytest.raises(Refused) as raised:
        work(TASK)
    assert raised.value.args == (30,)
    assert (worker.most_held, worker.held) == (8, set())


def test_few_are_announced_if_files_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    doubler = Doubler(announce=lambda item: None)
    monkeypatch.setattr(
        resource, "getrlimit", lambda what: (len(os.listdir("/proc/self/fd")) + 80,) * 2
    )
    work = SideBySide(doubler.make, 32)
    for _ in range(2):
        assert work(TASK) == [2 * item for item in TASK]
    assert 1 <= doubler.workers[0].most_held <= STRETCH


def test_one_thread_is_enough_if_no_more_are_asked_for() -> None:
    doubler = Doubler()
    assert SideBySide(doubler.make, 1)(TASK) == [2 * item for item in TASK]
    assert doubler.threads == {threading.get_ident()}
    assert doubler.workers[0].most_held == 0


def test_threads_rest_again_when_items_wait_no_longer() -> None:
    waiting = True
    doubler = Doubler(lambda item: waiting)
    work = SideBySide(doubler.make, 16)
    work(TASK)
    assert len(doubler.threads) > 1
    waiting = False
    for _ in range(FIRST_TRIAL):
        work(TASK)
    doubler.threads.clear()
    work(TASK)
    assert doubler.threads == {threading.get_ident()}
    waiting = True
    work(TASK)
    assert len(doubler.threads) > 1
    work.close()


class Refused(Exception):
    """What an item raises."""


@pytest.mark.parametrize("announce", [sleep, lambda item: None], ids=["late", "soon"])
@pytest.mark.parametrize("first", [0, 2, 9, 39])
def test_the_first_error_is_the_one_that_is_raised(
    first: int, announce: Callable[[int], None]
) -> None:
    def refuse(item: int) -> int:
        time.sleep(WAIT)
        if item >= first:
            raise Refused(item)
        return item

    work = SideBySide(lambda: Made(refuse, announce), 16)
    for _ in range(2):
        with pytest.raises(Refused) as raised:
            work(TASK)
        assert raised.value.args == (first,)
    work.close()


def test_what_fails_beside_others_is_done_again_alone() -> None:
    """As if many threads had too few descriptors, and one has enough."""
    busy = threading.Lock()

    def alone(item: int) -> int:
        if not busy.acquire(blocking=False):
            raise Refused(item)
        try:
            time.sleep(WAIT)
        finally:
            busy.release()
        return item

    work = SideBySide(lambda: Made(alone, sleep), 16)
    assert work(TASK) == list(TASK)
    assert work(TASK) == list(TASK)
    work.close()


def test_tasks_may_be_small_or_empty() -> None:
    work = SideBySide(Doubler().make, 16)
    for size in (0, 1, 0, 2, STRETCH, 3, 1, 0, 50, 1, 0):
        assert work(range(size)) == [2 * item for item in range(size)]
    work.close()


@pytest.mark.parametrize(
    ("processes", "threads"), [(0, MANY), (1, MANY), (2, MANY), (4, 16), (16, FEW), (200, FEW)]
)
def test_all_processes_together_have_a_bounded_number_of_threads(
    processes: int, threads: int
) -> None:
    assert threads_each(processes) == threads
