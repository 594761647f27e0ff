"""Memory that processes share: mapped once, and cut into cells that are used again and again."""

import mmap
import os
import tempfile
from collections import deque
from multiprocessing.reduction import DupFd
from typing import Any

from patchpress.readers.errors import OptionError


class SharedMemory:
    """Memory that this process shares with its workers.

    Forked workers inherit it. Spawned workers get it as an argument when they are started: it is
    pickled as a file descriptor. It has no name in any folder, so nothing is left of it when
    processes are killed.
    """

    def __init__(self, nbytes: int) -> None:
        self._open(_new_descriptor(nbytes), nbytes)

    def _open(self, descriptor: int | None, nbytes: int) -> None:
        self._descriptor = descriptor
        self._map = mmap.mmap(-1 if descriptor is None else descriptor, nbytes) if nbytes else None
        self.view = memoryview(self._map or b"")
        """All of it, to read and to write; bytes that nobody has written are 0."""

    def __reduce__(self) -> tuple[Any, ...]:
        if self._map is not None and self._descriptor is None:
            raise OptionError(
                "memory cannot be shared with other processes under this limit on the size of "
                "files (ulimit -f): raise it, or give workers 0"
            )
        descriptor = None if self._descriptor is None else DupFd(self._descriptor)
        return _received, (descriptor, len(self.view))

    def free(self, start: int = 0, nbytes: int | None = None) -> None:
        """Give all of it, or some pages, back to the system; views that exist read zeros then."""
        if self._map is not None and hasattr(mmap, "MADV_REMOVE"):
            self._map.madvise(
                mmap.MADV_REMOVE, start, len(self.view) - start if nbytes is None else nbytes
            )

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def _new_descriptor(nbytes: int) -> int | None:
    """A file without a name, of so many bytes: in memory if the system has that.

    None if nothing is needed, or if a limit on the size of files forbids it: forked workers can do
    without it.
    """
    if not nbytes:
        return None
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("patchpress")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, nbytes)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _received(descriptor: Any, nbytes: int) -> SharedMemory:
    """The same memory in another process."""
    memory = SharedMemory.__new__(SharedMemory)
    memory._open(None if descriptor is None else descriptor.detach(), nbytes)
    return memory


class CellPool:
    """Shared memory in cells of one size, each for the files of one patch at a time."""

    def __init__(self, size: int, count: int, *, room: int = 0) -> None:
        """Map so many cells, and so many bytes behind them for others."""
        self.size = size
        """Bytes of a cell."""
        self.shared = SharedMemory(size * count + room)
        self.room_start = size * count
        """The first byte behind the cells."""
        self.memory = self.shared.view
        """All cells, one after the other, and what lies behind them."""
        self._free = deque(range(0, size * count, size) if size else ())

    def take(self) -> "Cell | None":
        """A free cell; None if all are in use.

        It is the one that was given back last, as that is most likely still in the CPU's caches.
        """
        return Cell(self, self._free.pop()) if self._free else None

    def give_back(self, start: int) -> None:
        """Make the cell at this offset free again."""
        self._free.append(start)


class Cell:
    """One cell of a pool, which has it back as soon as this object is gone."""

    __slots__ = ("pool", "start")

    def __init__(self, pool: CellPool, start: int) -> None:
        self.pool, self.start = pool, start

    def __del__(self) -> None:
        self.pool.give_back(self.start)


class HeldChunk:
    """Bytes of an archive in shared memory, which are not overwritten while this object lives."""

    __slots__ = ("_number", "_spare", "shared", "start")

    def __init__(self, shared: SharedMemory, start: int, number: int, spare: list[int]) -> None:
        """Keep a chunk; its number is put among the spare ones when nobody holds it any more."""
        self.shared, self.start = shared, start
        self._number, self._spare = number, spare

    def __del__(self) -> None:
        self._spare.append(self._number)
