"""The rows of a store that are exported: their table and records, some at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from patchpress.converter.exports.record_pixels import RecordPixels
from patchpress.converter.transfer.row_choice import ChosenRows
from patchpress.readers.format.arrow_kinds import plain_table
from patchpress.readers.format.footprint_columns import (
    names_without_footprints,
    schema_without_footprints,
)
from patchpress.readers.format.manifest import METADATA, Manifest
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import (
    checksum_column,
    key_column,
    keys_in,
    presence_column,
    read_table,
)
from patchpress.readers.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

AT_ONCE = 256
"""Rows whose columns are in memory at a time; of records there is one."""

Row = dict[str, Any]


@dataclass(frozen=True)
class ExportedRows:
    """Some rows, one after another."""

    table: "pa.Table"
    """All columns of the store's table, but for footprints and checksums of stored records."""
    keys: Mapping[str, list[str | None]]
    """Modality -> the key of each row's record; None if there is none."""
    names: list[str]
    """Of each row: the name of its patch."""


@dataclass(frozen=True)
class ExportSelection:
    """What is exported of a store."""

    store: Store
    rows: ChosenRows
    modalities: Mapping[str, Modality]
    command: str = ""
    """What makes the same export again."""

    @cached_property
    def manifest(self) -> Manifest:
        """What the store holds; of modalities that are exported, the bands that are."""
        whole = self.store.manifest
        return replace(whole, modalities={**whole.modalities, **self.modalities})

    def pixels(self, modality: str) -> RecordPixels:
        """What reads the records of a modality."""
        return RecordPixels(self.store, self.modalities[modality])

    @cached_property
    def schema(self) -> "pa.Schema":
        """The columns of each `ExportedRows.table`."""
        import pyarrow.parquet as pq

        read_table(self.store.path, self.manifest, columns=[])  # compares its digest
        schema = schema_without_footprints(pq.read_schema(self.store.path / METADATA))
        empty = schema.empty_table()
        return self._own(plain_table(empty)).schema.remove_metadata()

    def splits(self, rows: ExportedRows) -> list[str | None]:
        """The split of each row; None if it has none, or the store has no splits."""
        if not self.manifest.splits:
            return [None] * len(rows.table)
        found: list[str | None] = rows.table[self.manifest.split_column].to_pylist()
        return found

    def columns(self, names: Sequence[str]) -> "pa.Table":
        """Some columns of all rows, in the order of the table.

        Raises:
            StoreDamaged: the table is not the one that was written.
        """
        import pyarrow.parquet as pq

        schema = self.schema  # compares the digest of the table
        table = pq.read_table(self.store.path / METADATA, columns=list(names), partitioning=None)
        some = plain_table(table.take(self.rows.numbers)).select(names)
        return some.cast(schema.empty_table().select(names).schema)

    def batches(self) -> Iterator[ExportedRows]:
        """The rows in the order of the table, with records that the disk is told of.

        Raises:
            StoreDamaged: the table is not the one that was written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema, numbers, begin = self.schema, self.rows.numbers, 0
        with pq.ParquetFile(self.store.path / METADATA) as file:
            columns = names_without_footprints(file.schema_arrow.names)
            for batch in file.iter_batches(AT_ONCE, columns=columns):
                end = begin + len(batch)
                first, last = np.searchsorted(numbers, (begin, end)).tolist()
                if last > first:
                    some = pa.Table.from_batches([batch]).take(numbers[first:last] - begin)
                    yield self._exported(self._own(plain_table(some)).cast(schema))
                begin = end

    def _own(self, table: "pa.Table") -> "pa.Table":
        left = {checksum_column(name) for name in self.manifest.modalities}
        return table.drop_columns([name for name in table.column_names if name in left])

    def _exported(self, table: "pa.Table") -> ExportedRows:
        keys: dict[str, list[str | None]] = {}
        names: list[str | None] = [None] * len(table)
        for modality in self.modalities.values():
            has = table[presence_column(modality.name)].to_pylist()
            own = table[key_column(modality)]
            all_keys = keys_in(modality, own)
            keys[modality.name] = [
                key if there else None for key, there in zip(all_keys, has, strict=True)
            ]
            values = own.to_pylist()
            names = [
                str(value) if name is None and there else name
                for name, value, there in zip(names, values, has, strict=True)
            ]
        self.store.announce([key for found in keys.values() for key in found if key is not None])
        # Each chosen row has a record of one of the modalities.
        return ExportedRows(table, keys, [str(name) for name in names])
