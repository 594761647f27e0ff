"""A finished store that records are taken from: its table, and where each record lies."""

from collections import OrderedDict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from patchpress.converter.paths import StrPath, local_path
from patchpress.readers.access.extents_file import read_extents
from patchpress.readers.access.files import DataFile, open_file
from patchpress.readers.access.keys import Keys, KeysInMemory, joined_names
from patchpress.readers.access.scan import scan
from patchpress.readers.errors import StoreDamaged, StoreMissing
from patchpress.readers.format.manifest import METADATA, OTHER_VALUES, Manifest, read_manifest
from patchpress.readers.format.store_files import require_inside
from patchpress.readers.format.table import read_table

if TYPE_CHECKING:
    import pyarrow as pa

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
        """Open it.

        Raises:
            StoreMissing, StoreUnfinished, StoreDamaged, StoreUnreadable, FormatUnknown: as
                `open_store`.
        """
        self.path: Path = local_path(path).absolute()
        self.name = str(path)
        """Its path as the user gave it."""
        self.manifest: Manifest = read_manifest(self.path)
        self._files: OrderedDict[int, DataFile] = OrderedDict()
        for number in range(len(self.manifest.shards)):
            self.file(number)

    @property
    def other_values(self) -> int:
        """How many values of its data file are no records."""
        return int(self.manifest.options.get(OTHER_VALUES) or 0)

    @cached_property
    def table(self) -> "pa.Table":
        """All of metadata.parquet, unchanged.

        Raises:
            StoreDamaged: it is not the one that was written.
        """
        return read_table(self.path, self.manifest)

    def columns(self, names: Iterable[str] | None) -> "pa.Table":
        """Some columns of all rows of metadata.parquet, all for None; nothing is kept of it.

        Raises:
            StoreDamaged: as `table`.
        """
        asked = None if names is None else list(dict.fromkeys(names))
        return read_table(self.path, self.manifest, columns=asked)

    @property
    def schema(self) -> "pa.Schema":
        """The names and kinds of all columns of metadata.parquet.

        Raises:
            StoreDamaged: as `table`.
        """
        import pyarrow.parquet as pq

        read_table(self.path, self.manifest, columns=[])  # compares its digest
        return pq.read_schema(self.path / METADATA)

    def give_up_tables(self) -> None:
        """Give up the memory of the table and of the places; they are read again if needed."""
        for name in ("table", "_all_places"):
            self.__dict__.pop(name, None)

    def file(self, shard: int) -> DataFile:
        """A data file, to be read from front to back.

        Raises:
            StoreDamaged: it is absent, or not as long as the manifest says.
        """
        if shard in self._files:
            self._files.move_to_end(shard)
            return self._files[shard]
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
        self._files[shard] = file
        if len(self._files) > FILES_OPEN:
            self._files.popitem(last=False)
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
                f"{self.path} has no record {name!r} though its table has it: run `patchpress "
                f"verify {self.path}`"
            )
        return places.at(at)

    @cached_property
    def _all_places(self) -> tuple[Keys, RecordPlaces]:
        """All keys, ascending, and where their records lie; by the extents if they are sound."""
        paths = [shard.path for shard in self.manifest.shards]
        extents, _ = read_extents(self.path, paths, self.manifest.record_limit)
        if extents is not None:
            return extents.names, RecordPlaces(extents.shard, extents.offset, extents.length)
        scans = [scan(require_inside(self.path, path)) for path in paths]
        keys = joined_names([one.keys for one in scans])
        order = np.argsort(keys, kind="stable")
        shard = np.repeat(np.arange(len(scans), dtype=np.uint16), [len(one.keys) for one in scans])
        return KeysInMemory(keys[order]), RecordPlaces(
            shard[order],
            np.concatenate([one.offset for one in scans])[order],
            np.concatenate([one.length for one in scans])[order],
        )
