"""The records that a store is to have: their keys, and where each lies in its source."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.transfer.source_store import SourceStore
from patchpress.readers.access.keys import joined_names
from patchpress.readers.errors import StoreDamaged
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.shard_rule import shard_of
from patchpress.readers.format.table import (
    checksum_column,
    key_column,
    keys_in,
    presence_column,
)

if TYPE_CHECKING:
    import pyarrow as pa

Columns = Callable[[Sequence[str]], "pa.Table"]
_AT_ONCE = 1 << 15  # values that are Python's objects at a time


@dataclass(frozen=True, kw_only=True)
class StoredRecords:
    """Records in ascending order of their keys. Arrays of one length, (records,)."""

    keys: npt.NDArray[np.bytes_]
    modality: npt.NDArray[np.uint16]
    """Which modality of the new store, counted in the manifest's order."""
    row: npt.NDArray[np.int64]
    """Which row of the new table."""
    source: npt.NDArray[np.uint16]
    """Which of the stores that it is taken from."""
    shard: npt.NDArray[np.uint16]
    """Which data file of that store."""
    offset: npt.NDArray[np.uint64]
    length: npt.NDArray[np.uint64]
    """Bytes as stored there."""
    checksum: npt.NDArray[np.uint64]
    """XXH3-64 as the table there has it."""

    def __len__(self) -> int:
        return len(self.keys)

    def at(self, positions: npt.NDArray[Any]) -> "StoredRecords":
        """The records at some positions, or those for which a mask is true."""
        names = [field.name for field in fields(self)]
        return StoredRecords(**{name: getattr(self, name)[positions] for name in names})

    def in_shards(self, shards: int) -> list[npt.NDArray[np.int64]]:
        """The positions of the records of each of so many shards."""
        number = np.empty(len(self), np.int64)
        for begin in range(0, len(self), _AT_ONCE):
            names = self.keys[begin : begin + _AT_ONCE].tolist()
            number[begin : begin + len(names)] = [shard_of(n.decode(), shards) for n in names]
        order = np.argsort(number, kind="stable")
        ends = np.cumsum(np.bincount(number, minlength=shards))[:-1]
        return np.split(order, ends)


def records_of(
    source: SourceStore,
    number: int,
    columns: Columns,
    row_numbers: npt.NDArray[np.int64],
    modalities: Sequence[Modality],
) -> StoredRecords:
    """The records that some rows of a store's table have, of some modalities.

    Args:
        source: the store.
        number: what `StoredRecords.source` is to be.
        columns: gives some columns of these rows.
        row_numbers: what `StoredRecords.row` is to be of each.
        modalities: all those of the new store; not all of them need be in this one.

    Raises:
        StoreDamaged: the table has a record that the data files lack.
    """
    return joined(
        [
            _of_modality(source, number, columns, row_numbers, index, modality)
            for index, modality in enumerate(modalities)
            if modality.name in source.manifest.modalities
        ]
    )


def _of_modality(
    source: SourceStore,
    number: int,
    columns: Columns,
    row_numbers: npt.NDArray[np.int64],
    index: int,
    modality: Modality,
) -> StoredRecords:
    column, checksum = key_column(modality), checksum_column(modality.name)
    rows = columns([presence_column(modality.name), column, checksum])
    present = np.asarray(rows[presence_column(modality.name)].combine_chunks(), bool)
    # Of these columns alone: a filter copies all that there are.
    some = rows.select(sorted({column, checksum})).filter(present)
    del rows
    keys = _keys(modality, some[column])
    places = source.find(keys)
    count = len(keys)
    return StoredRecords(
        keys=keys,
        modality=np.full(count, index, np.uint16),
        row=row_numbers[present],
        source=np.full(count, number, np.uint16),
        shard=places.shard,
        offset=places.offset,
        length=places.length,
        checksum=_checksums(source, some[checksum]),
    )


def joined(parts: list[StoredRecords]) -> StoredRecords:
    """Records of several kinds, in the order of their keys; the list is emptied.

    Of a large data set all take hundreds of megabytes, so one array is made at a time, and those
    that it is made of are given up.
    """
    if len(parts) == 1 and (parts[0].keys[:-1] < parts[0].keys[1:]).all():
        return parts[0]
    names = [field.name for field in fields(StoredRecords)]
    arrays: dict[str, list[npt.NDArray[Any]]] = {n: [getattr(p, n) for p in parts] for n in names}
    parts.clear()
    keys = joined_names(arrays.pop("keys"))
    order = np.argsort(keys, kind="stable")
    keys.sort(kind="stable")  # the same order; a copy would take as much again
    rest = {name: np.concatenate(arrays.pop(name))[order] for name in list(arrays)}
    return StoredRecords(keys=keys, **rest)


def _keys(modality: Modality, names: "pa.ChunkedArray") -> npt.NDArray[np.bytes_]:
    """The keys of a modality's records, of the values of its column."""
    parts = [
        np.array([key.encode() for key in keys_in(modality, some)], "S") for some in _slices(names)
    ]
    return np.concatenate(parts) if parts else np.empty(0, "S1")


def _checksums(source: SourceStore, digits: "pa.ChunkedArray") -> npt.NDArray[np.uint64]:
    parts = [np.empty(0, np.uint64)]
    for some in _slices(digits):
        try:
            whole = bytes.fromhex("".join(text or "?" for text in some.to_pylist()))
        except ValueError:
            whole = b""
        if len(whole) != 8 * len(some):
            raise StoreDamaged(
                f"the table of {source.name} lacks checksums of its records: run `patchpress "
                f"verify {source.name}`"
            )
        parts.append(np.frombuffer(whole, ">u8").astype(np.uint64))
    return np.concatenate(parts)


def _slices(values: "pa.ChunkedArray") -> "Iterator[pa.ChunkedArray]":
    """Some values at a time: as Python's objects, all of them would take much memory."""
    for begin in range(0, len(values), _AT_ONCE):
        yield values.slice(begin, _AT_ONCE)
