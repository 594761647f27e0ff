"""Many records of a data file in the order in which they lie in it, by large requests.

For whoever reads all of a store. A map would give it page by page, and records one by one in the
order of their keys need not lie one after the other: another program may have written them in any.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.files import ReadsFile
from patchpress.readers.format.metapages import PAGE

PORTION_BYTES = 8 << 20  # of a portion, if no record is larger: so much is announced at once
PORTION_RECORDS = 2048  # of it, if they are small
REQUEST_BYTES = 1 << 20  # of one request, if no record is larger: what still stays in the caches
GAP = 64 << 10  # bytes between two records that are read, too, rather than asking twice

Numbers = npt.NDArray[np.int64]


class Portion(NamedTuple):
    """Some records of one data file, by the order of their bytes. Arrays of one length."""

    positions: Numbers
    """Which of all that were given."""
    offset: Numbers
    length: Numbers

    @property
    def nbytes(self) -> int:
        """Bytes of the records."""
        return int(self.length.sum())


class StoredValue(NamedTuple):
    """A record that was read; the bytes are valid until the next one is asked for."""

    head: memoryview
    """The 16 bytes before it."""
    value: memoryview


def portions(offset: npt.ArrayLike, length: npt.ArrayLike) -> Iterator[Portion]:
    """Cut records (arrays of one length) into portions, in the order of their bytes."""
    offset, length = np.asarray(offset, np.int64), np.asarray(length, np.int64)
    ascending = bool((offset[1:] > offset[:-1]).all())
    order = np.arange(len(offset)) if ascending else np.argsort(offset, kind="stable")
    nbytes = np.cumsum(length[order])
    begin = 0
    while begin < len(order):
        before = int(nbytes[begin - 1]) if begin else 0
        end = int(np.searchsorted(nbytes, before + PORTION_BYTES, "right"))
        end = min(max(end, begin + 1), begin + PORTION_RECORDS)
        some = order[begin:end]
        yield Portion(some, offset[some], length[some])
        begin = end


def announce(file: ReadsFile, portion: Portion) -> None:
    """Let the kernel fetch a portion in the background."""
    for first, last in _requests(portion, PORTION_BYTES):
        file.announce(*_span(portion, first, last))


class PortionReader:
    """Reads portions into memory of its own, which is used again. Not safe in threads."""

    def __init__(self) -> None:
        self._memory = bytearray()

    def read(self, file: ReadsFile, portion: Portion) -> Iterator[StoredValue]:
        """Each record, in the order of the portion.

        Raises:
            StoreDamaged: the file ends before, or its disk does not give it.
        """
        for first, last in _requests(portion, REQUEST_BYTES):
            begin, nbytes = _span(portion, first, last)
            if len(self._memory) < nbytes:
                self._memory = bytearray(max(nbytes, REQUEST_BYTES))
            memory = memoryview(self._memory)[:nbytes]
            file.read_into([memory], begin, nbytes)
            memory = memory.toreadonly()
            offsets = (portion.offset[first : last + 1] - begin).tolist()
            lengths = portion.length[first : last + 1].tolist()
            for start, length in zip(offsets, lengths, strict=True):
                yield StoredValue(memory[start - PAGE.size : start], memory[start : start + length])


def records_in_disk_order(
    file: ReadsFile, offset: npt.ArrayLike, length: npt.ArrayLike
) -> Iterator[tuple[int, memoryview]]:
    """Position among those given, and bytes, of each record; the bytes are valid until the next.

    The disk is told of a portion while the one before it is read.

    Raises:
        StoreDamaged: the file ends before, or its disk does not give it.
    """
    reader, waiting = PortionReader(), deque[Portion]()
    for portion in portions(offset, length):
        announce(file, portion)
        waiting.append(portion)
        if len(waiting) > 1:
            yield from _numbered(reader, file, waiting.popleft())
    for portion in waiting:
        yield from _numbered(reader, file, portion)


def _numbered(
    reader: PortionReader, file: ReadsFile, portion: Portion
) -> Iterator[tuple[int, memoryview]]:
    values = reader.read(file, portion)
    for position, stored in zip(portion.positions.tolist(), values, strict=True):
        yield position, stored.value


class Announced:
    """Lets the kernel fetch what is read next by whoever reads a file's map from front to back."""

    def __init__(self, file: ReadsFile) -> None:
        self._file, self._end = file, 0

    def reach(self, position: int) -> None:
        """Say how far is read now: a portion after that is fetched in the background."""
        while self._end < min(position + PORTION_BYTES, self._file.size):
            self._file.announce(self._end, PORTION_BYTES)
            self._end += PORTION_BYTES


def _span(portion: Portion, first: int, last: int) -> tuple[int, int]:
    """(offset, bytes) of some records, with what lies before the first and between them."""
    begin = int(portion.offset[first]) - PAGE.size
    ends = portion.offset[first : last + 1] + portion.length[first : last + 1]
    return begin, int(ends.max()) - begin


def _requests(portion: Portion, most: int) -> Iterator[tuple[int, int]]:
    """(first, last) of the records that one request reads."""
    ends = np.maximum.accumulate(portion.offset + portion.length)
    apart = np.flatnonzero(portion.offset[1:] - ends[:-1] > GAP) + 1
    for begin, end in zip([0, *apart.tolist()], [*apart.tolist(), len(ends)], strict=True):
        while begin < end:
            fits = int(np.searchsorted(ends[begin:end], portion.offset[begin] + most, "right"))
            last = begin + max(fits, 1) - 1
            yield begin, last
            begin = last + 1
