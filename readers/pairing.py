"""Records of modalities that have no row in common, paired by a column: a place, or a grid cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import OptionError, SelectionEmpty
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import key_column, own_columns, presence_column
from patchpress.readers.format.time_axis import time_columns
from patchpress.readers.hints import hint
from patchpress.readers.rows import Rows

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]
CANDIDATES = 3  # columns that a message names


@dataclass(frozen=True)
class Pairing:
    """One sample for each value of a column, made of rows that have it."""

    rows: Rows
    """For each sample the row of its first modality; its `has_` columns tell of all."""
    tables: Mapping[str, "pa.Table"] = field(default_factory=dict)
    """Modality -> for each sample the row of its record; empty if all have one row."""
    selected: int = 0
    """How many samples there would be if all had all."""
    not_taken: Mapping[str, int] = field(default_factory=dict)
    """Modality -> records that no sample has, since their place has another one before them."""

    def of(self, modality: Modality) -> "pa.Table":
        """For each sample the row of its record of a modality."""
        found: pa.Table = self.tables.get(modality.name, self.rows.table)
        return found

    def told(self, column: str) -> str:
        """How many records are not taken, in words; empty if all are."""
        counts = ", ".join(f"{count:,} of {name}" for name, count in self.not_taken.items())
        return f"of several with one {column} the first is taken, and not: {counts}" * bool(counts)


def by_row(rows: Rows) -> Pairing:
    """The samples if each row is one."""
    return Pairing(rows, {}, len(rows))


def pair_by(rows: Rows, column: str, modalities: Sequence[Modality]) -> Pairing:
    """Pair records of rows that have the same value in a column, in the order of the rows.

    Of several records of a modality with one value, that of the first row is taken.

    Raises:
        OptionError: no such column, or only one modality to be paired.
    """
    import pyarrow as pa

    names = [modality.name for modality in modalities]
    if len(names) < 2:
        raise OptionError(
            f"pair_by={column!r} joins several modalities, and {names[0]} is alone: name more in "
            "modalities, or leave it out"
        )
    if column not in rows.table.column_names:
        raise OptionError(
            f"pair_by={column!r}: the table has no such column; "
            f"{hint(column, rows.table.column_names)}"
        )
    places = _codes(rows.table[column])
    count = int(places.max(initial=-1)) + 1
    first = {name: _first_rows(rows, name, places, count) for name in names}
    known = np.full(count, -1, np.int64)  # the row that stands for a place
    for at in reversed([first[name] for name in names]):
        known = np.where(at >= 0, at, known)
    known = known[known >= 0]
    order = np.sort(known)
    places_taken = places[order]
    chosen = replace(rows, table=rows.table.take(order), numbers=rows.numbers[order])
    lacking = int((places < 0).sum())
    if lacking:
        chosen = replace(chosen, left_out={**rows.left_out, f"without {column}": lacking})
    table, tables, not_taken = chosen.table, {}, {}
    for name in names:
        own = first[name][places_taken]
        has = presence_column(name)
        there = pa.array(own >= 0)
        tables[name] = rows.table.take(np.maximum(own, 0))
        tables[name] = _set(tables[name], has, there)
        table = _set(table, has, there)
        records = int(np.asarray(rows.table[has].to_numpy(), bool)[places >= 0].sum())
        more = records - int((own >= 0).sum())
        if more:
            not_taken[name] = more
    return Pairing(replace(chosen, table=table), tables, len(order), not_taken)


def of_samples(pairing: Pairing, there: Rows, before: Rows) -> Pairing:
    """The pairing of the samples that remain in `there` of those in `before`."""
    if not pairing.tables:
        return replace(pairing, rows=there)
    kept = np.flatnonzero(np.isin(before.numbers, there.numbers))
    tables = {name: table.take(kept) for name, table in pairing.tables.items()}
    return replace(pairing, rows=there, tables=tables)


def with_way_out(
    error: SelectionEmpty, rows: Rows, modalities: Sequence[Modality]
) -> SelectionEmpty:
    """The error that no row has all modalities; if a column would pair them, it says which."""
    columns = [name for name in rows.table.column_names if _would_pair(rows, name, modalities)]
    if not columns:
        return error
    shown = " or ".join(f"pair_by={name!r}" for name in columns[:CANDIDATES])
    return SelectionEmpty(f"{error}; rows that belong together are joined by {shown}")


def _would_pair(rows: Rows, column: str, modalities: Sequence[Modality]) -> bool:
    """Whether each modality has a row with one and the same text in a column."""
    import pyarrow.types as pt

    kind = rows.table.schema.field(column).type
    names = [modality.name for modality in modalities]
    keys = {*map(key_column, modalities), *own_columns(names), *time_columns(names)}
    if not (pt.is_string(kind) or pt.is_integer(kind)) or column in keys:
        return False
    places = _codes(rows.table[column])
    count = int(places.max(initial=-1)) + 1
    first = [_first_rows(rows, modality.name, places, count) for modality in modalities]
    together = np.all([at >= 0 for at in first], axis=0)
    # A column that is alike in nearly all rows, as a country is, names no place.
    return bool(together.any()) and count > len(rows) / 100


def _codes(values: "pa.ChunkedArray") -> Array:
    """A number for each value, by its first occurrence; -1 for null."""
    encoded = values.combine_chunks().dictionary_encode()
    found: Array = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    return found


def _first_rows(rows: Rows, name: str, places: Array, count: int) -> Array:
    """For each place the first row that has a record of a modality; -1 if none has."""
    has = np.asarray(rows.table[presence_column(name)].to_numpy(), bool)
    there = np.flatnonzero(has & (places >= 0))[::-1]
    first = np.full(count, -1, np.int64)
    first[places[there]] = there
    return first


def _set(table: "pa.Table", column: str, values: "pa.Array") -> "pa.Table":
    return table.set_column(table.schema.get_field_index(column), column, values)
