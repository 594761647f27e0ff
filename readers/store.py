"""`open_store` and `Store`: records of a finished store by key, singly and in batches.

A store is opened lazily in each process and may be pickled, sent to threads and carried over a
fork: LMDB is opened read-only without a lock file, so a read-only file system is fine.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmdb
import numpy as np
import numpy.typing as npt

from readers.errors import BufferUnfit, GridsDiffer, KeyMissing, StoreDamaged, StoreMissing
from readers.manifest import Manifest, Modality, read_manifest
from readers.record import ZSTD_MAGIC, Decompressor, header_of, parse_header
from readers.stack import repeat_into
from readers.table import read_table, record_keys

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]
PLANS_KEPT = 1_000  # combinations of bands and sizes; more would be a leak

# LMDB allows one open environment a file and process, so stores of one path share it. Readers
# never close it: an inherited or shared mapping stays valid until the process ends.
_environments: dict[tuple[int, int], Any] = {}
_environments_lock = threading.Lock()


def open_store(path: str | os.PathLike[str]) -> "Store":
    """Open a finished store.

    Raises:
        StoreMissing: there is none at the path.
        StoreUnfinished: its conversion did not end.
        StoreDamaged: its manifest or data file is not what it should be.
        FormatUnknown: a newer version wrote it.
    """
    return Store(path)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How the wanted bands of a modality get from a record's bytes into an array."""

    modality: Modality
    header: bytes
    size: int
    """Bytes of a whole record."""
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    runs: tuple[tuple[int, int, int], ...]
    """Stacked: (first element in the output, first byte in the record, elements) of bands that
    lie together in both."""
    places: tuple[tuple[int, int, tuple[int, int]], ...]
    """Native: (band in the output, first byte in the record, (height, width)) of each band."""


class Store:
    """Random access to the records of one store.

    Reading is safe from several threads and after a fork; a pickled store is its path.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.manifest: Manifest = read_manifest(self.path)
        self._modalities: dict[bytes, Modality] = {}
        self._by_key: dict[str, str] | None = None
        self._plans: dict[tuple[str, bytes, tuple[str, ...] | None], _Plan] = {}
        self._thread = threading.local()
        self._check_files()

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
                    "copy the store again"
                )

    def __repr__(self) -> str:
        counts = ", ".join(f"{m.records} {m.name}" for m in self.manifest.modalities.values())
        return f"Store({str(self.path)!r}: {self.manifest.dataset.name}, {counts})"

    def __reduce__(self) -> tuple[type["Store"], tuple[str]]:
        return Store, (str(self.path),)

    def __len__(self) -> int:
        """How many records there are, over all modalities."""
        return self.manifest.records

    def __contains__(self, key: object) -> bool:
        try:
            return isinstance(key, str) and bool(
                key and self._transaction().cursor().set_key(key.encode())
            )
        except UnicodeEncodeError:
            return False
        except lmdb.Error as error:
            raise StoreDamaged(damage(self.path, error)) from None

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

    def modality_of(self, key: str) -> Modality:
        """The modality that a record is of.

        Raises:
            KeyMissing: no such record.
            StoreDamaged: the record does not parse.
        """
        return self._modality(self._record(key, self._transaction()), key)

    def read_bands(self, key: str, bands: Sequence[str] | None = None) -> dict[str, Array]:
        """Bands of one record by name, each (height, width) as stored: own size in native layout.

        Raises:
            KeyMissing, BandMissing, StoreDamaged: as `read`.
        """
        record = self._record(key, self._transaction())
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
            StoreDamaged: the record does not parse.
        """
        record = self._record(key, self._transaction())
        plan = self._plan_of(record, key, bands)
        if out is None:
            out = np.empty(plan.shape, plan.dtype)
        else:
            _check_out(out, plan.shape, plan.dtype)
        _fill(plan, record, out, key)
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
        transaction = self._transaction()
        plan = self._plan_of(self._record(keys[0], transaction), keys[0], bands)
        shape = (len(keys), *plan.shape)
        if out is None:
            out = np.empty(shape, plan.dtype)
        else:
            _check_out(out, shape, plan.dtype)
        if plan.runs:
            self._copy_runs(plan, keys, out, transaction)
        else:
            for key, row in zip(keys, out, strict=True):
                _fill(plan, self._record(key, transaction), row, key)
        return out

    def _copy_runs(self, plan: _Plan, keys: Sequence[str], out: Array, transaction: Any) -> None:
        """Fill a batch from stacked records: the loop that training waits for.

        What is not as expected (a missing key, zstd, another form) goes the way of a single read.
        """
        header, size, itemsize = plan.header, plan.size, plan.dtype.itemsize
        length, get = len(header), transaction.get
        places = [(at * itemsize, start, n * itemsize) for at, start, n in plan.runs]
        # One memmove between memoryviews; NumPy's assignment takes half a microsecond more.
        target: memoryview = out.data.cast("B")
        step = len(target) // len(keys)
        for row, key in enumerate(keys):
            try:
                value = get(key.encode()) if key else None
            except (UnicodeEncodeError, lmdb.Error):
                value = None  # a single read says what is wrong
            if value is None or len(value) != size or value[:length].tobytes() != header:
                _fill(plan, self._record(key, transaction), out[row], key)
                continue
            base = row * step
            for at, start, nbytes in places:
                first = base + at
                target[first : first + nbytes] = value[start : start + nbytes]

    def _transaction(self) -> Any:
        """This thread's read transaction; kept open, since a finished store never changes."""
        try:
            return self._thread.transaction
        except AttributeError:
            environment = open_environment(self.path)
            self._thread.transaction = environment.begin(buffers=True)
            self._thread.decompress = Decompressor()
            return self._thread.transaction

    def _record(self, key: str, transaction: Any) -> memoryview:
        """The uncompressed bytes of a record: on the mapped file, or in a reused buffer."""
        try:
            value = transaction.get(key.encode()) if key else None  # LMDB has no empty key
        except UnicodeEncodeError:
            value = None
        except lmdb.Error as error:
            raise StoreDamaged(damage(self.path, error)) from None
        if value is None:
            raise KeyMissing(self._missing(key))
        if value[:4] == ZSTD_MAGIC:
            record: memoryview = self._thread.decompress(value)
            return record
        return value  # type: ignore[no-any-return]

    def _missing(self, key: str) -> str:
        near = get_close_matches(key, self.keys(), n=3, cutoff=0.8) if len(self) < 50_000 else []
        hint = f"; nearest: {', '.join(near)}" if near else ""
        return f"the store has no record {key!r}{hint}"

    def _plan_of(self, record: memoryview, key: str, bands: Sequence[str] | None) -> _Plan:
        modality = self._modality(record, key)
        # Records of one modality may differ in size: their headers tell them apart.
        wanted = (modality.name, modality.form.header, None if bands is None else tuple(bands))
        plan = self._plans.get(wanted)
        if plan is None:
            if not modality.nests:
                shapes = ", ".join(f"{b.name} {b.shape[0]} x {b.shape[1]}" for b in modality.bands)
                raise GridsDiffer(
                    f"the bands of {key!r} do not fit on one grid ({shapes}): read them with "
                    "Store.read_bands"
                )
            plan = _plan(modality, wanted[2])
            if len(self._plans) < PLANS_KEPT:
                self._plans[wanted] = plan
        return plan

    def _name_of(self, key: str) -> str | None:
        """The modality whose records the table calls so."""
        if self._by_key is None:
            self._by_key = {k: name for name in self.manifest.modalities for k in self.keys(name)}
        return self._by_key.get(key)

    def _modality(self, record: memoryview, key: str) -> Modality:
        """The modality of a record, with the record's own band shapes."""
        try:
            header = header_of(record)
            modality = self._modalities.get(header)
            if modality is None:
                found = self.manifest.matches(parse_header(header))
                modality = found[0] if found else None
                if len(found) > 1:
                    return next((m for m in found if m.name == self._name_of(key)), found[0])
                if modality is not None and len(self._modalities) < PLANS_KEPT:
                    self._modalities[header] = modality
        except StoreDamaged:
            modality = None
        if modality is None:
            raise StoreDamaged(
                f"record {key!r} is not of a form that the manifest describes: "
                f"run `patchpress verify {self.path}`"
            )
        return modality


