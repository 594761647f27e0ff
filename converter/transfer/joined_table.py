"""The tables of several stores as one: a row a patch, whichever stores have records of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from patchpress.converter.text import first_few, several
from patchpress.converter.transfer.merged_rows import GROUND, MergedRows, Numbers, StoresOfRows
from patchpress.converter.transfer.source_store import SourceStore
from patchpress.readers.errors import OptionError
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import checksum_column, presence_column
from patchpress.readers.format.time_axis import date_column

if TYPE_CHECKING:
    import pyarrow as pa

_ORDER = "number of the row"  # a column that is there only while rows are sorted


@dataclass(frozen=True)
class JoinedTable:
    """The rows of all stores, sorted by their identity; a column is made when it is asked for.

    All columns take more memory than the records, and would be there three times.
    """

    sources: Sequence[SourceStore]
    presence: frozenset[str]
    """The columns that say which records a row has."""
    schema: "pa.Schema"
    order: Numbers
    """Of all rows of all stores, one store after the other, those in the order of the identity."""
    merging: "MergedRows | None"
    """How rows of one patch become one; None if each patch has one row."""
    row_of: list[Numbers]
    """For each store the new row of each of its rows."""
    notes: list[str] = field(default_factory=list)

    def columns(self, names: Iterable[str] | None = None) -> "pa.Table":
        """Some columns of all rows, or all.

        Raises:
            OptionError: two values for one row.
        """
        import pyarrow as pa

        asked = self.schema.names if names is None else list(dict.fromkeys(names))
        fields = [self.schema.field(name) for name in asked]
        made = [self._column(name) for name in asked]
        return pa.table(made, schema=pa.schema(fields, metadata=self.schema.metadata))

    def _column(self, name: str) -> Any:
        field, fill = self.schema.field(name), False if name in self.presence else None
        values = _sorted(self.sources, field, self.order, fill)
        return values if self.merging is None else self.merging.merged(name, values)


def join_tables(
    sources: Sequence[SourceStore], modalities: Mapping[str, Modality], identity: str
) -> JoinedTable:
    """Join the tables of stores.

    A row that several stores have, as when each has another modality, becomes one. Its columns must
    agree if they have values in both.

    Args:
        sources: the stores.
        modalities: all that they have, in the order of the new store.
        identity: the column that names a row.

    Raises:
        OptionError: columns of different types, or two values for one row.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    names = list(modalities)
    columns, notes = _columns(sources, names)
    schema = _schema(sources, names, columns)
    key = schema.field(identity)
    counts = [source.manifest.rows for source in sources]
    together = pa.table({identity: _sorted(sources, key, None), _ORDER: np.arange(sum(counts))})
    order = pc.sort_indices(
        together, sort_keys=[(identity, "ascending"), (_ORDER, "ascending")]
    ).to_numpy()
    order = order.astype(np.int32 if len(order) < 1 << 31 else np.int64)
    ids = together[identity].take(order).combine_chunks()
    del together
    is_first = np.ones(len(order), bool)
    if len(order) > 1:
        is_first[1:] = ~np.asarray(pc.fill_null(pc.equal(ids[1:], ids[:-1]), False), bool)
    new_row = np.empty(len(order), np.int64)
    new_row[order] = np.cumsum(is_first) - 1
    merging = None
    if not is_first.all():
        shared = int((~is_first).sum())
        store_of = np.searchsorted(np.cumsum(counts), order, side="right").astype(np.uint16)
        presence = {
            name: np.asarray(
                _sorted(sources, schema.field(presence_column(name)), order, fill=False), bool
            )
            for name in names
        }
        stores = StoresOfRows([source.name for source in sources], store_of, ids)
        merging = MergedRows(is_first, presence, stores)
        del stores, ids, store_of, presence
        notes.append(f"{several(shared, 'row')} of patches that another store has, too: one each")
    row_of = np.split(new_row, np.cumsum(counts)[:-1])
    present = frozenset(presence_column(name) for name in names)
    joined = JoinedTable(sources, present, schema, order, merging, row_of, notes)
    if merging is not None:
        for column in columns:  # what contradicts is refused before anything is written
            joined.columns([column])
        merging.stores = None  # of many rows, their names take as much memory as all else here
    return joined


