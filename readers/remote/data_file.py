"""`RemoteDataFile`: a data file at a URL for who reads all or much of it, as `access.DataFile`."""

from concurrent.futures import Future
from itertools import islice
from typing import Any, NamedTuple

from patchpress.readers.access.extents_file import load_extents
from patchpress.readers.errors import StoreUnreadable
from patchpress.readers.remote.client import Client
from patchpress.readers.remote.remote_file import RemoteFile
from patchpress.readers.remote.small_files import SmallFiles

_OLDEST = 8  # announced pieces that are looked through for one that begins before what is read


class _OnItsWay(NamedTuple):
    """A piece that is on its way."""

    end: int
    data: "Future[memoryview]"


class RemoteDataFile:
    """A data file at a URL. What is announced comes in the background. Not safe in threads."""

    def __init__(self, client: Client, file: RemoteFile) -> None:
        """Take a file, which is looked at when it is first read."""
        self._client, self._file = client, file
        self._coming: dict[int, _OnItsWay] = {}
        self.path = f"{client.name}/{file.name}"
        """What messages call it."""

    @property
    def size(self) -> int:
        """Bytes.

        Raises:
            StoreError: as `RemoteFile.known`.
        """
        return self._file.known.size

    @property
    def pages(self) -> "RemoteDataFile":
        """The same: slices are requested when they are asked for."""
        return self

    def announce(self, offset: int, length: int) -> None:
        """Request bytes in the background; they are in memory until they are read."""
        end = min(offset + length, self.size)
        if offset < end and offset not in self._coming:
            name, known = self._file.name, self._file.known
            data = self._client.submit(name, offset, end, known)
            self._coming[offset] = _OnItsWay(end, data)

    def read_into(self, buffers: list[Any], offset: int, length: int) -> None:
        """Fill buffers, one after the other, with `length` bytes in all.

        Raises:
            StoreError: they cannot be read, or the file is another one now.
        """
        data, start = self._read(offset, offset + length), 0
        for buffer in buffers:
            view = memoryview(buffer).cast("B")
            view[:] = data[start : start + len(view)]
            start += len(view)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> memoryview:
        start, stop, _ = part.indices(self.size)
        return self._read(start, stop) if start < stop else memoryview(b"")

    def _read(self, start: int, end: int) -> memoryview:
        begin = start if start in self._coming else self._piece_with(start, end)
        if begin is None or end > self._coming[begin].end:
            return self._client.read(self._file.name, start, end, self._file.known)
        piece = self._coming[begin]
        if end == piece.end:
            del self._coming[begin]
        return piece.data.result()[start - begin : end - begin]

    def _piece_with(self, start: int, end: int) -> int | None:
        """Where the piece begins that has these bytes, if it is one of those announced first."""
        oldest = islice(self._coming.items(), _OLDEST)
        return next((begin for begin, one in oldest if begin <= start and end <= one.end), None)


def remote_data_files(small: SmallFiles) -> list[RemoteDataFile]:
    """The data files of a store at a URL, by shard.

    Raises:
        StoreUnreadable: its extents were removed from the cache meanwhile.
    """
    manifest = small.manifest
    paths = [shard.path for shard in manifest.shards]
    extents, reason = load_extents(small.folder, paths, manifest.record_limit)
    if extents is None:
        raise StoreUnreadable(f"{reason}: run the same command again")
    return [
        RemoteDataFile(small.client, RemoteFile(small.client, shard, extents.files))
        for shard in manifest.shards
    ]
