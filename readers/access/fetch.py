"""Stored bytes by key or by place: through LMDB, or straight from the data files by extents.

Both ways find places for keys, give one stored value, and fill a batch with the records of one
plan. What a batch meets that is not as the plan says goes to `one`, which reads it alone and
knows what to raise.
"""

import resource
import threading
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.environment import Environment
from patchpress.readers.access.extents import UNKNOWN, Extents
from patchpress.readers.access.files import DataFile
from patchpress.readers.access.plan import Plan
from patchpress.readers.format.record import Decompressor

Array = npt.NDArray[Any]
Place = Any  # a key where LMDB is asked, a position in the extents where they are
One = Callable[[Plan, Place, Array], None]

CALM = 1024
"""Records in a row that came without the disk before `auto` trusts the page cache: a page fault
reads 4 KiB at a time and costs some twenty times the record read at once, so it must be rarer."""


class Mode(StrEnum):
    """How records are read by extents."""

    AUTO = "auto"
    """`map` while the page cache has everything, `direct` as soon as the disk is needed."""
    MAP = "map"
    """Copied from the mapped file: fastest from the page cache, page by page from a disk."""
    DIRECT = "direct"
    """Announced to the kernel, then read with preadv: each record in one request."""


class Desk(threading.local):
    """What each thread keeps for itself."""

    def __init__(self) -> None:
        self.decompress = Decompressor()
        self._scratch = bytearray()

    def scratch(self, nbytes: int) -> memoryview:
        """A reused buffer of so many bytes; what it held before is lost."""
        if len(self._scratch) < nbytes:
            self._scratch = bytearray(nbytes)
        return memoryview(self._scratch)[:nbytes]


class Source(Protocol):
    """One way to the stored bytes; safe in threads and after a fork."""

    def find(self, keys: Sequence[str]) -> list[Place | None]:
        """The place of each key, None where there is no such record."""
        ...

    def name(self, place: Place) -> str:
        """The key at a place."""
        ...

    def header(self, place: Place) -> bytes | None:
        """What the record begins with, if that is known without reading it."""
        ...

    def value(self, place: Place) -> memoryview:
        """The bytes as stored; valid until this thread asks again."""
        ...

    def batch(self, plan: Plan, places: Sequence[Place], out: Array, one: One) -> None:
        """Fill `out` (N, bands, height, width) with uncompressed records."""
        ...

    def announce(self, plan: Plan, places: Sequence[Place]) -> None:
        """Say that a batch will be asked for soon."""
        ...


class FromLmdb:
    """By key, through LMDB."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def find(self, keys: Sequence[str]) -> list[Place | None]:
        """The keys themselves: LMDB finds them when it reads them."""
        return list(keys)

    def name(self, place: Place) -> str:
        """The key."""
        return str(place)

    def header(self, place: Place) -> bytes | None:
        """Not known."""
        return None

    def value(self, place: Place) -> memoryview:
        """The bytes on LMDB's map.

        Raises:
            KeyError: no such record.
        """
        found = self._environment.value(place)
        if found is None:
            raise KeyError(place)
        return found

    def batch(self, plan: Plan, places: Sequence[Place], out: Array, one: One) -> None:
        """Copy from LMDB's map, one value after the other."""
        header, size, value = plan.header, plan.size, self._environment.value
        length = len(header)
        rows = _bytes_of(out)
        runs = [(run.start, run.start + run.nbytes, run.at, run.at + run.nbytes)
                for run in plan.runs]  # fmt: skip
        for index, (key, row) in enumerate(zip(places, rows, strict=True)):
            found = value(key)
            if found is None or len(found) != size or found[:length].tobytes() != header:
                one(plan, key, out[index])
                continue
            pixels = np.frombuffer(found, np.uint8)
            for start, stop, at, end in runs:
                row[at:end] = pixels[start:stop]
            if plan.coarse:
                plan.repeat(found, out[index])

    def announce(self, plan: Plan, places: Sequence[Place]) -> None:
        """Nothing to say: LMDB does not tell where its values lie."""


