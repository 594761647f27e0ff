"""`ExtentsFetcher`: records by their position in the extents, straight from the data files."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.extents import UNKNOWN, Extents
from patchpress.readers.access.fetcher import (
    Array,
    Handle,
    Handles,
    Mode,
    ReadOne,
    ThreadBuffers,
    rows_of_bytes,
)
from patchpress.readers.access.files import DataFile
from patchpress.readers.access.plan import Plan
from patchpress.readers.access.watch import Watch

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None  # type: ignore[assignment]

_log = logging.getLogger(__name__)

FROM_CACHE = 1024
"""Records in a row that came without the disk before `auto` trusts the page cache: a page fault
reads 4 KiB at a time and costs some twenty times the record read at once, so it must be rarer."""


class ExtentsFetcher:
    """Records straight from the data files: a handle is the record's position in the extents."""

    def __init__(
        self, extents: Extents, files: Sequence[DataFile], watch: Watch, mode: Mode
    ) -> None:
        self.extents = extents
        # Without counters of a thread, which only Linux has, `auto` cannot choose: it copies.
        self.mode = Mode.MAP if mode is Mode.AUTO and not _has_counters() else mode
        self._files, self._watch = files, watch
        self._buffers = ThreadBuffers()
        # Of all threads together: what one has seen of the page cache holds for the next.
        self._copies = self.mode is Mode.MAP
        self._from_cache = 0

    def find(self, keys: Sequence[str]) -> list[Handle | None]:
        """Positions in the extents."""
        found = self.extents.positions(keys)
        if -1 in found:
            return [None if position < 0 else position for position in found]
        return found  # type: ignore[return-value]

    def key(self, handle: Handle) -> str:
        """The key at a position."""
        return self.extents.key(int(handle))

    def near(self, key: str, count: int) -> list[str]:
        """Keys next to one that is not there: `count` before it and `count` after it."""
        return self.extents.near(key, count)

    def header(self, handle: Handle) -> bytes | None:
        """The header noted in the extents."""
        number = int(self.extents.header_number[int(handle)])
        return None if number == UNKNOWN else self.extents.headers[number]

    def locate(self, handle: Handle) -> tuple[DataFile, int, int]:
        """(data file, offset, length) of a record."""
        position = int(handle)
        file = self._files[int(self.extents.shard[position])]
        return file, int(self.extents.offset[position]), int(self.extents.length[position])

    def value(self, handle: Handle) -> memoryview:
        """The bytes on the map, or read into this thread's scratch buffer."""
        self._watch.check()
        file, offset, length = self.locate(handle)
        if self.mode is Mode.MAP:
            return file.bytes[offset : offset + length]
        # In `auto`, too: what is done with a value afterwards takes much longer than the copy.
        scratch = self._buffers.scratch(length)
        file.read_into([scratch], offset, length)
        return scratch

    def batch(self, plan: Plan, handles: Handles, out: Array, read_one: ReadOne) -> None:
        """Copy or read the records, as the mode says."""
        positions = np.asarray(handles, np.int64)
        self._watch.check()
        numbers = self.extents.header_number[positions]
        if numbers[0] == UNKNOWN or (numbers != numbers[0]).any():
            for position, row in zip(positions.tolist(), out, strict=True):
                read_one(plan, position, row)
            return
        fill = self._copy if self._copies else self._read
        if self.mode is not Mode.AUTO:
            fill(plan, positions, out, read_one)
            return
        before = resource.getrusage(resource.RUSAGE_THREAD)
        fill(plan, positions, out, read_one)
        self._choose(before, resource.getrusage(resource.RUSAGE_THREAD), len(positions))

    def announce(self, plan: Plan, handles: Handles) -> None:
        """Let the kernel fetch what the plan reads, unless the records are copied from the map."""
        if self._copies:
            return
        for _, file, offset in self._in_file_order(np.asarray(handles, np.int64)):
            for request in plan.requests:
                file.announce(offset + request.record_offset, request.nbytes)

    def _choose(self, before: Any, after: Any, records: int) -> None:
        """Choose in `auto` between copying and reading for the next batch.

        By the kernel's own counters of this thread, before and after a batch: page faults that
        needed the disk, and blocks read from it.
        """
        if after.ru_majflt > before.ru_majflt or after.ru_inblock > before.ru_inblock:
            if self._copies:
                _log.debug("a record came from the disk: records are read now, not copied")
            self._copies, self._from_cache = False, 0
        elif not self._copies:
            self._from_cache += records
            self._copies = self._from_cache >= FROM_CACHE
            if self._copies:
                _log.debug("%d records came without the disk: they are copied now", FROM_CACHE)

    def _copy(
        self, plan: Plan, positions: npt.NDArray[np.int64], out: Array, read_one: ReadOne
    ) -> None:
        """Copy records from the mapped files."""
        if len(self._files) == 1:
            self._copy_from(self._files[0], plan, positions, out, read_one)
            return
        shards = self.extents.shard[positions]
        for index, file in enumerate(shards.tolist()):
            some = slice(index, index + 1)
            self._copy_from(self._files[file], plan, positions[some], out[some], read_one)

    def _copy_from(
        self,
        file: DataFile,
        plan: Plan,
        positions: npt.NDArray[np.int64],
        out: Array,
        read_one: ReadOne,
    ) -> None:
        """Copy records of one data file: the loop that training waits for."""
        header, length = plan.header, len(plan.header)
        data, pixels = file.bytes, file.map
        copies = plan.copies
        whole = copies[0][:2] if copies and copies[0][2:] == (0, plan.nbytes) else None
        rows = zip(self.extents.offset[positions].tolist(), rows_of_bytes(out), strict=True)
        for index, (offset, row) in enumerate(rows):
            if data[offset : offset + length].tobytes() != header:
                read_one(plan, int(positions[index]), out[index])
                continue
            # NumPy's assignment lets other threads run meanwhile; one between memoryviews does not.
            if whole is not None:
                row[:] = pixels[offset + whole[0] : offset + whole[1]]
                continue
            for start, end, target, target_end in copies:
                row[target:target_end] = pixels[offset + start : offset + end]
            if plan.coarse:
                plan.repeat(data[offset : offset + plan.size], out[index])

    def _read(
        self, plan: Plan, positions: npt.NDArray[np.int64], out: Array, read_one: ReadOne
    ) -> None:
        """Announce all records of a batch to the kernel, then read them in the files' order."""
        header, length = plan.header, len(plan.header)
        target = rows_of_bytes(out).reshape(-1).data
        ordered = self._in_file_order(positions)
        for _, file, offset in ordered:
            for request in plan.requests:
                file.announce(offset + request.record_offset, request.nbytes)
        scratch = self._buffers.scratch(plan.scratch_size)
        reads_header = any(request.record_offset == 0 for request in plan.requests)
        for index, file, offset in ordered:
            base = index * plan.nbytes
            for request in plan.requests:
                buffers = [
                    target[base + part.offset : base + part.offset + part.nbytes]
                    if part.in_array
                    else scratch[part.offset : part.offset + part.nbytes]
                    for part in request.parts
                ]
                file.read_into(buffers, offset + request.record_offset, request.nbytes)
            if reads_header and scratch[:length].tobytes() != header:
                read_one(plan, int(positions[index]), out[index])
            elif plan.coarse:
                plan.repeat_scratch(scratch, out[index])

    def _in_file_order(self, positions: npt.NDArray[np.int64]) -> list[tuple[int, DataFile, int]]:
        """(row of the batch, data file, offset) of each record, in the order of the files."""
        offsets, shards = self.extents.offset[positions], self.extents.shard[positions]
        order = np.lexsort((offsets, shards))
        return [
            (index, self._files[shard], offset)
            for index, shard, offset in zip(
                order.tolist(), shards[order].tolist(), offsets[order].tolist(), strict=True
            )
        ]


def _has_counters() -> bool:
    return hasattr(resource, "RUSAGE_THREAD")
