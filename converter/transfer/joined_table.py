"""The tables of several stores as one: a row a patch, whichever stores have records of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.text import first_few, several, shortened
from patchpress.converter.transfer.source_store import SourceStore
from patchpress.readers.errors import OptionError
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import EPSG, SIDES, checksum_column, presence_column

if TYPE_CHECKING:
    import pyarrow as pa

Numbers = npt.NDArray[np.int64]
GROUND = (EPSG, *SIDES)
_ORDER = "number of the row"  # a column that is there only while rows are sorted


@dataclass(frozen=True)
class JoinedTable:
    """The rows of all stores, sorted by their identity."""

    rows: "pa.Table"
    row_of: list[Numbers]
    """For each store the new row of each of its rows."""
    notes: list[str] = field(default_factory=list)


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
    tables = [_complete(source, names, columns) for source in sources]
    try:
        together = pa.concat_tables(tables, promote_options="default").combine_chunks()
    except pa.ArrowException:
        raise _other_types(sources, tables) from None
    order = pc.sort_indices(
        together.select([identity]).append_column(_ORDER, [np.arange(len(together))]),
        sort_keys=[(identity, "ascending"), (_ORDER, "ascending")],
    ).to_numpy()
    rows = together.take(order)
    ids = rows[identity].combine_chunks()
    is_first = np.ones(len(rows), bool)
    if len(rows) > 1:
        is_first[1:] = ~np.asarray(pc.fill_null(pc.equal(ids[1:], ids[:-1]), False), bool)
    new_row = np.empty(len(rows), np.int64)
    new_row[order] = np.cumsum(is_first) - 1
    ends = np.cumsum([len(table) for table in tables])[:-1]
    if not is_first.all():
        shared = int((~is_first).sum())
        store_of = np.searchsorted(np.cumsum([len(t) for t in tables]), order, side="right")
        merged = _Merging(rows, is_first, [sources[n].name for n in store_of.tolist()], identity)
        rows = merged.merged(names)
        notes.append(f"{several(shared, 'row')} of patches that another store has, too: one each")
    return JoinedTable(rows, np.split(new_row, ends), notes)


def _columns(sources: Sequence[SourceStore], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The columns of the new table in their order, and a sentence for each that not all have."""
    own = {*GROUND, *map(presence_column, names), *map(checksum_column, names)}
    official = dict.fromkeys(
        column for source in sources for column in source.table.column_names if column not in own
    )
    notes = []
    for source in sources:
        lacking = [c for c in official if c not in source.table.column_names]
        if lacking:
            notes.append(
                f"{source.name} has no column {first_few(lacking)}: null in rows that only it has"
            )
    ground = [c for c in GROUND if any(c in s.table.column_names for s in sources)]
    columns = [*official, *map(presence_column, names), *ground, *map(checksum_column, names)]
    return columns, notes


def _complete(source: SourceStore, names: Sequence[str], columns: Sequence[str]) -> "pa.Table":
    """A store's table with all columns, of those that it lacks as empty as can be."""
    import pyarrow as pa

    table = source.table
    absent = {presence_column(name) for name in names}
    digits = {checksum_column(name) for name in names}
    for column in columns:
        if column in table.column_names:
            continue
        if column in absent:
            values = pa.array(np.zeros(len(table), bool))
        else:
            values = pa.nulls(len(table), pa.string() if column in digits else None)
        table = table.append_column(column, values)
    return table.select(list(columns))


def _other_types(sources: Sequence[SourceStore], tables: "Sequence[pa.Table]") -> OptionError:
    """The error about columns whose types differ."""
    for column in tables[0].column_names:
        kinds = {str(table.schema.field(column).type): at for at, table in enumerate(tables)}
        kinds.pop("null", None)
        if len(kinds) > 1:
            (one, first), (two, second), *_ = kinds.items()
            return OptionError(
                f"{sources[first].name} and {sources[second].name} do not fit together: column "
                f"{column!r} has the type {one} there, and {two} here; convert one of them again "
                "with the same tables, or leave it out"
            )
    return OptionError("the tables of the stores do not fit together: convert one of them again")


class _Merging:
    """Rows of which several are of one patch: those of the first store come first."""

    def __init__(
        self, rows: "pa.Table", is_first: npt.NDArray[np.bool_], stores: list[str], identity: str
    ) -> None:
        self._rows, self._stores, self._identity = rows, stores, identity
        self._firsts = np.flatnonzero(is_first)
        group = np.cumsum(is_first) - 1
        self._place = np.arange(len(group)) - self._firsts[group]
        """Which row of its patch each is, from 0 on."""
        self._group = group

    def merged(self, names: Sequence[str]) -> "pa.Table":
        """One row a patch."""
        table = self._rows.take(self._firsts).combine_chunks()
        for place in range(1, int(self._place.max()) + 1):
            more = np.flatnonzero(self._place == place)
            table = self._with(table, more, names)
        return table

    def _with(self, table: "pa.Table", more: Numbers, names: Sequence[str]) -> "pa.Table":
        """The rows with what further rows of the same patches have."""
        at, others = self._group[more], self._rows.take(more).combine_chunks()
        presence = {presence_column(name) for name in names}
        digits = {checksum_column(name) for name in names}  # the records themselves are compared
        # The ground of a patch is that of its first modality, as in a conversion.
        rank, other_rank = _rank(table.take(at), names), _rank(others, names)
        columns = {}
        for column in table.column_names:
            before, after = table[column].combine_chunks(), others[column].combine_chunks()
            own = before.take(at)
            if column in presence:
                better = np.asarray(after, bool) & ~np.asarray(own, bool)
            else:
                better = _valid(after) & ~_valid(own)
                if column in GROUND:
                    better |= _valid(after) & (other_rank < rank)
                elif column not in digits and not own.equals(after):
                    self._require_equal(column, own, after, more)
            chosen = np.arange(len(table))
            chosen[at[better]] = len(table) + np.flatnonzero(better)
            columns[column] = _concatenated(before, after).take(chosen)
        import pyarrow as pa

        return pa.table(columns, schema=table.schema)

    def _require_equal(self, column: str, own: Any, after: Any, more: Numbers) -> None:
        for index, (one, two) in enumerate(zip(own.to_pylist(), after.to_pylist(), strict=True)):
            if one is not None and two is not None and one != two:
                row = int(more[index])
                first = int(self._firsts[self._group[row]])
                raise OptionError(
                    f"{self._stores[first]} and {self._stores[row]} do not fit together: "
                    f"{self._rows[self._identity][row].as_py()} has {column} {shortened(one)} "
                    f"there, and {shortened(two)} here; convert one of them again with the same "
                    "tables, or leave it out"
                )


def _rank(rows: "pa.Table", names: Sequence[str]) -> Numbers:
    """For each row the number of the first modality that it has a record of."""
    rank = np.full(len(rows), len(names), np.int64)
    for number, name in reversed(list(enumerate(names))):
        rank[np.asarray(rows[presence_column(name)].combine_chunks(), bool)] = number
    return rank


def _valid(values: Any) -> npt.NDArray[np.bool_]:
    return np.asarray(values.is_valid(), bool)


def _concatenated(before: Any, after: Any) -> Any:
    import pyarrow as pa

    return pa.concat_arrays([before, after])
