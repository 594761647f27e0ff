"""The rows of the metadata table: those of the official tables that have pixels, and the others.

A record belongs to the row that the tables, a pairing table, its own name or its sidecar say;
where none of them does, to a row of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchpress.converter.descriptions.description import Description
from patchpress.converter.tables.official import Tables, read_columns
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.readers.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa

Logs = Mapping[str, RecordLog]


@dataclass(frozen=True, slots=True)
class Rows:
    """One row a patch that has pixels, sorted by identity."""

    table: "pa.Table"
    without_pixels: int
    """Rows of the official tables that have none."""
    without_row: dict[str, list[str]]
    """Modality -> records that no official row names; empty where there is no table."""


def build_rows(
    description: Description, logs: Logs, tables: Tables | None, pairs: Path | None
) -> Rows:
    """The rows, with official columns where there are tables, and the columns of the records.

    Raises:
        TableError: the pairing table lacks a column, or pairs a name twice.
    """
    import pyarrow as pa

    names = {name: log.names() for name, log in logs.items()}
    official, passed = _official(description, names, tables)
    unmatched = {name: _unmatched(description, name, names[name], official) for name in logs}
    paired = _read_pairs(description, pairs)
    built = _built(description, logs, names, unmatched, paired)
    if official is None:
        table, without_row = built, {}
    else:
        for column in built.column_names:
            if column in official.column_names:
                kind = official.schema.field(column).type
                at = built.schema.get_field_index(column)
                built = built.set_column(at, column, built[column].cast(kind))
        # A column that only one side has is null on the other.
        table = pa.concat_tables([official, built], promote_options="default")
        without_row = {
            name: names[name].take(at).to_pylist() for name, at in unmatched.items() if len(at)
        }
    return Rows(table.sort_by(description.identity).combine_chunks(), passed, without_row)


def _official(
    description: Description, names: Mapping[str, "pa.Array"], tables: Tables | None
) -> tuple["pa.Table | None", int]:
    """Rows of the tables that have pixels, and how many have none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if tables is None:
        return None, 0
    kept = []
    for group in tables.groups():
        there = None
        for name, own in names.items():
            found = is_in(group[description.modalities[name].key_column], own)
            there = found if there is None else pc.or_(there, found)
        kept.append(group.filter(there))
    rows = pa.concat_tables(kept)
    return rows, tables.rows - len(rows)


def _unmatched(
    description: Description, modality: str, names: "pa.Array", rows: "pa.Table | None"
) -> "pa.Array":
    """Positions of the names that no official row has."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if rows is None:
        return pa.array(range(len(names)), pa.int64())
    column = description.modalities[modality].key_column
    return pc.indices_nonzero(pc.invert(is_in(names, rows[column])))


def _built(
    description: Description,
    logs: Logs,
    names: Mapping[str, "pa.Array"],
    unmatched: Mapping[str, "pa.Array"],
    paired: "pa.Table | None",
) -> "pa.Table":
    """Rows for the unmatched records: those of one identity share a row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    identities = {
        name: _identities(description, name, logs[name], names[name].take(at), at, paired)
        for name, at in unmatched.items()
    }
    together = pa.chunked_array([pa.array([], pa.string()), *identities.values()])
    unique = pc.unique(together)
    rows = pa.table({description.identity: unique.take(pc.sort_indices(unique))})
    rows = _add_pairs(rows, description, paired)
    for name, at in unmatched.items():
        modality = description.modalities[name]
        index = pc.index_in(rows[description.identity], value_set=identities[name])
        if len(identities[name]) != pc.count_distinct(identities[name]).as_py():
            raise TableError(_twice(name, names[name].take(at), identities[name]))
        columns = {modality.key_column: names[name]}
        columns |= {c: logs[name].values(c) for c in logs[name].columns}
        for column, values in columns.items():
            if column != description.identity:
                rows = _coalesce(rows, column, values.take(at).take(index))
    return rows


def _identities(
    description: Description,
    modality: str,
    log: RecordLog,
    names: "pa.Array",
    at: "pa.Array",
    paired: "pa.Table | None",
) -> "pa.Array":
    """The row of each unmatched record; its own name where nothing else is known."""
    import pyarrow as pa
    import pyarrow.compute as pc

    own = log.identities().take(at)
    own = pc.if_else(pc.equal(own, ""), pa.scalar(None, pa.string()), own)
    column = description.modalities[modality].key_column
    if paired is not None and column in paired.column_names and column != description.identity:
        found = pc.index_in(names, value_set=paired[column].combine_chunks())
        own = pc.coalesce(own, paired[description.identity].take(found).combine_chunks())
    return pc.coalesce(own, names)


def _twice(modality: str, names: "pa.Array", identities: "pa.Array") -> str:
    import pyarrow.compute as pc

    counts = pc.value_counts(identities)
    patch = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
    both = names.filter(pc.equal(identities, patch)).to_pylist()
    return f"patch {patch} has two records of {modality}: {both[0]} and {both[1]}; remove one"


def _read_pairs(description: Description, path: Path | None) -> "pa.Table | None":
    """The pairing table under our column names."""
    if description.pairs is None or path is None:
        return None
    wanted = {description.identity: description.pairs.identity, **description.pairs.columns}
    table = read_columns(path, list(wanted.values()))
    return table.rename_columns(list(wanted))


def _add_pairs(rows: "pa.Table", description: Description, paired: "pa.Table | None") -> "pa.Table":
    """Names of partners, also of those that are not there."""
    import pyarrow.compute as pc

    if paired is None:
        return rows
    names = paired[description.identity].combine_chunks()
    at = pc.index_in(rows[description.identity], value_set=names)
    for column in paired.column_names:
        if column != description.identity:
            rows = rows.append_column(column, paired[column].combine_chunks().take(at))
    return rows


def _coalesce(rows: "pa.Table", column: str, values: Any) -> "pa.Table":
    """Set a column where it has no value yet."""
    import pyarrow.compute as pc

    if column not in rows.column_names:
        return rows.append_column(column, values)
    place = rows.schema.get_field_index(column)
    merged = pc.if_else(pc.is_valid(rows[column]), rows[column], values)
    return rows.set_column(place, column, merged)


def is_in(values: Any, among: Any) -> Any:
    """Which of some strings are among others, whatever the two string types."""
    import pyarrow.compute as pc

    return pc.is_in(values, value_set=among.cast(values.type))