def _sorted(
    sources: Sequence[SourceStore],
    field: "pa.Field",
    order: Numbers | None,
    fill: bool | None = None,
) -> Any:
    """A column of all stores in an order, or one store after the other; `fill` if one lacks it."""
    import pyarrow as pa

    parts: list[Any] = []
    for source in sources:
        if field.name in source.schema.names:
            parts += source.columns([field.name]).column(0).cast(field.type).chunks
        elif fill is not None:
            parts.append(pa.array(np.full(source.manifest.rows, fill)))
        else:
            parts.append(pa.nulls(source.manifest.rows, field.type))
    values = pa.chunked_array(parts, field.type).combine_chunks()
    return values if order is None else values.take(pa.array(order))


def _columns(sources: Sequence[SourceStore], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The columns of the new table in their order, and a sentence for each that not all have."""
    own = {*GROUND, *map(presence_column, names), *map(checksum_column, names)}
    there = [source.schema.names for source in sources]
    official = dict.fromkeys(column for some in there for column in some if column not in own)
    dates = _dates(there, names, own)
    notes = []
    for source, some in zip(sources, there, strict=True):
        lacking = [c for c in official if c not in some and c not in dates]
        if lacking:
            notes.append(
                f"{source.name} has no column {first_few(lacking)}: null in rows that only it has"
            )
    official = dict.fromkeys([*(c for c in official if c not in dates), *dates])
    ground = [c for c in GROUND if any(c in some for some in there)]
    columns = [*official, *map(presence_column, names), *ground, *map(checksum_column, names)]
    return columns, notes


def _dates(there: Sequence[Sequence[str]], names: Sequence[str], own: set[str]) -> list[str]:
    """The columns with dates of records, in the order of the modalities.

    They are the last before those that a store makes of records itself: a column of that name which
    stands elsewhere is the source's.
    """
    dates = {date_column(name) for name in names}
    found: set[str] = set()
    for some in there:
        for column in reversed([one for one in some if one not in own]):
            if column not in dates:
                break
            found.add(column)
    return [column for column in map(date_column, names) if column in found]


def _schema(
    sources: Sequence[SourceStore], names: Sequence[str], columns: Sequence[str]
) -> "pa.Schema":
    """The kinds of all columns: of a column that a store lacks those of the others.

    Raises:
        OptionError: they differ.
    """
    import pyarrow as pa

    presence = {presence_column(name) for name in names}
    digits = {checksum_column(name) for name in names}
    tables = []
    for source in sources:
        schema = source.schema
        for column in columns:
            if column not in schema.names:
                absent = pa.bool_() if column in presence else pa.null()
                schema = schema.append(
                    pa.field(column, pa.string() if column in digits else absent)
                )
        tables.append(schema.empty_table().select(list(columns)))
    try:
        return pa.concat_tables(tables, promote_options="default").schema
    except pa.ArrowException:
        raise _other_types(sources, [table.schema for table in tables]) from None


def _other_types(sources: Sequence[SourceStore], schemas: "Sequence[pa.Schema]") -> OptionError:
    """The error about columns whose types differ."""
    for column in schemas[0].names:
        kinds = {str(schema.field(column).type): at for at, schema in enumerate(schemas)}
        kinds.pop("null", None)
        if len(kinds) > 1:
            (one, first), (two, second), *_ = kinds.items()
            return OptionError(
                f"{sources[first].name} and {sources[second].name} do not fit together: column "
                f"{column!r} has the type {one} there, and {two} here; convert one of them again "
                "with the same tables, or leave it out"
            )
    return OptionError("the tables of the stores do not fit together: convert one of them again")
