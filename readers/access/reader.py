"""`RecordReader`: finds the records of a store, plans how their bands are read, and fills arrays.

`Store` and `Records` share one: the first for keys, the second for records found before.
"""

import logging
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import numpy as np

from patchpress.readers.access.bands import BandNames
from patchpress.readers.access.checksums import Checksums
from patchpress.readers.access.disk_order import GAP
from patchpress.readers.access.extents import Extents
from patchpress.readers.access.extents_fetcher import ExtentsFetcher
from patchpress.readers.access.extents_file import load_extents, made_from_another, read_extents
from patchpress.readers.access.fetcher import (
    Array,
    Fetcher,
    Handle,
    Handles,
    Mode,
    ThreadBuffers,
)
from patchpress.readers.access.file_system import file_system_of, is_network
from patchpress.readers.access.files import DataFile
from patchpress.readers.access.filling import Filling
from patchpress.readers.access.nearby import Nearby, OpensNearby
from patchpress.readers.access.plan import Parts, Plan, size_advice
from patchpress.readers.access.planner import Planner
from patchpress.readers.access.shards import Shards
from patchpress.readers.access.tree_fetcher import TreeFetcher
from patchpress.readers.errors import (
    BufferUnfit,
    ExtentsUnusable,
    GridsDiffer,
    KeyMissing,
    OptionError,
    PatchpressError,
    StoreDamaged,
    StoreError,
    StoreUnreadable,
    ViewImpossible,
)
from patchpress.readers.format.compression import NONE, codec_of
from patchpress.readers.format.manifest import Manifest, read_manifest
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.shown_paths import shown
from patchpress.readers.format.table import record_keys
from patchpress.readers.hints import nearest

_log = logging.getLogger(__name__)

NAMES_COMPARED = 50_000
"""A missing key is compared with all names of a store of fewer records; more take seconds."""
BEGINNING = 4096
"""Bytes of a record that mostly have its whole header."""
NEIGHBOURS = 300
"""In a larger store with so many keys before and after it: names that begin alike lie together."""


_WAYS = {
    Mode.AUTO: "copied from a map while the page cache has the records, else read directly",
    Mode.MAP: "copied from a map",
    Mode.DIRECT: "read directly",
}
_Method = TypeVar("_Method", bound=Callable[..., Any])


def _explained(method: _Method) -> _Method:
    """Let a method of `RecordReader` say so if it fails because the store was overwritten."""

    @wraps(method)
    def explained(self: "RecordReader", *arguments: Any) -> Any:
        try:
            return method(self, *arguments)
        except (StoreError, LookupError, ValueError) as error:
            raise self.explanation(error) from None

    return cast("_Method", explained)


