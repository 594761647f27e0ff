"""`ArchivedRecords`: the records in archives as bytes of one file that is nowhere.

Whoever reads all of a store, as `verify` and `copy` do, reads a data file from its beginning to its
end. This is one to them: its bytes are put together when they are read. `ArchiveIndex.extents` says
where each record lies in it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.archive_index import ArchiveIndex, read_index
from patchpress.readers.access.archives import Archives
from patchpress.readers.access.files import DataFile, ReadsFile
from patchpress.readers.errors import StoreDamaged
from patchpress.readers.format.btree import Value
from patchpress.readers.format.manifest import ARCHIVES, Manifest


class ArchivedRecords:
    """All records of a store of archives; safe in threads and after a fork."""

    def __init__(self, store: Path, manifest: Manifest, *, readahead: bool = False) -> None:
        """Read the index, and open the archives.

        Raises:
            StoreDamaged: the index is not as it was written, or an archive is absent or another.
            StoreUnreadable: there are no file descriptors left.
        """
        self.path = store / ARCHIVES
        (entry,) = manifest.shards
        self.index: ArchiveIndex = read_index(store, entry.bytes, manifest.record_limit)
        name = manifest.dataset.name
        self.archives = Archives(store, self.index.archives, name, readahead=readahead)

    def place(self, position: int) -> tuple[DataFile, int, int]:
        """(archive, first byte, bytes) of what a record is put together from."""
        index = self.index
        placement = index.placements[index.placement[position]]
        begin, end = placement.span
        spans = index.spans_of(position)
        if spans:
            begin, end = min(at for at, _ in spans), max(at + nbytes for at, nbytes in spans)
        file = self.archives.files[index.archive[position]]
        return file, int(index.offset[position]) + begin, end - begin

    def read_into(self, position: int, record: npt.NDArray[np.uint8], *, mapped: bool) -> None:
        """Put a record together.

        Args:
            position: of the record in the index.
            record: as many bytes as it has, which are written.
            mapped: copy from the mapped archive; else read it, all of the record at once.

        Raises:
            StoreDamaged: the archive has become shorter, its disk does not give it, or deflated
                pixels are damaged.
        """
        index = self.index
        placement, spans = index.placements[index.placement[position]], index.spans_of(position)
        file, begin, nbytes = self.place(position)
        start = int(index.offset[position])
        if mapped or nbytes > 4 * len(record):  # its files lie far apart
            data = file.map
        else:
            data = np.empty(nbytes, np.uint8)
            file.read_into([data], begin, nbytes)
            start -= begin
        try:
            placement.fill(data, start, spans, record)
        except StoreDamaged as error:
            key = index.names.one(position).decode(errors="backslashreplace")
            raise StoreDamaged(f"record {key!r} in {file.path}: {error}") from None


class RecordsAsFile:
    """The records as a file, read slice by slice; as `files.ReadsFile` asks for."""

    def __init__(self, records: ArchivedRecords) -> None:
        self._records = records
        self.path = records.path
        extents = records.index.extents
        self._order = np.argsort(extents.offset, kind="stable")
        self._begins = extents.offset[self._order].astype(np.int64)
        self._lengths = extents.length[self._order].astype(np.int64)
        self.size = int(self._begins[-1] + self._lengths[-1])

    def announce(self, offset: int, length: int) -> None:
        """Let the bytes of some records come in the background."""
        run: tuple[DataFile, int, int] | None = None
        for at in self._numbers(offset, length):
            file, begin, nbytes = self._records.place(int(self._order[at]))
            if run is not None and run[0] is file and run[1] <= begin <= run[2] + (1 << 16):
                run = file, run[1], max(run[2], begin + nbytes)
                continue
            if run is not None:
                run[0].announce(run[1], run[2] - run[1])
            run = file, begin, begin + nbytes
        if run is not None:
            run[0].announce(run[1], run[2] - run[1])

    def read_into(self, buffers: list[Any], offset: int, length: int) -> None:
        """Fill buffers, one after the other, with `length` bytes in all.

        Raises:
            StoreDamaged: an archive cannot be read, or is another one by now.
        """
        self._records.archives.check()
        whole = np.zeros(length, np.uint8) if len(buffers) != 1 else _bytes_of(buffers[0])[:length]
        for at in self._numbers(offset, length):
            begin, nbytes = int(self._begins[at]) - offset, int(self._lengths[at])
            position = int(self._order[at])
            if begin >= 0 and begin + nbytes <= length:
                self._records.read_into(position, whole[begin : begin + nbytes], mapped=False)
                continue
            record = np.empty(nbytes, np.uint8)
            self._records.read_into(position, record, mapped=False)
            first, end = max(begin, 0), min(begin + nbytes, length)
            whole[first:end] = record[first - begin : end - begin]
        if len(buffers) != 1:
            done = 0
            for buffer in buffers:
                target = _bytes_of(buffer)
                target[:] = whole[done : done + len(target)]
                done += len(target)

    @property
    def pages(self) -> "RecordsAsFile":
        """The same, slice by slice."""
        return self

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> memoryview:
        start, stop, _ = part.indices(self.size)
        data = bytearray(max(stop - start, 0))
        self.read_into([data], start, len(data))
        return memoryview(data)

    def _numbers(self, offset: int, length: int) -> range:
        """Which of the records, in the order of the file, have bytes there."""
        first = int(np.searchsorted(self._begins, offset, "right")) - 1
        first = max(first, 0)
        if self._begins[first] + self._lengths[first] <= offset:
            first += 1
        return range(first, int(np.searchsorted(self._begins, offset + length, "left")))


class _KeysOnly:
    """What `verify` asks of the tree of a data file, of which there is none."""

    def __init__(self, index: ArchiveIndex) -> None:
        self._index = index

    def checked_values(self) -> Sequence[Value]:
        """Every record, in the order of the keys."""
        extents = self._index.extents
        offsets, lengths = extents.offset.tolist(), extents.length.tolist()
        keys = (key for key in self._index.names.part(0, len(self._index)).tolist())
        return [Value(*each) for each in zip(keys, offsets, lengths, strict=True)]

    def is_value_head(self, head: memoryview, offset: int, length: int) -> bool:
        """Nothing lies before a record."""
        return True

    def wrong_head(self, offset: int) -> StoreDamaged:
        """The error that never comes."""
        return StoreDamaged(f"byte {offset:,} begins no record")


class OpenRecords:
    """Records in archives as one open shard, to whoever reads all of it."""

    def __init__(self, records: ArchivedRecords) -> None:
        self.file: ReadsFile = RecordsAsFile(records)
        self.tree = _KeysOnly(records.index)


class ShardOfArchives:
    """The one shard of a store of archives, as `verify` opens those of others."""

    def __init__(self, store: Path, manifest: Manifest) -> None:
        """Open the archives.

        Raises:
            StoreError: as `ArchivedRecords`.
        """
        self._open = OpenRecords(ArchivedRecords(store, manifest, readahead=True))

    def __len__(self) -> int:
        return 1

    def open(self, number: int) -> OpenRecords:
        """The one that there is."""
        del number
        return self._open


def _bytes_of(buffer: Any) -> npt.NDArray[np.uint8]:
    return np.frombuffer(memoryview(buffer).cast("B"), np.uint8)
