"""A file that a thread writes from front to back, past the page cache if the system allows it.

Nobody reads soon what a conversion writes. In the page cache it would be copied once more and push
out what others read; and if the machine has to find fresh memory for it, that costs several times
the write itself.
"""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Queue
from typing import NamedTuple

AHEAD = 2  # pieces that may wait to be written
AT_ONCE = 4 << 20  # bytes a system call: after each call the thread waits for Python's lock again
PARTS = 512  # buffers a system call; Linux takes 1,024 (IOV_MAX of limits.h)
_DIRECT = getattr(os, "O_DIRECT", 0)

Callback = Callable[[], object]


class _Piece(NamedTuple):
    """Bytes to be written one after the other, and what to call after that."""

    offset: int
    parts: Sequence[memoryview]
    then: Callback | None
    release: Callback | None


class DirectFile:
    """An open file and the thread that writes it.

    If the thread meets an error, the next call of a method here raises it.
    """

    def __init__(self, path: Path, end: int) -> None:
        """Open the file, or make it, and cut off everything after the first `end` bytes.

        Raises:
            OSError: it cannot be written.
        """
        self._file = _opened(path)
        if os.fstat(self._file).st_size > end:
            os.ftruncate(self._file, end)
        self._pieces: Queue[_Piece | None] = Queue(AHEAD)
        self._error: BaseException | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="patchpress-writer", daemon=True)
        self._thread.start()

    def put(
        self,
        offset: int,
        parts: Sequence[memoryview],
        then: Callback | None = None,
        release: Callback | None = None,
    ) -> None:
        """Hand whole pages to the thread, which writes them from byte `offset` on.

        The thread calls `then` when they are written, and `release` in any case, also after an
        error: from then on the memory of `parts` may be used again.

        Raises:
            OSError, …: what went wrong with this or an earlier piece, or in its `then`.
        """
        self._pieces.put(_Piece(offset=offset, parts=parts, then=then, release=release))
        self._raise()

    def wait(self) -> None:
        """Wait until everything is written.

        Raises:
            OSError, …: as `put`.
        """
        self._pieces.join()
        self._raise()

    def finish(self, offset: int, end: bytes, begin: bytes, *, durable: bool = True) -> None:
        """Write `end` at byte `offset`, then `begin` at byte 0.

        If it is to be `durable`, wait until the whole file is on the disk.

        Raises:
            OSError, …: as `put`.
        """
        self.wait()
        _through_the_cache(self._file)
        _write(self._file, [memoryview(end)], offset)
        _write(self._file, [memoryview(begin)], 0)
        if durable:
            os.fsync(self._file)

    def close(self) -> None:
        """End the thread and close the file; what still waits to be written is lost."""
        self._closing = True
        self._pieces.put(None)
        self._thread.join()
        os.close(self._file)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        """Write one piece after the other until `close` is called; this is the thread."""
        while True:
            piece = self._pieces.get()
            try:
                if piece is None:
                    return
                if self._error is None and not self._closing:
                    for parts, offset in _split(piece):
                        _write(self._file, parts, offset)
                    if piece.then is not None:
                        piece.then()
            except BaseException as error:
                self._error = error
            finally:
                if piece is not None and piece.release is not None:
                    piece.release()
                self._pieces.task_done()


def _split(piece: _Piece) -> Iterator[tuple[list[memoryview], int]]:
    """The parts that each system call writes, and the offset where it begins."""
    some: list[memoryview] = []
    size, offset = 0, piece.offset
    for part in piece.parts:
        some.append(part)
        size += len(part)
        if size >= AT_ONCE or len(some) == PARTS:
            yield some, offset
            some, size, offset = [], 0, offset + size
    if some:
        yield some, offset


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags | _DIRECT, 0o644)
    except OSError:
        return os.open(path, flags, 0o644)  # a file system without direct writes


def _through_the_cache(file: int) -> bool:
    """Write through the page cache from now on; returns whether that is a change."""
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    if not flags & _DIRECT:
        return False
    fcntl.fcntl(file, fcntl.F_SETFL, flags & ~_DIRECT)
    return True


def _write(file: int, parts: list[memoryview], offset: int) -> None:
    """Write all parts, one after the other; `parts` is empty afterwards."""
    while parts:
        try:
            done = os.pwritev(file, parts, offset)
        except OSError:
            # Perhaps this file system wants other addresses or offsets for direct writes. If the
            # reason is another one, the next attempt raises it again.
            if not _through_the_cache(file):
                raise
            continue
        offset += done
        while parts and done >= len(parts[0]):
            done -= len(parts.pop(0))
        if done:
            parts[0] = parts[0][done:]
