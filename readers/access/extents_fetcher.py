"""`ExtentsFetcher`: records by their position in the extents, straight from the data files."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.by_extents import ByExtents
from patchpress.readers.access.extents import UNKNOWN, Extents
from patchpress.readers.access.extents_file import made_from_another
from patchpress.readers.access.fetcher import (
    Handle,
    Handles,
    Mode,
    ReadOne,
    ThreadBuffers,
)
from patchpress.readers.access.files import DataFile
from patchpress.readers.access.filling import Filling
from patchpress.readers.access.open_shard import OpenShard
from patchpress.readers.access.plan import Plan
from patchpress.readers.access.shards import Shards, most_open
from patchpress.readers.errors import ExtentsUnusable

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None  # type: ignore[assignment]

_log = logging.getLogger(__name__)

FROM_CACHE = 1024
"""Records in a row that came without the disk before `auto` trusts the page cache: a page fault
reads 4 KiB at a time and costs some twenty times the record read at once, so it must be rarer."""


_Group = tuple[int, Sequence[int], list[int]]
"""The records of a batch that are in one shard: its number, rows of the batch, offsets."""


class ExtentsFetcher(ByExtents):
    """Records straight from the data files: a handle is the record's position in the extents.

    Whether the extents were made from a shard's data file shows when that is opened. If not, its
    records are searched in its tree, by their keys.
    """

    def __init__(self, store: Path, extents: Extents, shards: Shards, mode: Mode) -> None:
        self.extents = extents
        # Without counters of a thread, which only Linux has, `auto` cannot choose: it copies.
        self.mode = Mode.MAP if mode is Mode.AUTO and not _has_counters() else mode
        self._store, self._shards = store, shards
        self._compared: set[int] = set()
        self._stale: set[int] = set()
        self._buffers = ThreadBuffers()
        # Of all threads together: what one has seen of the page cache holds for the next.
        self._copies = self.mode is Mode.MAP
        self._from_cache = 0

    def locate(self, handle: Handle) -> tuple[DataFile, int, int]:
        """(data file, offset, length) of a record.

        Raises:
            KeyError: no such record in a data file that the extents were not made from.
        """
        position = int(handle)
        number = int(self.extents.shard[position])
        file = self._open(number).file
        if number not in self._stale:
            return file, int(self.extents.offset[position]), int(self.extents.length[position])
        value = self._shards.open(number).tree.find(self.extents.stored_key(position))
        if value is None:
            raise KeyError(handle)
        return file, value.offset, value.length

    def value(self, handle: Handle) -> memoryview:
        """The bytes on the map, or read into this thread's scratch buffer."""
        file, offset, length = self.locate(handle)
        if self._copies:
            return file.bytes[offset : offset + length]
        scratch = self._buffers.scratch(length)
        file.read_into([scratch], offset, length)
        return scratch

    def batch(self, filling: Filling, handles: Handles, read_one: ReadOne) -> None:
        """Copy or read the records, as the mode says."""
        positions = np.asarray(handles, np.int64)
        numbers = self.extents.header_number[positions]
        if numbers[0] == UNKNOWN or (numbers != numbers[0]).any():
            fill = self._read_whole
        else:
            fill = self._copy if self._copies else self._read
        if self.mode is not Mode.AUTO:
            fill(filling, positions, read_one)
            return
        before = resource.getrusage(resource.RUSAGE_THREAD)
        fill(filling, positions, read_one)
        self._choose(before, resource.getrusage(resource.RUSAGE_THREAD), len(positions))

    def announce(self, plan: Plan, handles: Handles) -> None:
        """Let the kernel fetch what the plan reads, unless the records are copied from the map."""
        if self._copies:
            return
        positions = np.asarray(handles, np.int64)
        if (self.extents.header_number[positions] == UNKNOWN).any():
            self._announce_whole(positions)
            return
        for number, _, offsets in self._groups(positions):
            shard = self._open(number)
            if number not in self._stale:
                _announce(plan, shard.file, offsets)

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

    def _read_whole(
        self, filling: Filling, positions: npt.NDArray[np.int64], read_one: ReadOne
    ) -> None:
        """Leave each record to `read_one`; those on the disk are announced to the kernel first."""
        rows = range(len(positions)) if self._copies else self._announce_whole(positions)
        numbers = positions.tolist()
        for row in rows:
            read_one(filling, numbers[row], row)

    def _announce_whole(self, positions: npt.NDArray[np.int64]) -> Sequence[int]:
        """Let the kernel fetch whole records; returns their rows in the order of their bytes."""
        lengths = self.extents.length[positions].tolist()
        order: list[int] = []
        for number, rows, offsets in self._groups(positions):
            file = self._open(number).file
            order += rows
            if number not in self._stale:
                for row, offset in zip(rows, offsets, strict=True):
                    file.announce(offset, lengths[row])
        return order

    def _copy(self, filling: Filling, positions: npt.NDArray[np.int64], read_one: ReadOne) -> None:
        """Copy records from the mapped files: the loop that training waits for."""
        plan, rows = filling.plan, filling.rows
        header, length = plan.header, len(plan.header)
        copies = plan.copies
        whole = copies[0][:2] if copies and copies[0][2:] == (0, plan.nbytes) else None
        for number, indices, offsets in self._groups(positions, in_order=False):
            file = self._open(number, mapped=True).file
            if number in self._stale:
                _read_each(filling, positions, indices, read_one)
                continue
            data, pixels = file.bytes, file.map
            for index, offset in zip(indices, offsets, strict=True):
                if data[offset : offset + length].tobytes() != header:
                    read_one(filling, int(positions[index]), index)
                    continue
                # NumPy's assignment lets other threads run meanwhile; memoryviews' does not.
                row = rows[index]
                if whole is not None:
                    row[:] = pixels[offset + whole[0] : offset + whole[1]]
                    continue
                for start, end, target, target_end in copies:
                    row[target:target_end] = pixels[offset + start : offset + end]
                if plan.coarse:
                    filling.gather(pixels[offset : offset + plan.size], index)

    def _read(self, filling: Filling, positions: npt.NDArray[np.int64], read_one: ReadOne) -> None:
        """Announce the records of a batch to the kernel, then read them in the files' order.

        All of them, or those of some shards after the others if these are very many: a file stays
        open between both.
        """
        plan = filling.plan
        header, length = plan.header, len(plan.header)
        target = filling.rows.reshape(-1).data
        reads_header = any(request.record_offset == 0 for request in plan.requests)
        groups = self._groups(positions)
        together = max(most_open() // 8, 1) if len(groups) > 1 else 1
        for first in range(0, len(groups), together):
            opened = [(group, self._open(group[0]).file) for group in groups[first:][:together]]
            for (number, _, offsets), file in opened:
                if number not in self._stale:
                    _announce(plan, file, offsets)
            for (number, indices, offsets), file in opened:
                if number in self._stale:
                    _read_each(filling, positions, indices, read_one)
                    continue
                scratch = filling.room()
                for index, offset in zip(indices, offsets, strict=True):
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
                        read_one(filling, int(positions[index]), index)
                        scratch = filling.room()
                    elif plan.coarse:
                        filling.gathered(index)
                        scratch = filling.room()

    def _groups(self, positions: npt.NDArray[np.int64], *, in_order: bool = True) -> list[_Group]:
        """The records of a batch, shard by shard, and if wanted in the order of their bytes."""
        offsets = self.extents.offset[positions]
        if len(self._shards) == 1 and not in_order:
            return [(0, range(len(positions)), offsets.tolist())]
        shards = self.extents.shard[positions]
        if len(positions) == 1:
            return [(int(shards[0]), (0,), offsets.tolist())]
        order = np.lexsort((offsets, shards)) if in_order else np.argsort(shards, kind="stable")
        rows, ordered, numbers = order.tolist(), offsets[order].tolist(), shards[order].tolist()
        groups: list[_Group] = []
        first = 0
        for index, number in enumerate(numbers[1:], 1):  # numpy takes longer for a batch
            if number != numbers[first]:
                groups.append((numbers[first], rows[first:index], ordered[first:index]))
                first = index
        return [*groups, (numbers[first], rows[first:], ordered[first:])]

    def _open(self, number: int, *, mapped: bool = False) -> OpenShard:
        """A shard, of which is known from then on whether the extents were made from it."""
        shard = self._shards.mapped(number) if mapped else self._shards.open(number)
        if number not in self._compared:
            self._compare(number, shard)
        return shard

    def _compare(self, number: int, shard: OpenShard) -> None:
        entry = self.extents.files[number]
        if (shard.file.size, shard.identity) != (entry["bytes"], entry["identity"]):
            reason = made_from_another(self._store, entry["path"])
            _log.info("%s", reason)
            if not self._stale:
                warnings.warn(
                    f"{reason}: its records are read without extents, which is slower; run "
                    f"`patchpress index {self._store}`",
                    ExtentsUnusable,
                    stacklevel=2,
                )
            self._stale.add(number)
        self._compared.add(number)


def _read_each(
    filling: Filling, positions: npt.NDArray[np.int64], rows: Sequence[int], one: ReadOne
) -> None:
    """Read some records of a batch one by one."""
    for index in rows:
        one(filling, int(positions[index]), index)


def _announce(plan: Plan, file: DataFile, offsets: Sequence[int]) -> None:
    """Let the kernel fetch what the plan reads of some records."""
    for offset in offsets:
        for request in plan.requests:
            file.announce(offset + request.record_offset, request.nbytes)


def _has_counters() -> bool:
    return hasattr(resource, "RUSAGE_THREAD")
