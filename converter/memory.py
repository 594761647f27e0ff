"""Memory that processes share: mapped once, and cut into cells that are used again and again."""

import mmap
from collections import deque


def shared_memory(nbytes: int) -> memoryview:
    """Memory, all zeros, that this process shares with those that it forks later."""
    return memoryview(mmap.mmap(-1, nbytes) if nbytes else b"")


def free_shared_memory(memory: memoryview | None) -> None:
    """Give shared memory back to the system at once; views of it that are left read zeros.

    Nothing happens if it is None, or if the system has no such call.
    """
    if memory and isinstance(memory.obj, mmap.mmap) and hasattr(mmap, "MADV_REMOVE"):
        memory.obj.madvise(mmap.MADV_REMOVE)


class CellPool:
    """Shared memory in cells of one size, each for the files of one patch at a time."""

    def __init__(self, size: int, count: int) -> None:
        self.size = size
        """Bytes of a cell."""
        self.memory = shared_memory(size * count)
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
