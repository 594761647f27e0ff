"""`ArchiveFetcher`: records by their position in the index, straight from the archives.

A plan says how a native record gets into an array; a placement, where its bytes lie in an archive.
Both together are one list of copies, worked out once for each pair.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.archived_records import ArchivedRecords
from patchpress.readers.access.disk_order import GAP
from patchpress.readers.access.extents_fetcher import ExtentsFetcher
from patchpress.readers.access.fetcher import Handle, Handles, Mode, ReadOne
from patchpress.readers.access.files import DataFile
from patchpress.readers.access.filling import Filling
from patchpress.readers.access.plan import BUFFERS, Plan
from patchpress.readers.access.shards import Shards
from patchpress.readers.format.placement import Placement

Copies = Sequence[tuple[int, int, int, int]]
"""(first byte in the archive, end, first byte in the target, end), from the record's offset on."""
PLANS_KEPT = 1_000


class _RequestPart(NamedTuple):
    """Bytes of a request, and where they go: to the array, to the scratch buffer, or nowhere."""

    to: int
    offset: int
    nbytes: int


_ROW, _SCRATCH, _NOWHERE = range(3)


class _Request(NamedTuple):
    """Bytes that are read from the archive at once."""

    offset: int
    nbytes: int
    parts: tuple[_RequestPart, ...]


class _Moves(NamedTuple):
    """How the wanted bands of records with one placement get into an array."""

    copies: Copies
    """Into the array."""
    gathers: Copies
    """Of coarse bands, into the scratch buffer."""
    requests: tuple[_Request, ...]
    """The same, by reading."""


