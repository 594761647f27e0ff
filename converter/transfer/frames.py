"""Records read from their stores into frames, many at a time, and compared with their checksums.

Records that lie one after the other in a file, as in every file that was written in pages, are read
by one request, straight into the memory that is then written. Nothing is read through a map: each
of its pages would be a fault, and a disk would get requests of a few kilobytes.
"""

import queue
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from mmap import mmap
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from patchpress.converter.encoding.frame import PAGE_BYTES, ROOM, frame_size
from patchpress.converter.storage.directfile import Callback
from patchpress.converter.transfer.records import StoredRecords
from patchpress.converter.transfer.reframe import BandPicker
from patchpress.converter.transfer.source_store import SourceStore
from patchpress.readers.errors import StoreDamaged

CHUNK_BYTES = 4 << 20  # of frames in a chunk, if no record is larger
AHEAD_AT_URL = 8  # chunks that are requested from a URL before one of them is awaited
BUFFERS = 4  # chunks in memory: one that is read, and those that wait to be written

Numbers = npt.NDArray[np.int64]


class Framed(NamedTuple):
    """A record as it is written."""

    position: int
    """In the records that were asked for."""
    length: int
    checksum: int
    frame: memoryview
    """See `encoding.frame`."""


class FramedChunk(NamedTuple):
    """Some records, in order, and what to call when their frames are no longer needed."""

    records: list[Framed]
    release: Callback


class _Part(NamedTuple):
    """The records of a chunk, before they are read."""

    records: StoredRecords
    runs: list[tuple[int, int]]
    """(begin, end) of those that one request reads."""