class RecordReader:
    """The records of one store; safe in threads and after a fork, pickled as path and options."""

    url: str | None = None
    """The URL of the store, as messages show it; None of a folder."""
    file_system: str = ""
    """The kind of file system that the store is on; empty if that is not known."""

    def __init__(
        self,
        path: Path,
        *,
        mode: str,
        readahead: bool,
        checksums: bool,
        nearby: OpensNearby | None = None,
        manifest: Manifest | None = None,
    ) -> None:
        """Open a store, as `open_store` says; with `nearby`, copies are read as they come."""
        self.path = path
        self.mode, self.readahead = mode_of(mode), readahead
        self.manifest: Manifest = manifest or read_manifest(path)
        self._opens_nearby = nearby
        self.nearby: Nearby | None = None
        if nearby is not None:
            self.nearby = nearby.of(path, self.manifest.shards)
        self._shards = Shards(path, self.manifest.shards, readahead=readahead, nearby=self.nearby)
        self.file_system = file_system_of(path)
        self._prepare(checksums=checksums)
        self._fetcher: Fetcher = self._open_fetcher()

    def _prepare(self, *, checksums: bool) -> None:
        """Make what works on records, wherever they are from."""
        self._checksums = Checksums(self.path, self.manifest) if checksums else None
        self._planner = Planner(self.path, self.manifest)
        self._buffers = ThreadBuffers(self.manifest.record_limit)

    def __reduce__(self) -> tuple[Any, ...]:
        options = (str(self.mode), self.readahead, self._checksums is not None, self._opens_nearby)
        return _reopen, (str(self.path), *options)

    def _open_fetcher(self) -> Fetcher:
        if len(self._shards) == 1:
            self._shards.open(0)  # of many each is opened, and looked at, when it is first read
        extents, reason = self._usable_extents()
        if extents is not None:
            fetcher = ExtentsFetcher(self.path, extents, self._shards, self._fitting_mode())
            _log.info("%s: records are read by extents, mode %s", self.path, fetcher.mode)
            return fetcher
        _log.info(
            "%s: records are found by the tree of the data file, since %s",
            self.path,
            reason or "it has no extents",
        )
        if reason:
            warnings.warn(
                f"{reason}: records are read without extents, which is slower; run "
                f"`patchpress index {self.path}`",
                ExtentsUnusable,
                stacklevel=5,
            )
        elif self.mode is not Mode.AUTO:
            raise OptionError(
                f"mode {self.mode!s} needs extents, which {self.path} does not have: run "
                f"`patchpress index {self.path}`"
            )
        return TreeFetcher(self._shards)

    def _fitting_mode(self) -> Mode:
        """The mode that serves: behind a network, `auto` never copies from a map.

        A store that is staged is read from a disk of this machine.
        """
        if self.mode is Mode.AUTO and self.nearby is None and is_network(self.file_system):
            return Mode.DIRECT
        return self.mode

    @property
    def way(self) -> str:
        """The file system of the store, and how records are read from it, in words."""
        kind = self.file_system or "a file system of unknown kind"
        if not isinstance(self._fetcher, ExtentsFetcher):
            return f"on {kind}: copied from a map, since there are no extents"
        return f"on {kind}: {_WAYS[self._fetcher.mode]}"

    def _usable_extents(self) -> tuple[Extents | None, str]:
        """The extents of the store, or None, and why not (empty if there are none).

        Of a store of many shards they are compared with what the manifest says of each, and with
        its data file not before that is read.
        """
        shards, limit = self.manifest.shards, self.manifest.record_limit
        paths = [shard.path for shard in shards]
        if len(shards) == 1:
            return read_extents(self.path, paths, limit)
        extents, reason = load_extents(self.path, paths, limit)
        for entry, shard in zip(extents.files if extents else (), shards, strict=False):
            if entry["bytes"] != shard.bytes:
                return None, made_from_another(self.path, shard.path)
        return extents, reason

    @property
    def extents(self) -> Extents | None:
        """Where the records lie; None if they are read without extents."""
        return self._fetcher.extents if isinstance(self._fetcher, ExtentsFetcher) else None

    def data_files(self) -> list[Path]:
        """The data files that are read, by shard: copies that are nearby, else those of the store.

        Raises:
            StoreError: one cannot be opened.
        """
        return [self._shards.open(number).file.path for number in range(len(self._shards))]

    def has(self, key: object) -> bool:
        """Whether there is a record of that name."""
        if not isinstance(key, str):
            return False
        (handle,) = self._fetcher.find([key])
        return handle is not None

    @_explained
    def find(self, keys: Sequence[str]) -> list[Handle]:
        """The handle of each record, valid in this process.

        Raises:
            KeyMissing: no such record.
            StoreDamaged: a tree that is searched is damaged.
        """
        found = self._fetcher.find(keys)
        if None in found:
            raise self._missing(keys[found.index(None)])
        return found  # type: ignore[return-value]

    @_explained
    def plan(self, handle: Handle, bands: BandNames) -> Plan:
        """How the wanted bands of records like this one are read.

        Raises:
            KeyMissing, StoreDamaged: as `record`.
            BandMissing, GridsDiffer: as `Store.read`.
        """
        header = self._fetcher.header(handle)
        known = None if header is None else self._planner.known(header, bands)
        if known is not None:
            return known
        key = self._fetcher.key(handle)
        if header is not None:
            return self._planner.plan(header, key, bands)
        record = self._beginning(handle)
        plan = self._planner.plan(self._planner.header(record, key), key, bands)
        # Before memory is taken for what the header promises.
        self._planner.check_size(record, plan.size, key)
        return plan

    @_explained
    def read(self, handles: Handles, bands: BandNames, out: Array | None) -> Array:
        """Records as (N, bands, height, width), as `Store.read_batch` says."""
        if not len(handles):
            raise BufferUnfit("a batch needs at least one record")
        plan = self.plan(handles[0], bands)
        out = array_for(out, (len(handles), *plan.shape), plan.dtype)
        self.fill(plan, handles, out)
        return out

    @_explained
    def read_one(self, key: str, bands: BandNames, out: Array | None) -> Array:
        """One record as (bands, height, width), as `Store.read` says."""
        (handle,) = self.find([key])
        header = self._fetcher.header(handle)
        if header is not None:
            plan = self._planner.plan(header, key, bands)
            out = array_for(out, plan.shape, plan.dtype)
            self.fill(plan, [handle], out[np.newaxis])
            return out
        # The record has to be read to know its header: that once is enough.
        record = self.record(handle)
        plan = self._planner.plan(self._planner.header(record, key), key, bands)
        self._planner.check_size(record, plan.size, key)
        out = array_for(out, plan.shape, plan.dtype)
        plan.fill(record, out)
        return out

    def fill(self, plan: Plan, handles: Handles, out: Array) -> None:
        """Fill `out` (N, bands, height, width), already checked, with the records of a plan.

        Raises:
            KeyMissing, StoreDamaged: as `record`.
            GridsDiffer: a record of another modality or size.
        """
        filling = Filling(plan, out)
        if self._checksums is None:
            self._fetcher.batch(filling, handles, self._fill_one)
        else:
            for index, handle in enumerate(handles):
                self._fill_one(filling, handle, index)
        filling.finish()

    def announce(self, plan: Plan, handles: Handles) -> None:
        """Say that records will be read soon, so that the disk can begin."""
        self._fetcher.announce(plan, handles)

    def announce_whole(self, keys: Sequence[str]) -> None:
        """Say that these records will be read soon, all of each, in whatever way.

        Those that are not there are passed over. Neighbours are announced together.

        Raises:
            StoreDamaged: a tree that is searched is damaged, or a file was overwritten.
        """
        run: tuple[DataFile, int, int] | None = None
        for handle in self._fetcher.find(keys):
            if handle is None:
                continue
            file, offset, length = self._fetcher.locate(handle)
            if run is not None and run[0] is file and 0 <= offset - run[2] < GAP:
                run = file, run[1], offset + length
                continue
            if run is not None:
                run[0].announce(run[1], run[2] - run[1])
            run = file, offset, offset + length
        if run is not None:
            run[0].announce(run[1], run[2] - run[1])

    def record(self, handle: Handle, parts: Parts | None = None) -> memoryview:
        """The uncompressed bytes of a record, valid until this thread reads again.

        Args:
            handle: of the record.
            parts: first byte and end of those that are needed: others may have any values.

        Raises:
            KeyMissing: there is none.
            StoreDamaged: it cannot be decompressed, or (if asked) differs from its checksum.
        """
        try:
            value = self._fetcher.value(handle)
        except KeyError:
            raise self._missing(self._fetcher.key(handle)) from None
        if self._checksums is not None:
            self._checksums.check(self._fetcher.key(handle), value)
        try:
            return self._buffers.decompress(value, parts)
        except StoreDamaged as error:
            raise StoreDamaged(f"record {self._fetcher.key(handle)!r}: {error}") from None

    def _beginning(self, handle: Handle) -> memoryview:
        """A record of which only the header is needed."""
        record = self.record(handle, ((0, BEGINNING),))
        end = 8 + int.from_bytes(record[:8], "little")
        return self.record(handle) if BEGINNING < end <= len(record) else record

    @_explained
    def whole(self, key: str) -> tuple[memoryview, Modality]:
        """A record's uncompressed bytes, valid until this thread reads again, and its modality.

        The modality has the record's own band shapes.

        Raises:
            KeyMissing, StoreDamaged: as `record`; also a header that the manifest does not
                describe, or another length.
        """
        (handle,) = self.find([key])
        record = self.record(handle)
        return record, self._planner.whole(record, key)

    @_explained
    def mapped(self, key: str) -> tuple[memoryview, Modality]:
        """A record's bytes as stored, on the mapped file, which they keep alive; and its modality.

        Raises:
            ViewImpossible: it is compressed.
            KeyMissing: there is none.
            StoreDamaged: (if asked) the record differs from its checksum.
        """
        (handle,) = self.find([key])
        try:
            file, offset, length = self._fetcher.locate(handle)
        except KeyError:
            raise self._missing(key) from None
        value = file.map[offset : offset + length].data
        if self._checksums is not None:
            self._checksums.check(key, value)
        if codec_of(value) != NONE:
            raise ViewImpossible(f"record {key!r} is compressed, so no array lies in it: use read")
        return value, self._planner.whole(value, key)

    def explanation(self, error: Exception) -> Exception:
        """What is wrong if a record could not be read: a file that was overwritten, or `error`.

        An error that is none of ours comes of extents that were overwritten: their numbers lead to
        headers and files that are not there.
        """
        try:
            self._shards.check()
        except StoreDamaged as overwritten:
            return overwritten
        if isinstance(error, PatchpressError):
            return error
        return StoreDamaged(
            f"{self.path} cannot be read ({type(error).__name__}: {error}): if a file of it was "
            f"overwritten since, open the store again; else run `patchpress verify {self.path}`"
        )

    def close(self) -> None:
        """Let go of the data files; reading raises StoreUnreadable from now on."""
        self._fetcher = cast("Fetcher", _Closed(self.path))
        self._shards.close()
        if self.nearby is not None:
            self.nearby.close()

    def _fill_one(self, filling: Filling, handle: Handle, index: int) -> None:
        """Fill one patch of a batch, whatever its record is."""
        plan = filling.plan
        record, key = self.record(handle, plan.parts), self._fetcher.key(handle)
        length = len(plan.header)
        if record[:length].tobytes() != plan.header:
            record = self.record(handle)
            self._planner.modality(self._planner.header(record, key), key)
            raise GridsDiffer(
                f"record {key!r} has another header than the batch's first ({plan.modality.name} "
                f"{plan.shape}): a batch holds one modality and one size{size_advice(plan)}"
            )
        self._planner.check_size(record, plan.size, key)
        filling.fill(record, index)

    def _missing(self, key: object) -> KeyMissing:
        near = ""
        if isinstance(key, str):
            manifest = self.manifest
            if manifest.records < NAMES_COMPARED:
                names = [name for modality in manifest.modalities
                         for name in record_keys(self.path, manifest, modality)]  # fmt: skip
                if key in names:
                    return KeyMissing(
                        f"the store has no record {key!r}, though its table has: run "
                        f"`patchpress verify {self.path}`"
                    )
            else:
                names = self._fetcher.near(key, NEIGHBOURS)
            near = nearest(key, names, most=3, cutoff=0.8)
        return KeyMissing(f"the store has no record {key!r}{near and f'; {near}'}")