class ArchiveFetcher(ExtentsFetcher):
    """Records straight from archives: a handle is the record's position in the index."""

    def __init__(self, records: ArchivedRecords, mode: Mode) -> None:
        """Take archives that are open."""
        super().__init__(records.path.parent, records.index.extents, cast("Shards", ()), mode)
        self._records, self._index = records, records.index
        self._moves: dict[int, tuple[Plan, dict[int, _Moves | None]]] = {}
        self._nowhere = bytearray(GAP)

    def locate(self, handle: Handle) -> tuple[DataFile, int, int]:
        """(archive, offset, length) of what a record is put together from."""
        self._records.archives.check()
        return self._records.place(int(handle))

    def value(self, handle: Handle) -> memoryview:
        """The record, put together in this thread's scratch buffer."""
        self._records.archives.check()
        return self._whole(int(handle))

    def announce(self, plan: Plan, handles: Handles) -> None:
        """Let the kernel fetch what the plan reads, unless the records are copied from the map."""
        if not self._copies:
            self._announce_all(plan, np.asarray(handles, np.int64))

    def _announce_all(self, plan: Plan, positions: npt.NDArray[np.int64]) -> None:
        """Let the kernel fetch records in the order in which they are read.

        It asks the disk for them in this order: the first to be read must not come last.
        """
        moves, files = self._moves_of(plan), self._records.archives.files
        order = self._by_place(positions)
        for position, placement, archive, offset in self._places(positions[order]):
            way, file = moves[placement], files[archive]
            if way is None:
                _, begin, nbytes = self._records.place(position)
                file.announce(begin, nbytes)
                continue
            for request in way.requests:
                file.announce(offset + request.offset, request.nbytes)

    def _announce_whole(self, positions: npt.NDArray[np.int64]) -> Sequence[int]:
        """Let the kernel fetch whole records; returns their rows in the order of their bytes."""
        order = self._by_place(positions)
        for position in positions[order].tolist():
            file, begin, nbytes = self._records.place(position)
            file.announce(begin, nbytes)
        rows: list[int] = order.tolist()
        return rows

    def _copy(self, filling: Filling, positions: npt.NDArray[np.int64], read_one: ReadOne) -> None:
        """Copy records from the mapped archives: the loop that training waits for."""
        plan, rows, files = filling.plan, filling.rows, self._files()
        if not self._is_of(plan, positions):
            self._each(filling, positions, read_one)
            return
        moves, maps = self._moves_of(plan), [file.map for file in files]
        for row, (position, placement, archive, offset) in enumerate(self._places(positions)):
            way, pixels = moves[placement], maps[archive]
            if way is None:
                filling.fill(self._whole(position), row)
                continue
            target = rows[row]
            for start, end, to, to_end in way.copies:
                target[to:to_end] = pixels[offset + start : offset + end]
            if way.gathers:
                room = np.frombuffer(filling.room(), np.uint8)
                for start, end, to, to_end in way.gathers:
                    room[to:to_end] = pixels[offset + start : offset + end]
                filling.gathered(row)

    def _read(self, filling: Filling, positions: npt.NDArray[np.int64], read_one: ReadOne) -> None:
        """Announce the records of a batch to the kernel, then read them in the files' order."""
        plan, files = filling.plan, self._files()
        if not self._is_of(plan, positions):
            self._each(filling, positions, read_one)
            return
        self._announce_all(plan, positions)
        moves, target = self._moves_of(plan), filling.rows.reshape(-1).data
        nowhere = memoryview(self._nowhere)
        order = self._by_place(positions)
        for row, found in zip(order.tolist(), self._places(positions[order]), strict=True):
            position, placement, archive, offset = found
            way, file = moves[placement], files[archive]
            if way is None:
                filling.fill(self._whole(position), row)
                continue
            places = target[row * plan.nbytes : (row + 1) * plan.nbytes], filling.room(), nowhere
            for request in way.requests:
                buffers = [places[to][at : at + nbytes] for to, at, nbytes in request.parts]
                file.read_into(buffers, offset + request.offset, request.nbytes)
            if plan.coarse:
                filling.gathered(row)

    def _files(self) -> list[DataFile]:
        self._records.archives.check()
        return self._records.archives.files

    def _by_place(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """Which of some records come first, archive by archive."""
        return np.argsort(self.extents.offset[positions], kind="stable")

    def _places(self, positions: npt.NDArray[np.int64]) -> Iterator[tuple[int, int, int, int]]:
        """(position, number of the placement, of the archive, offset in it) of each record."""
        index = self._index
        return zip(
            positions.tolist(),
            index.placement[positions].tolist(),
            index.archive[positions].tolist(),
            index.offset[positions].tolist(),
            strict=True,
        )

    def _is_of(self, plan: Plan, positions: npt.NDArray[np.int64]) -> bool:
        """Whether the records, which have one header, have that of the plan."""
        number = int(self.extents.header_number[positions[0]])
        return self.extents.headers[number] == plan.header

    def _each(self, filling: Filling, positions: npt.NDArray[np.int64], read_one: ReadOne) -> None:
        for row, position in enumerate(positions.tolist()):
            read_one(filling, position, row)

    def _whole(self, position: int) -> memoryview:
        """A record, put together in this thread's scratch buffer."""
        scratch = self._buffers.scratch(int(self.extents.length[position]))
        record = np.frombuffer(scratch, np.uint8)
        self._records.read_into(position, record, mapped=self._copies)
        return scratch

    def _moves_of(self, plan: Plan) -> "_MovesByPlacement":
        known = self._moves.get(id(plan))
        if known is None:
            if len(self._moves) >= PLANS_KEPT:
                self._moves.clear()
            # The plan is kept: another one must not get its number.
            known = self._moves[id(plan)] = plan, _MovesByPlacement(plan, self._index.placements)
        return cast("_MovesByPlacement", known[1])


class _MovesByPlacement(dict[int, _Moves | None]):
    """Number of a placement -> how its records are read; None if they must be put together."""

    def __init__(self, plan: Plan, placements: Sequence[Placement]) -> None:
        super().__init__()
        self._plan, self._placements = plan, placements

    def __missing__(self, number: int) -> _Moves | None:
        moves = self[number] = moves_of(self._plan, self._placements[number])
        return moves


def moves_of(plan: Plan, placement: Placement) -> _Moves | None:
    """How records of a placement are read by a plan; None if not all pixels lie together."""
    if not placement.is_plain:
        return None
    copies = _placed(plan.copies, placement)
    gathers = _placed(plan.gathers, placement)
    moves = [(start, end, _RequestPart(_ROW, to, end - start)) for start, end, to, _ in copies]
    moves += [
        (start, end, _RequestPart(_SCRATCH, to, end - start)) for start, end, to, _ in gathers
    ]
    moves.sort(key=lambda move: move[0])
    requests: list[_Request] = []
    for start, end, part in moves:
        last = requests[-1] if requests else None
        gap = start - (last.offset + last.nbytes) if last else -1
        if last is None or not 0 <= gap <= GAP or len(last.parts) + 2 > BUFFERS:
            requests.append(_Request(start, end - start, (part,)))
            continue
        between = (_RequestPart(_NOWHERE, 0, gap),) if gap else ()
        requests[-1] = _Request(last.offset, end - last.offset, (*last.parts, *between, part))
    return _Moves(copies, gathers, tuple(requests))


def _placed(
    copies: Sequence[tuple[int, int, int, int]], placement: Placement
) -> list[tuple[int, int, int, int]]:
    """Copies out of a record as copies out of the archive: cut where its pieces end."""
    placed: list[tuple[int, int, int, int]] = []
    for start, end, to, _ in copies:
        at = len(placement.header)
        for piece in placement.pieces:
            first, last = max(start, at), min(end, at + piece.nbytes)
            if first < last:
                offset, target = piece.offset + first - at, to + first - start
                placed.append((offset, offset + last - first, target, target + last - first))
            at += piece.nbytes
    return placed