def damage(path: Path, error: Exception) -> str:
    """The sentence about a data file that LMDB cannot make sense of."""
    return f"{path / 'data.mdb'} is damaged ({error}): copy or convert the store again"


def open_environment(path: Path) -> Any:
    """The process's LMDB environment of a store's folder; shared, so never to be closed."""
    try:
        status = (path / "data.mdb").stat()
    except FileNotFoundError:
        raise StoreMissing(f"there is no data.mdb in {path}: the store was moved") from None
    identity = (status.st_dev, status.st_ino)
    with _environments_lock:
        if identity not in _environments:
            # Random access: readahead would fetch megabytes around every record.
            try:
                _environments[identity] = lmdb.open(
                    str(path), readonly=True, lock=False, readahead=False, max_spare_txns=64
                )
            except lmdb.Error as error:
                raise StoreDamaged(damage(path, error)) from None
        return _environments[identity]


def _plan(modality: Modality, bands: tuple[str, ...] | None) -> _Plan:
    indices = modality.indices(bands)
    form = modality.form
    _, height, width = modality.shape
    runs: list[tuple[int, int, int]] = []
    places: list[tuple[int, int, tuple[int, int]]] = []
    if modality.layout == "native":
        starts = {tensor.name: len(form.header) + tensor.offset for tensor in form.tensors}
        wanted = [modality.bands[index] for index in indices]
        places = [(at, starts[band.name], band.shape) for at, band in enumerate(wanted)]
    else:
        plane = height * width
        for at, index in enumerate(indices):
            start = len(form.header) + index * plane * modality.dtype.itemsize
            if runs and index == indices[at - 1] + 1:
                runs[-1] = (*runs[-1][:2], runs[-1][2] + plane)
            else:
                runs.append((at * plane, start, plane))
    return _Plan(
        modality=modality,
        header=form.header,
        size=form.size,
        shape=(len(indices), height, width),
        dtype=modality.dtype,
        runs=tuple(runs),
        places=tuple(places),
    )


def _fill(plan: _Plan, record: memoryview, out: Array, key: str) -> None:
    """Copy a record's wanted bands into `out` (bands, height, width): the one copy of a read."""
    if len(record) != plan.size or record[: len(plan.header)].tobytes() != plan.header:
        raise GridsDiffer(
            f"record {key!r} is not of the form of the batch's first ({plan.modality.name} "
            f"{plan.shape}): a batch holds one modality and one size; if it should be that, run "
            "`patchpress verify`"
        )
    if plan.runs:
        flat = out.reshape(-1)
        for at, start, count in plan.runs:
            flat[at : at + count] = np.frombuffer(record, plan.dtype, count, start)
        return
    for at, start, shape in plan.places:
        band = np.frombuffer(record, plan.dtype, shape[0] * shape[1], start)
        repeat_into(band.reshape(shape), out[at])


def _check_out(out: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if not isinstance(out, np.ndarray):
        raise BufferUnfit(f"out must be a NumPy array, not {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise BufferUnfit(f"out is {out.dtype} {out.shape}; these records need {dtype} {shape}")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise BufferUnfit("out must be C-contiguous and writeable")