class _Closed:
    """The fetcher of a closed reader: whatever is asked of it is an error."""

    def __init__(self, store: Path) -> None:
        self._store = store

    def __getattr__(self, name: str) -> NoReturn:
        raise StoreUnreadable(f"{shown(self._store)} was closed: open it again with open_store")


def mode_of(mode: str) -> Mode:
    """The mode that a text names.

    Raises:
        OptionError: there is none.
    """
    if mode not in set(Mode):
        raise OptionError(f"there is no read mode {mode!r}; choose {', '.join(Mode)}")
    return Mode(mode)


def array_for(out: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The array that a user gave for the result, if it fits; a new one for None.

    Raises:
        BufferUnfit: it has another shape, dtype or order, or is read-only.
    """
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise BufferUnfit(f"out must be a NumPy array, not {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise BufferUnfit(f"out is {out.dtype} {out.shape}; these records need {dtype} {shape}")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise BufferUnfit("out must be C-contiguous and writeable")
    return out


def list_of(keys: Sequence[str], way_out: str) -> Sequence[str]:
    """Keys as a list or tuple.

    Raises:
        OptionError: a text, of which the letters would be taken for keys.
    """
    if isinstance(keys, str):
        raise OptionError(f"keys must be a list of keys, not {keys!r}: {way_out}")
    return keys if isinstance(keys, (list, tuple)) else list(keys)


def _reopen(
    path: str, mode: str, readahead: bool, checksums: bool, nearby: OpensNearby | None
) -> RecordReader:
    return RecordReader(
        Path(path), mode=mode, readahead=readahead, checksums=checksums, nearby=nearby
    )
