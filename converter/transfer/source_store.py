"""A finished store that records are taken from: its table, and where each record lies."""

import os
from collections import OrderedDict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from patchpress.converter.paths import StrPath, local_path
from patchpress.readers.access.archived_records import ArchivedRecords, RecordsAsFile
from patchpress.readers.access.extents_file import load_extents, read_extents
from patchpress.readers.access.files import DataFile, open_file
from patchpress.readers.access.keys import Keys, KeysInMemory, joined_names
from patchpress.readers.access.scan import scan
from patchpress.readers.errors import StoreDamaged, StoreMissing
from patchpress.readers.format.footprint_columns import schema_without_footprints
from patchpress.readers.format.manifest import METADATA, OTHER_VALUES, Manifest, read_manifest
from patchpress.readers.format.store_files import require_inside
from patchpress.readers.format.table import read_table
from patchpress.readers.remote.url import is_url

if TYPE_CHECKING:
    import pyarrow as pa

    from patchpress.readers.remote.data_file import RemoteDataFile

FILES_OPEN = 32  # data files of a store that are open at a time; a store may have thousands


class RecordPlaces(NamedTuple):
    """Where records lie. Arrays of one length."""

    shard: npt.NDArray[np.uint16]
    """Which of the manifest's shards."""
    offset: npt.NDArray[np.uint64]
    """The first byte in its data file."""
    length: npt.NDArray[np.uint64]
    """Bytes as stored."""

    def at(self, positions: npt.NDArray[np.int64]) -> "RecordPlaces":
        """Those at some positions."""
        return RecordPlaces(self.shard[positions], self.offset[positions], self.length[positions])


class SourceStore:
    """A finished store, which is only read. Its data files are read in the order of the requests.

    Not safe in threads.
    """

    def __init__(self, path: StrPath) -> None:
        """Open it; `path` may be a URL.

        Raises:
            StoreMissing, StoreUnfinished, StoreDamaged, StoreUnreadable, FormatUnknown: as
                `open_store`.
            OptionError: a URL that cannot be.
        """
        self._files: OrderedDict[int, DataFile | RemoteDataFile | RecordsAsFile] = OrderedDict()
        self._remote_files: list[RemoteDataFile] | None = None
        self._archived: ArchivedRecords | None = None
        if is_url(path):
            from patchpress.readers.remote.client import Client
            from patchpress.readers.remote.data_file import remote_data_files
            from patchpress.readers.remote.small_files import fetch_small

            self._small = fetch_small(Client(os.fspath(path)))
            self._remote_files = remote_data_files(self._small)
            self.path: Path = self._small.folder
            """Its folder; of one at a URL, a cache folder with its small files."""
            self.name = self._small.client.name
            """Its path as the user gave it, or its URL without what is secret."""
            self.manifest: Manifest = self._small.manifest
            return
        self.path = local_path(path).absolute()
        self.name = str(path)
        self.manifest = read_manifest(self.path)
        if self.manifest.in_archives:
            self._archived = ArchivedRecords(self.path, self.manifest, readahead=True)
        for number in range(len(self.manifest.shards)):
            self.file(number)

    @property
    def is_remote(self) -> bool:
        """Whether it lies at a URL."""
        return self._remote_files is not None

    @property
    def other_values(self) -> int:
        """How many values of its data file are no records."""
        return int(self.manifest.options.get(OTHER_VALUES) or 0)

    @cached_property
    def table(self) -> "pa.Table":
        """All of metadata.parquet but footprints, unchanged.

        Raises:
            StoreDamaged: it is not the one that was written.
        """
        return read_table(self.path, self.manifest)

    def columns(self, names: Iterable[str] | None) -> "pa.Table":
        """Some columns of all rows of metadata.parquet, all but footprints for None.

        Nothing is kept of it.

        Raises:
            StoreDamaged: as `table`.
        """
        asked = None if names is None else list(dict.fromkeys(names))
        return read_table(self.path, self.manifest, columns=asked)

    @cached_property
    def schema(self) -> "pa.Schema":
        """The names and kinds of all columns of metadata.parquet but footprints.

        Raises:
            StoreDamaged: as `table`.
        """
        import pyarrow.parquet as pq

        read_table(self.path, self.manifest, columns=[])  # compares its digest
        return schema_without_footprints(pq.read_schema(self.path / METADATA))

    def give_up_tables(self) -> None:
        """Give up the memory of the table and of the places; they are read again if needed."""
        for name in ("table", "_all_places"):
            self.__dict__.pop(name, None)

    def file(self, shard: int) -> "DataFile | RemoteDataFile | RecordsAsFile":
        """A data file, to be read from front to back.

        Raises:
            StoreDamaged: it is absent, or not as long as the manifest says.
        """
        if shard in self._files:
            self._files.move_to_end(shard)
            return self._files[shard]
        remote = self._remote_files
        file = self._opened(shard) if remote is None else remote[shard]
        self._files[shard] = file
        if len(self._files) > FILES_OPEN:
            self._files.popitem(last=False)
        return file

    def _opened(self, shard: int) -> "DataFile | RecordsAsFile":
        if self._archived is not None:
            return RecordsAsFile(self._archived)
        entry = self.manifest.shards[shard]
        path = require_inside(self.path, entry.path)
        try:
            file = open_file(path, readahead=True)
        except StoreMissing:
            raise StoreDamaged(
                f"{path} is absent though the manifest lists it: copy the store again"
            ) from None
        if file.size != entry.bytes:
            raise StoreDamaged(
                f"{path} has {file.size} bytes where the manifest promises {entry.bytes}: copy the "
                "store again, or if another program compacted or changed it run "
                f"`patchpress index {self.path}`"
            )
        return file

    def find(self, keys: npt.NDArray[np.bytes_]) -> RecordPlaces:
        """Where the records of some keys lie.

        Raises:
            StoreDamaged: one is not there.
        """
        known, places = self._all_places
        at = known.search(keys.astype(f"S{known.width}")) if len(keys) else np.empty(0, np.int64)
        if keys.dtype.itemsize > known.width:  # a name that was cut is none of them
            at[np.char.str_len(keys) > known.width] = -1
        lost = np.flatnonzero(at < 0)
        if len(lost):
            name = bytes(keys[lost[0]]).decode(errors="backslashreplace")
            raise StoreDamaged(
                f"{self.name} has no record {name!r} though its table has it: run `patchpress "
                f"verify {self.name}`"
            )
        return places.at(at)

    @cached_property
    def _all_places(self) -> tuple[Keys, RecordPlaces]:
        """All keys, ascending, and where their records lie; by the extents if they are sound."""
        if self._archived is not None:
            there = self._archived.index.extents
            return there.names, RecordPlaces(there.shard, there.offset, there.length)
        paths = [shard.path for shard in self.manifest.shards]
        read = load_extents if self.is_remote else read_extents
        extents, _ = read(self.path, paths, self.manifest.record_limit)
        if extents is not None:
            return extents.names, RecordPlaces(extents.shard, extents.offset, extents.length)
        if self.is_remote:
            raise StoreDamaged(f"{self.name} has no sound extents: run the same command again")
        scans = [scan(require_inside(self.path, path)) for path in paths]
        keys = joined_names([one.keys for one in scans])
        order = np.argsort(keys, kind="stable")
        shard = np.repeat(np.arange(len(scans), dtype=np.uint16), [len(one.keys) for one in scans])
        return KeysInMemory(keys[order]), RecordPlaces(
            shard[order],
            np.concatenate([one.offset for one in scans])[order],
            np.concatenate([one.length for one in scans])[order],
        )
