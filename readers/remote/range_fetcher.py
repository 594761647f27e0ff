"""`RangeFetcher`: records of a store at a URL by range requests, a batch at a time.

A batch's requests are sent together, those of the next batch already while this one is awaited:
what is announced waits in memory until it is read.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.by_extents import ByExtents
from patchpress.readers.access.extents import UNKNOWN, Extents
from patchpress.readers.access.extents_fetcher import ExtentsFetcher
from patchpress.readers.access.fetcher import (
    Handle,
    Handles,
    ReadOne,
)
from patchpress.readers.access.files import DataFile
from patchpress.readers.access.filling import Filling
from patchpress.readers.access.plan import Plan, Request
from patchpress.readers.errors import ViewImpossible
from patchpress.readers.remote.client import Client
from patchpress.readers.remote.ranges import Wanted, together
from patchpress.readers.remote.remote_file import RemoteFile
from patchpress.readers.remote.staged import StagedShards

KEPT = 512 << 20
"""Bytes that were announced and not read yet; of more, those that were announced first are let go,
as after an epoch that was left early."""
WHOLE = 0
"""Instead of a plan: the whole record, as stored."""


class _PieceOfAnswer(NamedTuple):
    """One range of a record, and the request that gets it."""

    answer: "Future[memoryview]"
    begin: int
    """The first byte of the range in the answer."""
    nbytes: int


Pieces = tuple[_PieceOfAnswer, ...]
"""What is read of one record."""


class RangeFetcher(ByExtents):
    """Records by their position in the extents, from a URL; safe in threads and after a fork."""

    def __init__(
        self,
        client: Client,
        extents: Extents,
        files: Sequence[RemoteFile],
        *,
        whole: bool,
        copies: tuple[StagedShards, ExtentsFetcher] | None = None,
    ) -> None:
        """Take the files in the order of the extents; `whole` if records are read as they are.

        Which is so if each is compared with its checksum. Files that are staged are read from
        their `copies`.
        """
        self._copies = copies
        self.extents = extents
        self.whole = whole
        self._client, self._files = client, files
        self._here = _Here()
        self._announced = _Announced()
        self._numbers: dict[tuple[bytes, tuple[Request, ...]], int] = {}

    def locate(self, handle: Handle) -> tuple[DataFile, int, int]:
        """As `ExtentsFetcher` in the copy of a data file.

        Raises:
            ViewImpossible: there is no file on this machine.
        """
        position = int(handle)
        copies = self._copies_of(position)
        return copies.locate(position) if copies is not None else self._no_view()

    def value(self, handle: Handle) -> memoryview:
        """The bytes of a record as stored."""
        position = int(handle)
        held = self._here.records.get(position)
        if held is not None:
            return held
        copies = self._copies_of(position)
        if copies is not None:
            return copies.value(position)
        (pieces,) = self._pieces(None, np.array([position], np.int64))
        return _bytes_of(pieces[0])

    def batch(self, filling: Filling, handles: Handles, read_one: ReadOne) -> None:
        """Request all records at once, and take them as they come."""
        positions = np.asarray(handles, np.int64)
        staged = self._staged(positions)
        if staged is not None and self._copies is not None:
            _, copies = self._copies
            if staged.all() and not self.whole:
                copies.batch(filling, positions, read_one)
                return
            # For as long as some shards are on their way.
            for row in np.flatnonzero(staged).tolist():
                read_one(filling, int(positions[row]), row)
            apart = np.flatnonzero(~staged)
            if not len(apart):
                return
            if len(apart) < len(positions):
                out = filling.out
                rest = Filling(filling.plan, np.empty((len(apart), *out.shape[1:]), out.dtype))
                self._fill(rest, positions[apart], read_one)
                rest.finish()
                out[apart] = rest.out
                return
        self._fill(filling, positions, read_one)

    def _fill(self, filling: Filling, positions: npt.NDArray[np.int64], read_one: ReadOne) -> None:
        if self._needs_whole(positions):
            self._one_by_one(filling, positions, read_one)
            return
        plan, target = filling.plan, filling.rows
        header, length = plan.header, len(plan.header)
        for row, pieces in enumerate(self._pieces(plan, positions)):
            scratch = filling.room()
            for request, piece in zip(plan.requests, pieces, strict=True):
                found = _bytes_of(piece)
                begin = 0
                for part in request.parts:
                    some = found[begin : begin + part.nbytes]
                    begin += part.nbytes
                    if part.in_array:
                        target[row, part.offset : part.offset + part.nbytes] = np.frombuffer(
                            some, np.uint8
                        )
                    else:
                        scratch[part.offset : part.offset + part.nbytes] = some
            reads_header = any(request.record_offset == 0 for request in plan.requests)
            if reads_header and scratch[:length] != header:
                read_one(filling, int(positions[row]), row)
            elif plan.coarse:
                filling.gathered(row)

    def announce(self, plan: Plan, handles: Handles) -> None:
        """Send the requests for a batch that will be read soon."""
        positions = np.asarray(handles, np.int64)
        staged = self._staged(positions)
        if staged is not None:
            if self._copies is not None and staged.all():
                self._copies[1].announce(plan, positions)
                return
            positions = positions[~staged]
        wanted = None if self._needs_whole(positions) else plan
        fresh = self._announced.missing(self._number(wanted), np.unique(positions))
        if len(fresh):
            pieces = self._requested(wanted, fresh)
            self._announced.add(self._number(wanted), fresh, pieces)

    def close(self) -> None:
        """End what is under way."""
        self._announced.forget()
        if self._copies is not None:
            self._copies[0].close()
        self._client.close()

    def _number(self, plan: Plan | None) -> int:
        """A number for what is read of a record: `WHOLE`, or the same for equal plans."""
        if plan is None:
            return WHOLE
        return self._numbers.setdefault((plan.header, plan.requests), len(self._numbers) + 1)

    def _staged(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_] | None:
        """Which of some records lie in copies; None if nothing is staged."""
        if self._copies is None:
            return None
        shards = self.extents.shard[positions]
        there = [number for number in np.unique(shards).tolist() if self._copies[0].has(number)]
        return np.isin(shards, there)

    def _copies_of(self, position: int) -> ExtentsFetcher | None:
        if self._copies is None or not self._copies[0].has(int(self.extents.shard[position])):
            return None
        return self._copies[1]

    def _no_view(self) -> NoReturn:
        raise ViewImpossible(
            f"the records of {self._client.name} are not on this machine, so no array lies in "
            "them: use read, or copy the store to a disk"
        )

    def _needs_whole(self, positions: npt.NDArray[np.int64]) -> bool:
        numbers = self.extents.header_number[positions]
        return bool(self.whole or numbers[0] == UNKNOWN or (numbers != numbers[0]).any())

    def _one_by_one(
        self, filling: Filling, positions: npt.NDArray[np.int64], read_one: ReadOne
    ) -> None:
        """Request all records as they are stored, and leave each to `read_one`."""
        all_pieces = self._pieces(None, positions)
        held = self._here.records
        try:
            for row, (position, pieces) in enumerate(
                zip(positions.tolist(), all_pieces, strict=True)
            ):
                held[position] = _bytes_of(pieces[0])
                read_one(filling, position, row)
                del held[position]
        finally:
            held.clear()

    def _pieces(self, plan: Plan | None, positions: npt.NDArray[np.int64]) -> list[Pieces]:
        """What each record of a batch is made of: announced before, or requested now."""
        number = self._number(plan)
        found = self._announced.take(number, positions)
        lacking = [row for row, pieces in enumerate(found) if pieces is None]
        if lacking:
            asked = self._requested(plan, positions[lacking])
            for row, pieces in zip(lacking, asked, strict=True):
                found[row] = pieces
        return found  # type: ignore[return-value]

    def _requested(self, plan: Plan | None, positions: npt.NDArray[np.int64]) -> list[Pieces]:
        """Send the requests for records, and say where in the answers each of them lies."""
        extents = self.extents
        rows = zip(
            extents.shard[positions].tolist(),
            extents.offset[positions].tolist(),
            extents.length[positions].tolist(),
            strict=True,
        )
        wanted: list[Wanted] = []
        for row, (shard, offset, length) in enumerate(rows):
            if plan is None:
                wanted.append(Wanted(shard, offset, offset + length, row))
                continue
            for request in plan.requests:
                start = offset + request.record_offset
                wanted.append(Wanted(shard, start, start + request.nbytes, row))
        self._open(sorted({one.file for one in wanted}))
        pieces: list[list[_PieceOfAnswer]] = [[] for _ in positions]
        for group in together(wanted):
            file = self._files[group.file]
            answer = self._client.submit(file.name, group.start, group.end, file.known)
            for one in group.ranges:
                piece = _PieceOfAnswer(answer, one.start - group.start, one.end - one.start)
                pieces[one.row].append(piece)
        # Ranges of one record were sorted by where they begin, as the requests of a plan are.
        return [tuple(found) for found in pieces]

    def _open(self, numbers: Sequence[int]) -> None:
        """Look at the data files that were not needed before, all at once."""
        fresh = [self._files[number] for number in numbers if not self._files[number].is_known]
        if len(fresh) > 1:
            for future in [self._client.background(file.look) for file in fresh]:
                future.result()


class _Here(threading.local):
    """The records of a batch that this thread has in memory, by position."""

    def __init__(self) -> None:
        self.records: dict[int, memoryview] = {}


class _Announced:
    """What was announced and not read yet, oldest first; nothing of it after a fork."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._pieces: OrderedDict[tuple[int, int], Pieces] = OrderedDict()
        self._nbytes = 0

    def missing(self, number: int, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Those positions that were not announced."""
        self._look()
        there = self._pieces
        kept = [position for position in positions.tolist() if (number, position) not in there]
        return np.array(kept, np.int64)

    def add(
        self,
        number: int,
        positions: npt.NDArray[np.int64],
        pieces: list[Pieces],
    ) -> None:
        """Keep what was announced."""
        with self._lock:
            for position, some in zip(positions.tolist(), pieces, strict=True):
                old = self._pieces.pop((number, position), None)
                self._nbytes += _nbytes(some) - (_nbytes(old) if old else 0)
                self._pieces[number, position] = some
            while self._nbytes > KEPT and self._pieces:
                _, gone = self._pieces.popitem(last=False)
                self._nbytes -= _nbytes(gone)

    def take(self, number: int, positions: npt.NDArray[np.int64]) -> list[Pieces | None]:
        """What was announced of a batch, None for other records; it is kept no longer."""
        self._look()
        found: list[Pieces | None] = []
        with self._lock:
            for position in positions.tolist():
                pieces = self._pieces.pop((number, position), None)
                if pieces is not None:
                    self._nbytes -= _nbytes(pieces)
                found.append(pieces)
        return found

    def forget(self) -> None:
        """Keep nothing any more."""
        with self._lock:
            self._pieces.clear()
            self._nbytes = 0

    def _look(self) -> None:
        if self._process != os.getpid():
            self._begin()


def _nbytes(pieces: Pieces) -> int:
    return sum(piece.nbytes for piece in pieces)


def _bytes_of(piece: _PieceOfAnswer) -> memoryview:
    return piece.answer.result()[piece.begin : piece.begin + piece.nbytes]
