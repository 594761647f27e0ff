"""`open_store` and `Store`: records of a finished store by key, singly and in batches.

A store is opened lazily in each process and may be pickled, sent to threads and carried over a
fork. Nothing is ever written, so a read-only file system is fine.
"""

import os
import warnings
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.checksums import Checksums
from patchpress.readers.access.environment import Environment
from patchpress.readers.access.extents import read_extents
from patchpress.readers.access.fetch import Desk, FromExtents, FromLmdb, Mode, Place, Source
from patchpress.readers.access.files import DataFile, open_file
from patchpress.readers.access.headers import Forms
from patchpress.readers.access.plan import Plan
from patchpress.readers.access.view import view_of
from patchpress.readers.errors import (
    BufferUnfit,
    ExtentsUnusable,
    GridsDiffer,
    KeyMissing,
    OptionError,
    StoreDamaged,
    ViewImpossible,
)
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.manifest import DATA, Manifest, Modality, read_manifest
from patchpress.readers.format.record import ZSTD_MAGIC
from patchpress.readers.format.table import read_table, record_keys

if TYPE_CHECKING:
    import pyarrow as pa

    from patchpress.readers.records import Records
    from patchpress.readers.statistics import Statistics

Array = npt.NDArray[Any]
NAMES_COMPARED, NEIGHBOURS = 50_000, 300  # more names take seconds to compare with one


def open_store(
    path: str | os.PathLike[str],
    *,
    mode: str = Mode.AUTO,
    readahead: bool = False,
    checksums: bool = False,
) -> "Store":
    """Open a finished store.

    Args:
        path: folder of the store.
        mode: how records are read where the store has extents: ``map`` copies them from the mapped
            file (fastest while the page cache has them), ``direct`` announces a batch to the kernel
            and reads each record in one request (fastest from a disk), ``auto`` goes by what the
            kernel says the last records needed.
        readahead: let the kernel read beyond what is asked for, as a network disk may want.
        checksums: compare each record with its checksum in the table when it is read.

    Raises:
        StoreMissing: there is none at the path.
        StoreUnfinished: its conversion did not end.
        StoreDamaged: its manifest or data file is not what it should be.
        FormatUnknown: a newer version wrote it.
        OptionError: no such mode, or one that needs extents where there are none.
    """
    return Store(path, mode=mode, readahead=readahead, checksums=checksums)


