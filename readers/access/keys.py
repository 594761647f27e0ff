"""`Keys`: the names of all records, in ascending order; those of a file stay in the file.

Of a large data set they take 100 MB and more, in each process that reads; yet a name is searched
once. So of a file every 64th is kept, and the others are read when one of them is searched. They
are read, not mapped: under a map a disk that fails, or a file that is cut, ends the process. Each
block is compared with its checksum: in a file that was written over, a name of another store would
lead to another record.
"""

import errno
import os
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import StoreDamaged
from patchpress.readers.format.store_files import open_regular

Names = npt.NDArray[np.bytes_]
Positions = npt.NDArray[np.int64]

BLOCK = 64
"""Of so many keys in a row the first is kept, and a checksum of all."""
_TOGETHER = 256  # blocks that are read at once if many names are searched
_FEW = 256  # names of which each is searched alone
_PIECE = 1 << 20  # bytes that are read at once
_lock = threading.Lock()


class Keys(Protocol):
    """Names of one width, in bytes, in ascending order."""

    width: int
    """Bytes of the longest; others are padded with zero bytes."""

    def __len__(self) -> int: ...

    def part(self, first: int, end: int) -> Names:
        """The keys from one position to before another."""
        ...

    def one(self, position: int) -> bytes:
        """One key, to name a record or to look up its checksum: it is not compared itself."""
        ...

    def search(self, names: Names) -> Positions:
        """The position of each name, of the same width; -1 if it is none of them."""
        ...

    def place(self, name: bytes) -> int:
        """The position at which a name is, or would be."""
        ...


class KeysInMemory:
    """Keys of an array."""

    def __init__(self, keys: Names) -> None:
        self._keys, self.width = keys, keys.dtype.itemsize

    def __len__(self) -> int:
        return len(self._keys)

    def part(self, first: int, end: int) -> Names:
        """As that of `Keys`."""
        return self._keys[first:end]

    def one(self, position: int) -> bytes:
        """As that of `Keys`."""
        return bytes(self._keys[position])

    def search(self, names: Names) -> Positions:
        """As that of `Keys`."""
        return _searched(self._keys, names)

    def place(self, name: bytes) -> int:
        """As that of `Keys`."""
        return _place(self._keys, name)


