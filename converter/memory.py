"""Memory that processes share: mapped once, cut into cells that are used again and again."""

import mmap
from collections import deque


def shared_memory(nbytes: int) -> memoryview:
    """Memory that processes share which fork later."""
    return memoryview(mmap.mmap(-1, nbytes) if nbytes else b"")


def free_shared_memory(memory: memoryview | None) -> None:
    """Give such memory back to the system, whoever still has a view of it; it reads as zeros."""
    if memory and isinstance(memory.obj, mmap.mmap) and hasattr(mmap, "MADV_REMOVE"):
        memory.obj.madvise(mmap.MADV_REMOVE)


class CellPool:
    """Memory for the files of patches, in cells of one size; one a patch, used again and again."""

    def __init__(self, size: int, count: int) -> None:
        self.size = size
        self.memory = shared_memory(size * count)
        self._free = deque(range(0, size * count, size) if size else ())

    def take(self) -> "Cell | None":
        """A free cell, None where all are in use. The one that was used last is in the caches."""
        return Cell(self, self._free.pop()) if self._free else None

    def give_back(self, start: int) -> None:
        """A cell is free again."""
        self._free.append(start)


class Cell:
    """One cell, which its pool has back as soon as nobody holds it any more."""

    __slots__ = ("cells", "start")

    def __init__(self, cells: CellPool, start: int) -> None:
        self.cells, self.start = cells, start

    def __del__(self) -> None:
        self.cells.give_back(self.start)
