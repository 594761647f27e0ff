"""A file written from front to back by a thread, past the page cache where the system lets it.

What is written is not read again soon. In the page cache it would be copied once more, push out
what others read, and where memory is new to the machine cost several times the write itself.
"""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Queue
from typing import NamedTuple

AHEAD = 2  # pieces that wait to be written
AT_ONCE = 4 << 20  # bytes a system call: behind each the thread waits for Python again
PARTS = 512  # of one system call; POSIX allows 1,024 on Linux
_DIRECT = getattr(os, "O_DIRECT", 0)


class _Piece(NamedTuple):
    at: int
    parts: Sequence[memoryview]
    then: Callable[[], object]
    release: Callable[[], object]


class PageFile:
    """An open file and its thread. What goes wrong there is raised by the next call here."""

    def __init__(self, path: Path, end: int) -> None:
        """Open it, or make it, and cut off what lies behind `end`.

        Raises:
            OSError: it cannot be written.
        """
        self._file = _opened(path)
        if os.fstat(self._file).st_size > end:
            os.ftruncate(self._file, end)
        self._pieces: Queue[_Piece | None] = Queue(AHEAD)
        self._error: BaseException | None = None
        self._leaving = False
        self._thread = threading.Thread(target=self._run, name="patchpress-writer", daemon=True)
        self._thread.start()

    def put(
        self,
        at: int,
        parts: Sequence[memoryview],
        then: Callable[[], object],
        release: Callable[[], object],
    ) -> None:
        """Write whole pages at a place; `then` is called when they are, and `release` in any case.

        Raises:
            OSError, …: what went wrong with this or an earlier piece, or in its `then`.
        """
        self._pieces.put(_Piece(at, parts, then, release))
        self._raise()

    def wait(self) -> None:
        """Until all is written.

        Raises:
            OSError, …: as `put`.
        """
        self._pieces.join()
        self._raise()

    def finish(self, at: int, end: bytes, begin: bytes) -> None:
        """Write the last pages, then the first, and flush all to the disk.

        Raises:
            OSError, …: as `put`.
        """
        self.wait()
        _through_the_cache(self._file)
        _write(self._file, [memoryview(end)], at)
        _write(self._file, [memoryview(begin)], 0)
        os.fsync(self._file)

    def close(self) -> None:
        """End the thread; what waits to be written is lost."""
        self._leaving = True
        self._pieces.put(None)
        self._thread.join()
        os.close(self._file)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            piece = self._pieces.get()
            try:
                if piece is None:
                    return
                if self._error is None and not self._leaving:
                    for parts, at in _grouped(piece):
                        _write(self._file, parts, at)
                    piece.then()
            except BaseException as error:
                self._error = error
            finally:
                if piece is not None:
                    piece.release()
                self._pieces.task_done()


def _grouped(piece: _Piece) -> Iterator[tuple[list[memoryview], int]]:
    """Parts for one system call each, and where they begin."""
    some: list[memoryview] = []
    size, at = 0, piece.at
    for part in piece.parts:
        some.append(part)
        size += len(part)
        if size >= AT_ONCE or len(some) == PARTS:
            yield some, at
            some, size, at = [], 0, at + size
    if some:
        yield some, at


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags | _DIRECT, 0o644)
    except OSError:
        return os.open(path, flags, 0o644)  # a file system that has no other way


def _through_the_cache(file: int) -> bool:
    """Turn to the page cache; gives whether that changed anything."""
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    if not flags & _DIRECT:
        return False
    fcntl.fcntl(file, fcntl.F_SETFL, flags & ~_DIRECT)
    return True


def _write(file: int, parts: list[memoryview], at: int) -> None:
    while parts:
        try:
            done = os.pwritev(file, parts, at)
        except OSError:
            # Memory or places that are not as this file system wants them for direct writes; any
            # other reason shows again.
            if not _through_the_cache(file):
                raise
            continue
        at += done
        while parts and done >= len(parts[0]):
            done -= len(parts.pop(0))
        if done:
            parts[0] = parts[0][done:]
