"""`open_store` and `Store`: records of a finished store by key, singly and in batches.

A store is opened lazily in each process and may be pickled, sent to threads and carried over a
fork. Nothing is ever written, so a read-only file system is fine.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy.typing as npt

from patchpress.readers.access.bands import BandNames, bands_of
from patchpress.readers.access.fetcher import Mode
from patchpress.readers.access.file_system import is_network
from patchpress.readers.access.open_reader import open_reader
from patchpress.readers.access.reader import RecordReader, list_of
from patchpress.readers.access.view import band_view, stack_view
from patchpress.readers.errors import OptionError
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import HasRowNumbers, Split, read_table, record_keys
from patchpress.readers.records import Records
from patchpress.readers.remote.url import is_url
from patchpress.readers.showing import columns_of, html_table, plain
from patchpress.readers.staging.options import STAGE, StageFolder, StageSize, stage_options

if TYPE_CHECKING:
    import pyarrow as pa

    from patchpress.readers.choice import Where
    from patchpress.readers.remote.client import Client
    from patchpress.readers.staging.options import StageOptions
    from patchpress.readers.staging.stage import Stage
    from patchpress.readers.statistics import Statistics

Array = npt.NDArray[Any]


def open_store(
    path: str | os.PathLike[str],
    *,
    mode: str = Mode.AUTO,
    readahead: bool = False,
    checksums: bool = False,
    stage: StageFolder = None,
    stage_size: StageSize = None,
    storage_options: Mapping[str, Any] | None = None,
) -> "Store":
    """Open a finished store.

    Args:
        path: folder of the store; `~` is the user's home. Or a URL, as text: ``s3://``, ``gs://``,
            ``az://``, ``https://``, ``http://``; then the small files are fetched into a cache
            folder, and records by range requests.
        mode: how records are read if the store has extents: ``map`` copies them from the mapped
            file (fastest while the page cache has them), ``direct`` announces a batch to the kernel
            and reads each record in one request (fastest from a disk), ``auto`` chooses by whether
            the last records came from the disk, which only Linux tells: elsewhere it is ``map``. On
            a network disk (NFS, Lustre, SMB, FUSE and the like) ``auto`` is always ``direct``.
        readahead: let the kernel read beyond what is asked for, as a network disk may want.
        checksums: compare each record with its checksum in the table when it is read.
        stage: a folder on a disk of this machine, such as ``"$TMPDIR"``, where data files are
            copied to by one of the machine's processes, in the background, and read from by all as
            soon as they are there; by default that of the environment variable PATCHPRESS_STAGE;
            False for none. What cannot be staged is read where the store is, and a warning
            (`StageUnusable`) says so.
        stage_size: the most bytes that all copies in that folder take, as a number or as text:
            ``"200GB"``; by default PATCHPRESS_STAGE_SIZE, or what leaves 10 GiB of the disk (a
            twentieth, if that is less) free. Copies that no process uses are removed for others.
        storage_options: of a URL, what `obstore.store.from_url` takes besides: credentials,
            ``endpoint``, ``region``, ``skip_signature``, ``client_options``. What is not given is
            taken from the environment, as obstore does.

    Raises:
        StoreMissing: there is none at the path.
        StoreUnfinished: what wrote it did not end.
        StoreDamaged: its manifest or data file is not what it should be.
        StoreUnreadable: there are no file descriptors left; or of a URL, access is refused,
            requests fail, or the store there has no extents.
        FormatUnknown: a newer version wrote it, or its data file is of another version of LMDB.
        OptionError: no such mode, or one that needs extents and there are none; a folder or size
            for staging that cannot be; or an option that is not for such a path, a URL of another
            kind, or obstore is not installed.
    """
    return Store(
        path,
        mode=mode,
        readahead=readahead,
        checksums=checksums,
        stage=stage,
        stage_size=stage_size,
        storage_options=storage_options,
    )


def opened(store: "Store | str | os.PathLike[str]", stage: StageFolder) -> "Store":
    """A store that is open already, or the one of a path.

    Raises:
        StoreError, OptionError: as `open_store`; also an open store and a folder for staging.
    """
    if not isinstance(store, Store):
        return open_store(store, stage=stage)
    if stage is not None:
        raise OptionError(
            f"stage {stage!r} goes with the path of a store, and this one is open already: give it "
            "to open_store"
        )
    return store


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
        stage: StageFolder = None,
        stage_size: StageSize = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Open a store, as `open_store` says."""
        self._reader: RecordReader
        if is_url(path):
            client = _client(os.fspath(path), storage_options)
            for name, is_set in (("mode", mode != Mode.AUTO), ("readahead", readahead)):
                if is_set:
                    raise OptionError(
                        f"{name} is for a store on a disk, and {client.name} is none: leave it out"
                    )
            self._reader = _at_url(client, checksums, stage_options(stage, stage_size))
            self._name = str(self._reader.url)
            return
        if storage_options is not None:
            raise OptionError(
                f"storage_options are for a store at a URL, and {os.fspath(path)} is none: leave "
                "them out"
            )
        self._name = os.fspath(path)
        if "\0" in os.fsdecode(path):
            raise OptionError(f"{plain(os.fsdecode(path))} has a zero byte, which no path has")
        # Absolute, so that it is the same folder after os.chdir and in other processes.
        folder = Path(os.path.abspath(os.path.expanduser(path)))
        self._reader = open_reader(
            folder,
            mode=mode,
            readahead=readahead,
            checksums=checksums,
            nearby=stage_options(stage, stage_size),
        )

    @property
    def path(self) -> Path:
        """The folder of the store; of one at a URL, a cache folder with its small files."""
        return self._reader.path

    @property
    def url(self) -> str | None:
        """The URL of the store, without secrets that it was opened with; None of a folder."""
        return self._reader.url

    @property
    def manifest(self) -> Manifest:
        """What the store holds, as manifest.json says."""
        return self._reader.manifest

    @property
    def mode(self) -> Mode:
        """How records are read if the store has extents."""
        return self._reader.mode

    @property
    def readahead(self) -> bool:
        """Whether the kernel reads beyond what is asked for."""
        return self._reader.readahead

    @property
    def has_extents(self) -> bool:
        """Whether records are read by extents; without them each key is searched, more slowly."""
        return self._reader.extents is not None

    def __repr__(self) -> str:
        counts = ", ".join(f"{m.records:,} {m.name}" for m in self.manifest.modalities.values())
        title = f"Store({self._name!r}: {self.manifest.dataset.name}, {counts})"
        return "\n".join([plain(title), *columns_of(self._contents())])

    def _repr_html_(self) -> str:
        title = f"Store {self._name}: {self.manifest.dataset.name}"
        return html_table(title, ("", "", ""), self._contents())

    def _contents(self) -> list[tuple[str, str, str]]:
        told = self.manifest.contents()
        if self._stage is not None:
            return [*told, ("stage", "", str(self._stage))]
        if is_network(self._reader.file_system):
            return [*told, ("read", "", self._reader.way)]
        return told

    @property
    def _stage(self) -> "Stage | None":
        return cast("Stage | None", self._reader.nearby)

    def __reduce__(self) -> tuple[Any, ...]:
        # The reader by itself, so that what shares it (`Records`) shares it after a pickle, too.
        return _store_of, (self._reader, self._name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the data files. Arrays and views stay; `Records` of this store end with it.

        A store that is not closed lets go of them when nothing refers to it any more.
        """
        self._reader.close()

    @property
    def reads_from(self) -> str:
        """Where its data files are read, in words: the folder of the store, or the stage."""
        return f"read from {self.url or self.path}" if self._stage is None else str(self._stage)

    @property
    def reads_how(self) -> str:
        """The file system of the store, and how records are read from it, in words.

        ``on nfs4: read directly``, for example; empty of a store at a URL, or with a stage.
        """
        return "" if self.url is not None or self.is_staged else self._reader.way

    @property
    def is_staged(self) -> bool:
        """Whether it was opened with a stage: its data files are read there, or soon will be."""
        return self._stage is not None

    def data_files(self) -> list[Path]:
        """The data files that are read, by shard: staged copies, and else those of the store.

        Raises:
            StoreError: one cannot be opened.
        """
        return self._reader.data_files()

    def stage(self, progress: Callable[[int], None] | None = None) -> None:
        """Copy all data files to the stage that this store was opened with, and wait for that.

        Args:
            progress: told of bytes as they are copied, or found there.

        Raises:
            OptionError: it was opened without a stage.
            TargetError: there is no room for all, or the folder cannot be used.
            StoreError: a data file cannot be read, or was overwritten.
        """
        if self._stage is None:
            raise OptionError(
                f"{self.path} was opened without a stage: open_store(path, stage=FOLDER), or set "
                f"{STAGE}"
            )
        self._stage.fill(progress)

    def __len__(self) -> int:
        """How many records there are, over all modalities."""
        return self.manifest.records

    def __contains__(self, key: object) -> bool:
        return self._reader.has(key)

    def __getitem__(self, key: str) -> Array:
        """One record as (bands, height, width): `read` without options."""
        return self.read(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(
        self,
        modality: str | None = None,
        split: Split = None,
        *,
        flagged: str | None = None,
    ) -> list[str]:
        """Names of the records, of one modality or all, row by row.

        Args:
            modality: all for None.
            split: as `table`.
            flagged: as `table`.

        Raises:
            SelectionEmpty, OptionError: as `table`.
        """
        names = [modality] if modality is not None else list(self.manifest.modalities)
        return [
            key
            for name in names
            for key in record_keys(self.path, self.manifest, name, split, flagged)
        ]

    def table(
        self,
        split: Split = None,
        columns: str | Sequence[str] | None = None,
        modality: str | None = None,
        *,
        flagged: str | None = None,
    ) -> "pa.Table":
        """Rows of metadata.parquet as a pyarrow table, one a patch, of one split, several or all.

        With a modality, only rows that have a record of it: row by row those of
        ``keys(modality, split)``. Without one there may be more, as for patches whose partner is
        missing.

        Args:
            split: a name, several, or `Samples`, whose rows are given in their order; all for None.
            columns: all for None.
            modality: only rows that have a record of it.
            flagged: what is done with rows that their publisher does not recommend for use (the
                manifest names the columns that say so): ``exclude``, ``include`` or ``only``. By
                default they are left out if a split is named, so that ``train`` is the published
                training set, and are there if none is.

        Raises:
            SelectionEmpty: no patch is in that split, or there is no such modality; the message
                lists what there is.
            OptionError: a column that is not there, or no such choice of flagged rows.
        """
        return read_table(self.path, self.manifest, split, columns, modality, flagged)

    def statistics(
        self,
        modality: str,
        split: Split = None,
        *,
        flagged: str | None = None,
        where: "Where" = None,
    ) -> "Statistics":
        """What ``patchpress stats`` kept beside the store, for `normalize` and `to_device`.

        Args:
            modality: as in the manifest.
            split: a name, several, or `Samples`; all records for None.
            flagged: as `table`.
            where: column -> value, or values of which a row must have one; or a pyarrow expression.

        Raises:
            StatisticsMissing, StatisticsStale: there are none, or of other data; run it (again).
            SelectionEmpty: no such split or modality, or no such row.
            OptionError: no such column, or no such choice of flagged rows.
        """
        from patchpress.readers.statistics_file import read_statistics

        if where is not None:
            from patchpress.readers.rows import rows_of

            split = rows_of(self.path, self.manifest, split, where, flagged)
            flagged = None
        if isinstance(split, HasRowNumbers):
            from patchpress.readers.rows import named_selection

            split, flagged = named_selection(self.path, self.manifest, split)
        return read_statistics(self.path, self.manifest, modality, split, flagged)

    def modality_of(self, key: str) -> Modality:
        """The modality that a record is of.

        Raises:
            KeyMissing: no such record.
            StoreDamaged: the record does not parse.
        """
        return self._reader.whole(key)[1]

    def records(self, keys: Sequence[str], bands: BandNames = None) -> Records:
        """Records of one modality, found once, to be read by index: for loops over many epochs.

        Raises:
            KeyMissing, BandMissing, GridsDiffer: as `read_batch`.
        """
        return Records(self._reader, keys, bands)

    def announce(self, keys: Sequence[str]) -> None:
        """Let the disk fetch records that will be read soon, and do not wait for it.

        A loop that announces the next records before it works on those that it has does not wait
        for a cold disk; loaders do so by themselves. Keys that are not there are passed over. Of a
        store at a URL nothing is fetched.

        Raises:
            StoreDamaged: a data file is damaged, or was overwritten.
        """
        if self.url is None:
            self._reader.announce_whole(list_of(keys, "use [key] for one record"))

    def read_bands(self, key: str, bands: BandNames = None) -> dict[str, Array]:
        """Bands of one record by name, each (height, width) as stored: own size in native layout.

        Of a modality with several dates each is (steps, height, width).

        Raises:
            KeyMissing, BandMissing, StoreDamaged: as `read`.
        """
        record, modality = self._reader.whole(key)
        # A set is given by the names of its bands, a list by the names as they were asked for.
        is_set = bands is None or isinstance(bands, str)
        names = list((bands_of(modality, bands) or modality.band_names) if is_set else bands or ())
        return {
            name: band_view(modality, record, index).copy()
            for name, index in zip(names, modality.indices(names), strict=True)
        }

    def read(self, key: str, bands: BandNames = None, out: Array | None = None) -> Array:
        """One record as (bands, height, width) in the source's dtype and units.

        Coarser bands of a native record are repeated onto the finest grid. `bands` picks bands by
        name, in that order, or a set of them: `rgb`, or a ground sampling distance such as `10m`.
        `out` of the right shape and dtype is filled and returned.

        Of a modality with several dates it is (steps, bands, height, width), and a batch has one
        dimension more: the dates of a place in their order, then zeros for those that it lacks.
        The table's columns ``{modality}_steps`` and ``{modality}_dates`` tell.

        Raises:
            KeyMissing: no such record.
            BandMissing: no such band or set.
            BufferUnfit: `out` has another shape, dtype or order.
            GridsDiffer: bands of sizes that do not fit on one grid.
            StoreDamaged: the record does not parse, or (if asked) differs from its checksum.
        """
        return self._reader.read_one(key, bands, out)

    def read_batch(
        self, keys: Sequence[str], bands: BandNames = None, out: Array | None = None
    ) -> Array:
        """Records of one modality as (N, bands, height, width), in the order of `keys`.

        Give the same `out` again and again: memory allocated afresh costs more than the reading.

        Raises:
            KeyMissing, BandMissing, BufferUnfit, StoreDamaged: as `read`; what is wrong with
                `bands` or `out` is found before any record is copied.
            BufferUnfit: no key at all.
            GridsDiffer: keys of two modalities, or records of two sizes.
            OptionError: one key, not a list of them.
        """
        keys = list_of(keys, "use read for one record")
        return self._reader.read(self._reader.find(keys), bands, out)

    def view(self, key: str, band: str | None = None) -> Array:
        """A record on the mapped file, without any copy: read-only, (bands, height, width).

        With `band` that band alone, (height, width) at its stored size; a native record of several
        bands has only such views. The array keeps the mapping alive, also after the store is gone,
        and cannot be made writeable. Its pixels are read from the disk when they are touched.

        Raises:
            KeyMissing, BandMissing, StoreDamaged: as `read`.
            ViewImpossible: a compressed record, or all bands of a native one.
        """
        value, modality = self._reader.mapped(key)
        if band is None:
            return stack_view(modality, value, key)
        return band_view(modality, value, modality.indices([band])[0])


def _client(url: str, options: Mapping[str, Any] | None) -> "Client":
    from patchpress.readers.remote.client import Client

    return Client(url, options)


def _at_url(client: "Client", checksums: bool, stage: "StageOptions | None") -> RecordReader:
    """The reader of a store at a URL."""
    from patchpress.readers.remote.remote_reader import RemoteReader

    return RemoteReader(client, checksums=checksums, stage=stage)


def _store_of(reader: RecordReader, name: str) -> Store:
    store = Store.__new__(Store)
    store._reader, store._name = reader, name
    return store
