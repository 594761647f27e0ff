"""Tasks through a scheduler: handed on, told of while they run, and their results."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from patchpress.converter.cluster.on_worker import TaskProgress, Telling, do_task, versions
from patchpress.converter.progress import Progress
from patchpress.readers.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")
R = TypeVar("R")

WINDOW = 2000
"""Tasks that are handed on and not done: a scheduler may plan with them, and memory is bounded."""
EVERY = 1.0  # seconds between two messages of a task, if there are few workers
MESSAGES = 100  # a second from all workers, at the most


def run_tasks(
    client: "Client",
    function: Callable[[T, TaskProgress], R],
    items: Iterable[tuple[int, T]],
    progress: Progress,
    *,
    what: str,
    weights: Mapping[int, float] | None = None,
) -> Iterator[R]:
    """Do a task for each item on some worker, and give the results as they come.

    A task whose worker dies is done again on another. If the caller stops, or a task fails, all
    others are cancelled; those that run stop themselves.

    Args:
        client: of the scheduler.
        function: of a module that workers have; called with an item, and with what it tells how
            far it is.
        items: numbers, each with what is pickled for its task; taken when it is handed on.
        progress: is told of all tasks together.
        what: an item in sentences: ``shard``.
        weights: number of an item -> its share of the work, 1 in all: of what a task tells that it
            has done. If None, what one task has done is done of all.

    Raises:
        ClusterError: the scheduler is gone; a task's workers died each time.
        Exception: of a task.
    """
    run = _Run(client, function, progress, what, weights)
    left = iter(items)
    try:
        run.hand_on(islice(left, WINDOW))
        while run.under_way:
            result = run.next_result()
            run.hand_on(islice(left, 1))
            yield result
    finally:
        run.end()


class _Run:
    """The tasks under way, and what was heard of them."""

    def __init__(
        self,
        client: "Client",
        function: Any,
        progress: Progress,
        what: str,
        weights: Mapping[int, float] | None,
    ) -> None:
        self._client, self._function, self._progress = client, function, progress
        self._weights, self._shares = weights, dict[int, float]()
        self._what, self._name = what, f"patchpress-{secrets.token_hex(4)}"
        self.under_way: dict[int, Future] = {}
        self._heard: SimpleQueue[Any] = SimpleQueue()
        self._told: dict[int, tuple[int, int]] = {}
        workers = len(client.nthreads())
        self._every = max(EVERY, workers / MESSAGES)
        client.subscribe_topic(self._name, lambda event: self._heard.put(event[1]))

    def hand_on(self, items: Any) -> None:
        """Let the scheduler have more tasks."""
        for number, item in items:
            telling = Telling(number, self._name, self._every, versions())
            future = self._client.submit(
                do_task, self._function, item, telling, pure=False, key=f"{self._name}-{number}"
            )
            self.under_way[number] = future
            future.add_done_callback(lambda _, number=number: self._heard.put(number))

    def next_result(self) -> Any:
        """Wait for a task to end, and give its result.

        Raises:
            ClusterError: as `run_tasks`.
        """
        while True:
            try:
                heard = self._heard.get(timeout=1)
            except Empty:
                self._require_scheduler()
                continue
            if isinstance(heard, int):
                if heard in self.under_way:
                    return self._result(heard)
            else:
                self._tell(*heard)

    def _result(self, number: int) -> Any:
        from distributed import KilledWorker

        future = self.under_way[number]
        # Not before: if the scheduler is gone, all futures are cancelled, and that says less.
        self._require_scheduler()
        try:
            result = future.result(timeout=60)
        except KilledWorker:
            raise ClusterError(
                f"{self._what} {number} was lost with each worker that had it (killed, or out of "
                "memory?): what is finished stays; give workers more memory, and run the same "
                "command again"
            ) from None
        except Exception:
            if future.status != "error":  # it is not the task that failed
                raise self._lost() from None
            raise
        value, count, nbytes = result
        self._tell(number, count, nbytes, None if self._weights is None else 1.0)
        del self.under_way[number]
        future.release()
        self._told.pop(number, None)
        return value

    def _tell(self, number: int, count: int, nbytes: int, share: float | None = None) -> None:
        """Note how far a task is; one that is done again elsewhere counts when it is farther."""
        if number not in self.under_way:
            return  # a message that came after the result
        before, bytes_before = self._told.get(number, (0, 0))
        if count > before:
            self._told[number] = count, nbytes
            self._progress.advance(
                count - before, max(nbytes - bytes_before, 0), self._of_all(number, share)
            )

    def _of_all(self, number: int, share: float | None) -> float | None:
        """How much of all work is done, if a task has done that share of its own."""
        if self._weights is None or share is None:
            return share
        self._shares[number] = max(self._shares.get(number, 0.0), share)
        return sum(self._weights.get(one, 0.0) * done for one, done in self._shares.items())

    def _require_scheduler(self) -> None:
        if self._client.status != "running":
            raise self._lost()

    def _lost(self) -> ClusterError:
        return ClusterError(
            f"the scheduler is gone: each {self._what} that is finished stays; start a scheduler, "
            "and run the same command again"
        )

    def end(self) -> None:
        """Cancel what is under way, and listen no more."""
        if self._client.status != "running":
            return
        if self.under_way:
            self._client.cancel(list(self.under_way.values()), force=True)
            self.under_way.clear()
        self._client.unsubscribe_topic(self._name)