class FromExtents:
    """By position in the extents, from the data files."""

    def __init__(self, extents: Extents, files: Sequence[DataFile], mode: Mode) -> None:
        self.extents, self.mode = extents, mode
        self._files = files
        self._desk = Desk()
        # Of all threads together: what one has seen of the page cache holds for the next.
        self._mapped, self._calm = mode is Mode.MAP, 0

    def find(self, keys: Sequence[str]) -> list[Place | None]:
        """Positions in the extents."""
        found = self.extents.positions(keys)
        if -1 in found:
            return [None if place < 0 else place for place in found]
        return found  # type: ignore[return-value]

    def name(self, place: Place) -> str:
        """The key at the position."""
        return self.extents.key(place)

    def header(self, place: Place) -> bytes | None:
        """The header noted in the extents."""
        form = int(self.extents.form[place])
        return None if form == UNKNOWN else self.extents.forms[form]

    def extent(self, place: Place) -> tuple[DataFile, int, int]:
        """(data file, offset, length) of a record."""
        file = self._files[int(self.extents.shard[place])]
        return file, int(self.extents.offset[place]), int(self.extents.length[place])

    def value(self, place: Place) -> memoryview:
        """The bytes on the map, or read into this thread's scratch buffer."""
        file, offset, length = self.extent(place)
        if self.mode is Mode.MAP:
            return file.bytes[offset : offset + length]
        # In `auto`, too: whoever takes a value has work to do that hides the copy.
        scratch = self._desk.scratch(length)
        file.read_into([scratch], offset, length)
        return scratch

    def batch(self, plan: Plan, places: Sequence[Place], out: Array, one: One) -> None:
        """Copy or read the records, as the mode says."""
        positions = np.asarray(places, np.int64)
        form = self.extents.form[positions]
        if form[0] == UNKNOWN or (form != form[0]).any():
            for place, row in zip(positions.tolist(), out, strict=True):
                one(plan, place, row)
            return
        way = self._copy if self._mapped else self._read
        self._watched(lambda: way(plan, positions, out, one), len(places))

    def announce(self, plan: Plan, places: Sequence[Place]) -> None:
        """Let the kernel fetch what the plan reads, where the mode reads."""
        if self._mapped:
            return
        for _, file, offset in self._in_file_order(np.asarray(places, np.int64)):
            for read in plan.reads:
                file.announce(offset + read.start, read.nbytes)

    def _copy(self, plan: Plan, places: Array, out: Array, one: One) -> None:
        if len(self._files) == 1:
            self._copy_from(self._files[0], plan, places, out, one)
            return
        shards = self.extents.shard[places]
        for index, file in enumerate(shards.tolist()):
            some = slice(index, index + 1)
            self._copy_from(self._files[file], plan, places[some], out[some], one)

    def _copy_from(self, file: DataFile, plan: Plan, places: Array, out: Array, one: One) -> None:
        """Copy records of one data file: the loop that training waits for."""
        header, length = plan.header, len(plan.header)
        data, pixels = file.bytes, file.map
        runs = [(run.start, run.start + run.nbytes, run.at, run.at + run.nbytes)
                for run in plan.runs]  # fmt: skip
        whole = runs[0][:2] if runs and runs[0][2:] == (0, plan.nbytes) else None
        places_and_rows = zip(self.extents.offset[places].tolist(), _bytes_of(out), strict=True)
        for index, (offset, row) in enumerate(places_and_rows):
            if data[offset : offset + length].tobytes() != header:
                one(plan, int(places[index]), out[index])
                continue
            # NumPy's assignment lets other threads run meanwhile; one between memoryviews does not.
            if whole is not None:
                row[:] = pixels[offset + whole[0] : offset + whole[1]]
                continue
            for start, stop, at, end in runs:
                row[at:end] = pixels[offset + start : offset + stop]
            if plan.coarse:
                plan.repeat(data[offset : offset + plan.size], out[index])

    def _read(self, plan: Plan, places: Array, out: Array, one: One) -> None:
        header, length = plan.header, len(plan.header)
        target = _bytes_of(out).reshape(-1).data
        ordered = self._in_file_order(places)
        for _, file, offset in ordered:
            for read in plan.reads:
                file.announce(offset + read.start, read.nbytes)
        scratch = self._desk.scratch(plan.scratch)
        whole = any(read.start == 0 for read in plan.reads)
        for index, file, offset in ordered:
            base = index * plan.nbytes
            for read in plan.reads:
                buffers = [
                    target[base + at : base + at + n] if direct else scratch[at : at + n]
                    for direct, at, n in read.parts
                ]
                file.read_into(buffers, offset + read.start, read.nbytes)
            if whole and scratch[:length].tobytes() != header:
                one(plan, int(places[index]), out[index])
            elif plan.coarse:
                plan.expand(scratch, out[index])

    def _in_file_order(self, places: Array) -> list[tuple[int, DataFile, int]]:
        """(row, data file, offset) of each record, as they lie on the disk."""
        offsets, shards = self.extents.offset[places], self.extents.shard[places]
        order = np.lexsort((offsets, shards))
        return [
            (index, self._files[shard], offset)
            for index, shard, offset in zip(
                order.tolist(), shards[order].tolist(), offsets[order].tolist(), strict=True
            )
        ]

    def _watched(self, read: Callable[[], Any], records: int) -> Any:
        """Read, and in `auto` let the kernel's own counters say which way the next one takes.

        They count what this thread caused: faults that needed the disk, and blocks read from it.
        """
        if self.mode is not Mode.AUTO:
            return read()
        before = resource.getrusage(resource.RUSAGE_THREAD)
        result = read()
        after = resource.getrusage(resource.RUSAGE_THREAD)
        if after.ru_majflt > before.ru_majflt or after.ru_inblock > before.ru_inblock:
            self._mapped, self._calm = False, 0
        elif not self._mapped:
            self._calm += records
            self._mapped = self._calm >= CALM
        return result


def _bytes_of(out: Array) -> npt.NDArray[np.uint8]:
    """A batch (N, ...) as (N, bytes)."""
    return out.reshape(len(out), -1).view(np.uint8)
