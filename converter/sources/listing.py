"""Folders looked into in a fixed order, many at once if the disk lets each one wait.

A server far away answers after milliseconds, whatever it is asked. So folders that come next are
looked into meanwhile, by threads. Folders whose names are in memory are faster without.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from patchpress.converter.waiting import Waiting
from patchpress.readers.errors import SourceError

T = TypeVar("T")

AHEAD = 16
"""Folders that are looked into at once, and so many lists of names that wait in memory."""
STRETCH = 8
"""Looks after which it is seen whether all of them have waited."""


class AtPath(NamedTuple):
    """What is at a path."""

    is_folder: bool
    names: list[str] | None = None
    """Those in the folder, sorted, hidden ones included; None if nobody asked, or it is none."""
    problem: SourceError | None = None
    """Why the folder may not be read."""

    def entries(self) -> list[str]:
        """The names in the folder.

        Raises:
            SourceError: it may not be read.
        """
        if self.problem is not None:
            raise self.problem
        return self.names or []


NOT_ASKED = AtPath(False)


class Question(NamedTuple, Generic[T]):
    """A path of which is asked what is there."""

    item: T
    """What the question is about, which is given back with the answer."""
    path: str
    """Empty if nothing is asked."""
    lists: bool
    """Whether the names in it are asked, too, if it is a folder."""


class FolderLooks:
    """Looks at paths, and into folders: one after the other, or many at once if these wait.

    It has threads from then on; `close` ends them.
    """

    def __init__(self, waits: bool | None = None) -> None:
        """Begin.

        Args:
            waits: whether earlier looks at the same folders have waited; None finds it out. That
                is only possible if no other thread of this process is busy: it would let this
                one wait, too.
        """
        self._finds_out = waits is None
        self.waits = bool(waits)
        """Whether looks wait, as far as that is known."""
        self._waiting, self._count = Waiting(), 0
        self._pool: ThreadPoolExecutor | None = None

    def answers(self, questions: Iterable[Question[T]]) -> Iterator[tuple[T, AtPath]]:
        """Each item with what is at its path, in their order.

        Questions are taken ahead of the answers as soon as these wait.
        """
        rest = iter(questions)
        while not self.waits:
            question = next(rest, None)
            if question is None:
                return
            yield question.item, self._look(question)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(AHEAD, "patchpress-folders")
        yield from self._ahead(rest, self._pool)

    def _look(self, question: Question[T]) -> AtPath:
        """Answer a question in this thread."""
        if not question.path or not self._finds_out:
            return found_at(question.path, lists=question.lists)
        self._waiting.begin()
        found = found_at(question.path, lists=question.lists)
        self._waiting.end()
        self._count += 1
        if self._count == STRETCH:
            self.waits = self._waiting.often(STRETCH)
            self._waiting, self._count = Waiting(), 0
        return found

    def _ahead(
        self, questions: Iterator[Question[T]], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[T, AtPath]]:
        """Answer questions with the next ones under way."""
        under_way: deque[tuple[T, Future[AtPath]]] = deque()
        for question in questions:
            future = pool.submit(found_at, question.path, lists=question.lists)
            under_way.append((question.item, future))
            if len(under_way) == AHEAD:
                item, oldest = under_way.popleft()
                yield item, oldest.result()
        for item, future in under_way:
            yield item, future.result()

    def close(self) -> None:
        """End the threads, after what they look into now."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def found_at(path: str, *, lists: bool) -> AtPath:
    """What is at a path; it raises nothing."""
    if not path:
        return NOT_ASKED
    if not lists:
        return AtPath(os.path.isdir(path))
    try:
        return AtPath(True, sorted(os.listdir(path)))
    except NotADirectoryError:
        return AtPath(False)
    except OSError as error:
        if not os.path.isdir(path):  # a link that leads nowhere, or what is gone again
            return AtPath(False)
        return AtPath(True, problem=unreadable(path, error))


def all_entries(folder: str | Path) -> list[str]:
    """The names in a folder, sorted, hidden ones included.

    Raises:
        SourceError: the folder may not be read.
    """
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise unreadable(folder, error) from None


def unreadable(folder: str | Path, error: OSError) -> SourceError:
    """The error of a folder that may not be read."""
    return SourceError(f"{folder} cannot be read ({error.strerror})")