class Store:
    """Random access to the records of one store.

    Reading is safe from several threads and after a fork; a pickled store is its path and options.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mode: str = Mode.AUTO,
        readahead: bool = False,
        checksums: bool = False,
    ) -> None:
        self.path = Path(path)
        if mode not in set(Mode):
            raise OptionError(f"there is no read mode {mode!r}; choose {', '.join(Mode)}")
        self.mode, self.readahead = Mode(mode), readahead
        self.manifest: Manifest = read_manifest(self.path)
        self._check_files()
        self._environment = Environment(self.path, readahead=readahead)
        self._checksums = Checksums(self.path, self.manifest) if checksums else None
        self._forms = Forms(self.path, self.manifest)
        self._desk = Desk()
        self.source: Source = self._open_source()

    def _check_files(self) -> None:
        for shard in self.manifest.shards:
            file = self.path / shard.path
            try:
                size = file.stat().st_size
            except FileNotFoundError:
                raise StoreDamaged(
                    f"{file} is absent though the manifest lists it: copy the store again"
                ) from None
            if size != shard.bytes:
                raise StoreDamaged(
                    f"{file} has {size} bytes where the manifest promises {shard.bytes}: "
                    f"copy the store again, or if it was compacted run `patchpress index "
                    f"{self.path}`"
                )

    def _open_source(self) -> Source:
        shards = [shard.path for shard in self.manifest.shards]
        extents, reason = read_extents(self.path, shards)
        if extents is not None:
            files = [open_file(self.path / name, readahead=self.readahead) for name in shards]
            return FromExtents(extents, files, self.mode)
        if reason:
            warnings.warn(
                f"{reason}: reading through LMDB, which is slower; run "
                f"`patchpress index {self.path}`",
                ExtentsUnusable,
                stacklevel=4,
            )
        elif self.mode is not Mode.AUTO:
            raise OptionError(
                f"mode {self.mode!s} needs extents, which {self.path} does not have: run "
                f"`patchpress index {self.path}`"
            )
        return FromLmdb(self._environment)

    def __repr__(self) -> str:
        counts = ", ".join(f"{m.records} {m.name}" for m in self.manifest.modalities.values())
        return f"Store({str(self.path)!r}: {self.manifest.dataset.name}, {counts})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (
            str(self.path),
            str(self.mode),
            self.readahead,
            self._checksums is not None,
        )

    def __len__(self) -> int:
        """How many records there are, over all modalities."""
        return self.manifest.records

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._environment.has(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self, modality: str | None = None, split: str | None = None) -> list[str]:
        """Names of the records, of one modality or all, of one split or all, row by row.

        Raises:
            SelectionEmpty: a split or modality that the store does not have.
        """
        names = [modality] if modality is not None else list(self.manifest.modalities)
        return [key for name in names for key in record_keys(self.path, self.manifest, name, split)]

    def table(
        self,
        split: str | None = None,
        columns: Sequence[str] | None = None,
        modality: str | None = None,
    ) -> "pa.Table":
        """Rows of metadata.parquet as a pyarrow table, one a patch.

        With a modality, only rows that have a record of it: row by row those of
        ``keys(modality, split)``. Without one there may be more, as for patches whose partner is
        missing.

        Raises:
            SelectionEmpty: no patch is in that split, or there is no such modality; the message
                lists what there is.
            OptionError: a column that is not there.
        """
        return read_table(self.path, self.manifest, split, columns, modality)

    def statistics(self, modality: str, split: str | None = None) -> "Statistics":
        """What ``patchpress stats`` kept beside the store, for `normalize` and `feed`.

        Raises:
            StatisticsMissing, StatisticsStale: there are none, or of other data; run it (again).
            SelectionEmpty: no such split or modality.
        """
        from patchpress.readers.statistics import read_statistics

        return read_statistics(self.path, self.manifest, modality, split)

    def modality_of(self, key: str) -> Modality:
        """The modality that a record is of.

        Raises:
            KeyMissing: no such record.
            StoreDamaged: the record does not parse.
        """
        return self._modality(self._record(self._place(key)), key)

    def records(self, keys: Sequence[str], bands: Sequence[str] | None = None) -> "Records":
        """Records of one modality, found once, to be read by index: for loops over many epochs.

        Raises:
            KeyMissing, BandMissing, GridsDiffer: as `read_batch`.
        """
        from patchpress.readers.records import Records

        return Records(self, keys, bands)

    def read_bands(self, key: str, bands: Sequence[str] | None = None) -> dict[str, Array]:
        """Bands of one record by name, each (height, width) as stored: own size in native layout.

        Raises:
            KeyMissing, BandMissing, StoreDamaged: as `read`.
        """
        record = self._record(self._place(key))
        modality = self._modality(record, key)
        form = modality.form
        if len(record) != form.size:
            raise StoreDamaged(f"record {key!r} has {len(record)} bytes, not {form.size}")
        wanted = [modality.bands[index] for index in modality.indices(bands)]
        if modality.layout == "native":
            return {
                band.name: form.array(record, tensor).copy()
                for band in wanted
                if (tensor := form.tensor(band.name)) is not None
            }
        stack = form.array(record, form.tensors[0])
        return {band.name: stack[modality.band_names.index(band.name)].copy() for band in wanted}

    def read(self, key: str, bands: Sequence[str] | None = None, out: Array | None = None) -> Array:
        """One record as (bands, height, width) in the source's dtype and units.

        Coarser bands of a native record are repeated onto the finest grid. `bands` picks bands by
        name, in that order. `out` of the right shape and dtype is filled and returned.

        Raises:
            KeyMissing: no such record.
            BandMissing: no such band.
            BufferUnfit: `out` has another shape, dtype or order.
            GridsDiffer: bands of sizes that do not fit on one grid.
            StoreDamaged: the record does not parse, or (where asked) differs from its checksum.
        """
        place = self._place(key)
        plan = self.plan(place, bands)
        if out is None:
            out = np.empty(plan.shape, plan.dtype)
        else:
            _check_out(out, plan.shape, plan.dtype)
        self.fill(plan, [place], out[None])
        return out

    def read_batch(
        self, keys: Sequence[str], bands: Sequence[str] | None = None, out: Array | None = None
    ) -> Array:
        """Records of one modality as (N, bands, height, width), in the order of `keys`.

        Give the same `out` again and again: memory allocated afresh costs more than the reading.

        Raises:
            KeyMissing, BandMissing, BufferUnfit, StoreDamaged: as `read`; what is wrong with
                `bands` or `out` is found before any record is copied.
            BufferUnfit: no key at all.
            GridsDiffer: keys of two modalities, or records of two sizes.
        """
        keys = keys if isinstance(keys, (list, tuple)) else list(keys)
        if not keys:
            raise BufferUnfit("a batch needs at least one key")
        places = self.places(keys)
        return self.read_places(places, bands, out)

    def read_places(
        self, places: Sequence[Place], bands: Sequence[str] | None, out: Array | None
    ) -> Array:
        """As `read_batch`, for places that `places` found."""
        plan = self.plan(places[0], bands)
        shape = (len(places), *plan.shape)
        if out is None:
            out = np.empty(shape, plan.dtype)
        else:
            _check_out(out, shape, plan.dtype)
        self.fill(plan, places, out)
        return out

    def view(self, key: str, band: str | None = None) -> Array:
        """A record on the mapped file, without any copy: read-only, (bands, height, width).

        With `band` that band alone, (height, width) at its stored size; a native record of several
        bands has only such views. The array keeps the mapping alive, also after the store is gone,
        and cannot be made writeable. Its pixels are read from the disk when they are touched.

        Raises:
            KeyMissing, BandMissing, StoreDamaged: as `read`.
            ViewImpossible: a compressed record, or all bands of a native one.
        """
        file, offset, length = self._extent(key)
        record = file.bytes[offset : offset + length]
        if self._checksums is not None:
            self._checksums.check(key, record)
        if record[:4] == ZSTD_MAGIC:
            raise ViewImpossible(f"record {key!r} is compressed, so no array lies in it: use read")
        pixels = file.map[offset : offset + length].data
        return view_of(self._modality(record, key), pixels, key, band)

    def places(self, keys: Sequence[str]) -> list[Place]:
        """Where each record lies, for `read_places`: valid in this process.

        Raises:
            KeyMissing: a record that is not there (through LMDB only when it is read).
        """
        found = self.source.find(keys)
        if None in found:
            raise KeyMissing(self._missing(keys[found.index(None)]))
        return found

    def plan(self, place: Place, bands: Sequence[str] | None) -> Plan:
        """How the wanted bands of records like the one at this place get into an array."""
        header, key = self.source.header(place), self.source.name(place)
        if header is None:
            header = self._forms.header(self._record(place), key)
        return self._forms.plan(header, key, bands)

    def fill(self, plan: Plan, places: Sequence[Place], out: Array) -> None:
        """Fill `out` (N, bands, height, width), already checked, with the records of a plan."""
        if self._checksums is None:
            self.source.batch(plan, places, out, self._fill_one)
            return
        for place, row in zip(places, out, strict=True):
            self._fill_one(plan, place, row)

    def _fill_one(self, plan: Plan, place: Place, out: Array) -> None:
        record, key = self._record(place), self.source.name(place)
        header = self._forms.header(record, key)
        if header != plan.header:
            self._forms.modality(header, key)
            raise GridsDiffer(
                f"record {key!r} is not of the form of the batch's first ({plan.modality.name} "
                f"{plan.shape}): a batch holds one modality and one size"
            )
        if len(record) != plan.size:
            raise StoreDamaged(
                f"record {key!r} has {len(record)} bytes, not {plan.size}: run "
                f"`patchpress verify {self.path}`"
            )
        plan.fill(record, out)

    def _place(self, key: str) -> Place:
        return self.places([key])[0]

    def _record(self, place: Place) -> memoryview:
        """The uncompressed bytes of a record, valid until this thread reads again."""
        try:
            value = self.source.value(place)
        except KeyError:
            raise KeyMissing(self._missing(self.source.name(place))) from None
        if self._checksums is not None:
            self._checksums.check(self.source.name(place), value)
        if value[:4] != ZSTD_MAGIC:
            return value
        try:
            return self._desk.decompress(value)
        except StoreDamaged as error:
            raise StoreDamaged(f"record {self.source.name(place)!r}: {error}") from None

    def _modality(self, record: memoryview, key: str) -> Modality:
        return self._forms.modality(self._forms.header(record, key), key)

    def _extent(self, key: str) -> tuple[DataFile, int, int]:
        """(data file, offset, length) of a record, from the extents or the tree of the LMDB."""
        place = self._place(key)
        if isinstance(self.source, FromExtents):
            return self.source.extent(place)
        file = self._data_file
        name = key.encode(errors="replace") if isinstance(key, str) else b""
        found = Tree(file.bytes, file.path).find(name) if name else None
        if found is None:
            raise KeyMissing(self._missing(key))
        return file, found.offset, found.length

    @cached_property
    def _data_file(self) -> DataFile:
        """The data file where there are no extents: kept, as each handle has a map of its own."""
        return open_file(self.path / DATA, readahead=self.readahead)

    def _missing(self, key: str) -> str:
        near: list[str] = []
        if isinstance(key, str):
            # Of a large store only the neighbours: names that begin alike lie together.
            few = len(self) < NAMES_COMPARED
            names = self.keys() if few else self._environment.near(key, NEIGHBOURS)
            near = get_close_matches(key, names, n=3, cutoff=0.8)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        return f"the store has no record {key!r}{hint}"


def _reopen(path: str, mode: str, readahead: bool, checksums: bool) -> Store:
    return Store(path, mode=mode, readahead=readahead, checksums=checksums)


def _check_out(out: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if not isinstance(out, np.ndarray):
        raise BufferUnfit(f"out must be a NumPy array, not {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise BufferUnfit(f"out is {out.dtype} {out.shape}; these records need {dtype} {shape}")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise BufferUnfit("out must be C-contiguous and writeable")
