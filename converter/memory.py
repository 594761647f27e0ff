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

    def free(self) -> None:
        """Give the memory back to the system, even if views of it exist: they read zeros then."""
        if self._map is not None and hasattr(mmap, "MADV_REMOVE"):
            self._map.madvise(mmap.MADV_REMOVE)

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

    def __init__(self, size: int, count: int) -> None:
        self.size = size
        """Bytes of a cell."""
        self.shared = SharedMemory(size * count)
        self.memory = self.shared.view
        """All cells, one after the other."""
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