class FrameReader:
    """Reads records into frames; those of some modalities with fewer bands."""

    def __init__(self, sources: Sequence[SourceStore], pickers: Mapping[int, BandPicker]) -> None:
        """Say where from.

        Args:
            sources: the stores, as `StoredRecords.source` counts them.
            pickers: modality, as `StoredRecords.modality` counts them -> what makes its records.
        """
        self._sources, self._pickers = sources, pickers
        self._ahead = AHEAD_AT_URL if any(one.is_remote for one in sources) else 1
        self._free: queue.Queue[mmap] = queue.Queue()
        self._made = 0

    def chunks(self, records: StoredRecords, first: int = 0) -> Iterator[FramedChunk]:
        """All records from a position on, in order, compared with their checksums.

        The memory of at most `BUFFERS` chunks is in use; the next one waits until one is released.

        Raises:
            StoreDamaged: a record differs from its checksum, or cannot be read.
        """
        sizes = (records.length.astype(np.int64) + (ROOM + PAGE_BYTES - 1)) // PAGE_BYTES
        ends = np.cumsum(sizes * PAGE_BYTES)
        position = first
        told = deque[_Part]()
        for part in self._parts(records, first, ends):
            if told or self._ahead > 1:  # from a disk the first one is read at once
                self._announce(part)
            told.append(part)
            if len(told) > self._ahead:
                yield self._chunk(told[0], position)
                position += len(told.popleft().records)
        for part in told:
            yield self._chunk(part, position)
            position += len(part.records)

    def _parts(self, records: StoredRecords, begin: int, ends: Numbers) -> "Iterator[_Part]":
        while (part := self._part(records, begin, ends)) is not None:
            yield part
            begin += len(part.records)

    def _part(self, records: StoredRecords, begin: int, ends: Numbers) -> "_Part | None":
        """The records of the chunk that begins at a position; None at the end."""
        if begin >= len(records):
            return None
        before = int(ends[begin - 1]) if begin else 0
        end = max(int(np.searchsorted(ends, before + CHUNK_BYTES, "right")), begin + 1)
        some = records.at(np.arange(begin, end))
        return _Part(some, list(_runs(some, np.isin(some.modality, list(self._pickers)))))

    def _announce(self, part: "_Part") -> None:
        """Let the kernel fetch records while those before them are compared and written."""
        records = part.records
        for start, stop in part.runs:
            begin, last = int(records.offset[start]), stop - 1
            end = int(records.offset[last]) + int(records.length[last])
            file = self._sources[records.source[start]].file(int(records.shard[start]))
            file.announce(begin, end - begin)

    def _chunk(self, part: "_Part", position: int) -> FramedChunk:
        memory = self._memory()
        space, framed = _Space(memory), list[Framed]()
        for start, stop in part.runs:
            if int(part.records.modality[start]) in self._pickers:
                framed.append(self._picked(part.records, start, position + start, space))
            else:
                framed += self._copied(part.records, start, stop, position + start, space)
        return FramedChunk(framed, lambda: self._free.put(memory))

    def _memory(self) -> mmap:
        """Memory for a chunk: it is used again, since fresh memory costs more than the copy."""
        if self._made < BUFFERS and self._free.empty():
            self._made += 1
            return mmap(-1, CHUNK_BYTES)
        return self._free.get()

    def _copied(
        self, part: StoredRecords, start: int, stop: int, position: int, space: "_Space"
    ) -> Iterator[Framed]:
        """Records that lie one after the other in a file, as they are."""
        lengths = part.length[start:stop].tolist()
        ends = np.cumsum([frame_size(length) for length in lengths]).tolist()
        memory = space.take(ends[-1])
        # What lies between two values is the head of the next one's pages: a frame has room for it.
        nbytes = (ends[-2] if len(ends) > 1 else 0) + lengths[-1]
        file = self._sources[part.source[start]].file(int(part.shard[start]))
        file.read_into([memory[ROOM : ROOM + nbytes]], int(part.offset[start]), nbytes)
        begin = 0
        for at, (length, end) in enumerate(zip(lengths, ends, strict=True)):
            frame, begin = memory[begin:end], end
            record, wanted = frame[ROOM : ROOM + length], int(part.checksum[start + at])
            if xxhash.xxh3_64_intdigest(record) != wanted:
                raise self._differs(part, start + at)
            frame[ROOM + length :] = bytes(len(frame) - ROOM - length)
            yield Framed(position + at, length, wanted, frame)

    def _picked(self, part: StoredRecords, at: int, position: int, space: "_Space") -> Framed:
        """A record of which only some bands are stored."""
        value = bytearray(int(part.length[at]))
        file = self._sources[part.source[at]].file(int(part.shard[at]))
        file.read_into([value], int(part.offset[at]), len(value))
        if xxhash.xxh3_64_intdigest(value) != int(part.checksum[at]):
            raise self._differs(part, at)
        picker = self._pickers[int(part.modality[at])]
        record = picker.pick(memoryview(value), bytes(part.keys[at]).decode())
        frame = space.take(frame_size(len(record)))
        frame[ROOM : ROOM + len(record)] = record
        frame[ROOM + len(record) :] = bytes(len(frame) - ROOM - len(record))
        return Framed(position, len(record), xxhash.xxh3_64_intdigest(record), frame)

    def _differs(self, part: StoredRecords, at: int) -> StoreDamaged:
        source, key = self._sources[part.source[at]], bytes(part.keys[at]).decode()
        return StoreDamaged(
            f"record {key!r} of {source.name} differs from its checksum: copy or convert that "
            f"store again, or run `patchpress verify {source.name}` to know of others"
        )


class _Space:
    """Memory for frames: a piece that is there, and new memory if that is used up."""

    def __init__(self, memory: mmap) -> None:
        self._rest = memoryview(memory)

    def take(self, nbytes: int) -> memoryview:
        """So many bytes, one after the other: whole pages."""
        if nbytes > len(self._rest):
            self._rest = memoryview(mmap(-1, max(nbytes, CHUNK_BYTES)))
        some, self._rest = self._rest[:nbytes], self._rest[nbytes:]
        return some


def _runs(part: StoredRecords, picked: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """(begin, end) of records that lie one after the other in one file, in whole pages."""
    offset, length = part.offset.astype(np.int64), part.length.astype(np.int64)
    following = offset + -(-(length + ROOM) // PAGE_BYTES) * PAGE_BYTES
    together = (
        (following[:-1] == offset[1:])
        & (offset[:-1] % PAGE_BYTES == ROOM)
        & (part.source[:-1] == part.source[1:])
        & (part.shard[:-1] == part.shard[1:])
        & ~picked[:-1]
        & ~picked[1:]
    )
    begin = 0
    for end in [*(np.flatnonzero(~together) + 1).tolist(), len(part)]:
        yield begin, end
        begin = end