class KeysInFile:
    """Keys that are read from a file when they are asked for; safe in threads and after a fork.

    All methods raise StoreDamaged if the file has become shorter, was written over, or if its disk
    does not give it.
    """

    def __init__(
        self, file: "ExtentsFile", start: int, width: int, count: int, seen: Callable[[bytes], None]
    ) -> None:
        """Read all keys once.

        Args:
            file: which has them.
            start: where they begin.
            width: bytes of each.
            count: how many.
            seen: called with their bytes, piece by piece, in order.

        Raises:
            OSError: the file ends before, or its disk does not give it.
        """
        self._file, self._start, self.width, self._count = file, start, width, count
        step = BLOCK * width
        every = []
        self._checksums: list[int] = []
        for piece in file.pieces(start, start + count * width, step * max(_PIECE // step, 1)):
            seen(piece)
            self._checksums += _checksums(piece, step)
            every.append(np.frombuffer(piece, f"S{width}")[::BLOCK].copy())
        self._every: Names = np.concatenate(every) if every else np.empty(0, f"S{width}")

    def __len__(self) -> int:
        return self._count

    def part(self, first: int, end: int) -> Names:
        """As that of `Keys`."""
        block = first // BLOCK
        data = self._blocks(block, max(-(-end // BLOCK), block))
        return np.frombuffer(data, f"S{self.width}")[first - block * BLOCK : end - block * BLOCK]

    def one(self, position: int) -> bytes:
        """As that of `Keys`."""
        return self._read(position * self.width, self.width).rstrip(b"\0")

    def search(self, names: Names) -> Positions:
        """As that of `Keys`."""
        blocks = np.searchsorted(self._every, names, side="right").astype(np.int64) - 1
        if len(names) <= _FEW:
            pairs = zip(blocks.tolist(), names.tolist(), strict=True)
            return np.array([self._in_block(block, name) for block, name in pairs], np.int64)
        found = np.full(len(names), -1, np.int64)
        order = np.argsort(blocks, kind="stable")
        order = order[np.searchsorted(blocks[order], 0) :]
        groups = np.flatnonzero(np.diff(blocks[order] // _TOGETHER)) + 1
        for some in np.split(order, groups):
            if len(some):
                first, last = int(blocks[some[0]]), int(blocks[some[-1]])
                keys = self.part(first * BLOCK, (last + 1) * BLOCK)
                at = _searched(keys, names[some])
                found[some] = np.where(at < 0, -1, at + first * BLOCK)
        return found

    def place(self, name: bytes) -> int:
        """As that of `Keys`."""
        block = int(np.searchsorted(self._every, np.array(name, self._every.dtype), side="right"))
        first = max(block - 1, 0) * BLOCK
        return first + _place(self.part(first, first + BLOCK), name)

    def _in_block(self, block: int, name: bytes) -> int:
        """The position of a name that is in a block, or nowhere."""
        if block < 0:
            return -1
        data = self._blocks(block, block + 1)
        name = name.ljust(self.width, b"\0")
        at = data.find(name)
        while at >= 0 and at % self.width:  # the end of one key and the beginning of the next
            at = data.find(name, at + 1)
        return -1 if at < 0 else block * BLOCK + at // self.width

    def _blocks(self, first: int, end: int) -> bytes:
        """The bytes of blocks, compared with their checksums."""
        step = BLOCK * self.width
        most = self._count * self.width
        nbytes = max(min(end * step, most) - first * step, 0)
        data = self._read(first * step, nbytes)
        if _checksums(data, step) != self._checksums[first:end]:
            raise StoreDamaged(
                f"{self._file.path} was overwritten since it was opened: open the store again"
            )
        return data

    def _read(self, start: int, nbytes: int) -> bytes:
        try:
            return self._file.read(self._start + start, nbytes)
        except OSError as error:
            raise StoreDamaged(
                f"{self._file.path} cannot be read ({error.strerror}): check its disk, and open "
                "the store again"
            ) from None


class ExtentsFile:
    """The file of a store's extents, open to be read at an offset."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            StoreDamaged: it is no regular file.
            OSError: it cannot be opened.
        """
        self.path, self._descriptor = path, open_regular(path)
        self._close = weakref.finalize(self, os.close, self._descriptor)
        self.size = os.fstat(self._descriptor).st_size
        """Bytes when it was opened."""

    def read(self, start: int, nbytes: int) -> bytes:
        """Some bytes.

        Raises:
            OSError: the file has become shorter, or its disk does not give them.
        """
        data = b""
        while len(data) < nbytes:  # again after a signal, or from a network disk
            more = self._read(start + len(data), nbytes - len(data))
            if not more:
                raise OSError(errno.EIO, f"it ended at byte {start + len(data):,}")
            data = data + more if data else more
        return data

    def pieces(self, start: int, end: int, step: int = _PIECE) -> Iterator[bytes]:
        """The bytes from `start` to `end`, at most `step` at a time.

        Raises:
            OSError: as `read`.
        """
        for at in range(start, end, step):
            yield self.read(at, min(step, end - at))

    def _read(self, start: int, nbytes: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, nbytes, start)
        with _lock:  # Windows
            os.lseek(self._descriptor, start, os.SEEK_SET)
            return os.read(self._descriptor, nbytes)


def _checksums(data: bytes, step: int) -> list[int]:
    """Of each `step` bytes."""
    if len(data) <= step:
        return [zlib.crc32(data)] if data else []
    view = memoryview(data)
    return [zlib.crc32(view[at : at + step]) for at in range(0, len(data), step)]


def _searched(keys: Names, names: Names) -> Positions:
    """The position of each name in an array of keys; -1 if it is none of them."""
    if not len(keys):
        return np.full(len(names), -1, np.int64)
    positions = np.searchsorted(keys, names).astype(np.int64)
    positions[positions == len(keys)] = 0
    positions[keys[positions] != names] = -1
    return positions


def _place(keys: Names, name: bytes) -> int:
    return int(np.searchsorted(keys, np.array(name, keys.dtype)))


def joined_names(parts: list[Names]) -> Names:
    """All names of some arrays in one; the list is emptied, each array given up when it is copied.

    One array alone is given as it is.
    """
    if len(parts) == 1:
        return parts.pop()
    joined = np.empty(sum(map(len, parts)), max(some.dtype for some in parts))
    begin = len(joined)
    while parts:
        some = parts.pop()
        joined[begin - len(some) : begin] = some
        begin -= len(some)
    return joined
