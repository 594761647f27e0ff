"""The rows of the metadata table: those of the official tables that have pixels, and new ones.

A record belongs to the row that an official table, a pairing table, its own name or its sidecar
says. If none of them says one, the record gets a row of its own.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchpress.converter.descriptions.description import Description, ModalitySource
from patchpress.converter.tables.arrow import (
    first_repeated,
    one_array,
    release_memory,
    set_column,
)
from patchpress.converter.tables.filling import (
    Logs,
    as_official,
    coalesced,
    differing,
    fill,
    filled,
    mixed_types,
    unflagged,
)
from patchpress.converter.tables.name_index import NameIndex
from patchpress.converter.tables.named_rows import check_part, have_pixels, names_by_column
from patchpress.converter.tables.official import Tables
from patchpress.converter.tables.pairs import read_pairs, with_pairs
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.readers.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TableRows:
    """One row for each patch that has pixels, sorted by identity."""

    table: "pa.Table"
    without_pixels: int
    """Rows of the official tables that have no record."""
    without_row: dict[str, list[str]]
    """Modality -> records that no official row names; empty if there is no table."""
    notes: tuple[str, ...] = ()
    """A sentence for each column whose values are not all stored as their source has them."""


@dataclass(frozen=True, slots=True)
class _Unmatched:
    """The records of one modality that no official row names."""

    modality: ModalitySource
    log: RecordLog
    positions: "pa.Array"
    """Their positions in the log."""
    names: "pa.Array"
    """Their published names."""


def build_rows(
    description: Description,
    logs: Logs,
    tables: Tables | None,
    pairs: Path | None,
    *,
    is_part: bool = False,
) -> TableRows:
    """The rows, with official columns if there are tables, and the columns that records fill.

    Args:
        description: of the data set.
        logs: the stored records.
        tables: the official tables, if the source has them.
        pairs: the pairing table, if the source has it.
        is_part: whether the records are some of the source, so that tables may have none of them.

    Raises:
        TableError: the pairing table lacks a column, two records of a modality have one row, or a
            table has no patch of the source.
    """
    import pyarrow as pa

    known = names_by_column(description, logs, tables)
    notes = mixed_types(logs)
    there = None
    if tables is not None:
        tables = tables.respelled(known)
        notes = [*tables.notes, *notes]
        there = have_pixels(tables, known)
        if not there.any() and tables.rows:
            check_part(description, tables, known, is_part=is_part)
    stored = {column: index.names for column, index in known.items()}
    paired = read_pairs(description, pairs, stored, notes, is_part=is_part)
    del stored
    del known  # of a large data set all names take a hundred megabytes
    release_memory()
    official = None if tables is None or there is None else _chosen_rows(tables, there)
    if official is not None:
        official = _with_keys(official, description, logs)
    unmatched = [_unmatched(description.modalities[name], logs[name], official) for name in logs]
    release_memory()
    new = _new_rows(description, unmatched, paired, notes)
    _log.info(
        "%d rows of the official tables have pixels; %d rows are new",
        0 if official is None else len(official),
        len(new),
    )
    if tables is None or official is None:
        table, without_pixels, without_row = new, 0, {}
    else:
        new = unflagged(description, as_official(new, official, notes), official)
        # A column that only one of the two has is null in the rows of the other.
        without_pixels = tables.rows - len(official)
        table = pa.concat_tables([official, new], promote_options="default")
        del official, new
        table = filled(description, table, logs)
        names = {one.modality.name: one.names.to_pylist() for one in unmatched}
        without_row = {modality: lacking for modality, lacking in names.items() if lacking}
    columns = dict(zip(table.column_names, table.columns, strict=True))
    fields = table.schema
    del table
    return TableRows(
        table=_sorted_by(description.identity, fields, columns),
        without_pixels=without_pixels,
        without_row=without_row,
        notes=tuple(notes),
    )


def _with_keys(official: "pa.Table", description: Description, logs: Logs) -> "pa.Table":
    """The official rows with the names of records whose column no table has, by their rows."""
    for name, log in logs.items():
        column = description.modalities[name].key_column
        if column not in official.column_names:
            at = NameIndex(log.identities()).index(official[description.identity])
            official = official.append_column(column, log.names().take(at))
    return official


def _sorted_by(
    identity: str, schema: "pa.Schema", columns: "dict[str, pa.ChunkedArray]"
) -> "pa.Table":
    """The rows in the order of their identities, each column in one piece.

    The columns are taken out of `columns` one by one, so that a large table is never there twice.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    order = pc.sort_indices(columns[identity])
    is_sorted = order.equals(pa.array(np.arange(len(order), dtype=np.uint64)))
    arrays = []
    for name in schema.names:
        values = one_array(columns.pop(name))
        arrays.append(values if is_sorted else values.take(order))
        del values
        release_memory()
    return pa.table(arrays, schema=schema)


def _chosen_rows(tables: Tables, chosen: npt.NDArray[np.bool_]) -> "pa.Table":
    """Some of the official rows."""
    import pyarrow as pa

    kept, begin = [], 0
    for group in tables.groups():
        kept.append(group.filter(pa.array(chosen[begin : begin + len(group)])))
        begin += len(group)
        del group
        release_memory()
    return pa.concat_tables(kept)


def _unmatched(modality: ModalitySource, log: RecordLog, official: "pa.Table | None") -> _Unmatched:
    import pyarrow as pa

    names = log.names()
    if official is None:
        positions = pa.array(np.arange(len(names)))
    else:
        index = NameIndex(names)
        named = index.found(index.index(official[modality.key_column]))
        positions = pa.array(np.flatnonzero(~named))
        del index
        release_memory()
    return _Unmatched(modality, log, positions, names.take(positions))


def _new_rows(
    description: Description,
    unmatched: list[_Unmatched],
    paired: "pa.Table | None",
    notes: list[str],
) -> "pa.Table":
    """A row for each identity of the unmatched records, with the columns that they fill."""
    import pyarrow as pa
    import pyarrow.compute as pc

    identities = [_identities(description, one, paired) for one in unmatched]
    unique = pc.unique(pa.chunked_array([pa.array([], pa.string()), *identities]))
    rows = pa.table({description.identity: unique.take(pc.sort_indices(unique))})
    rows = with_pairs(rows, description, paired)
    for one, own in zip(unmatched, identities, strict=True):
        _check_one_record(one, own)
        record = NameIndex(own).index(rows[description.identity])
        values = {one.modality.key_column: one.names}
        values |= {column: one.log.values(column).take(one.positions) for column in one.log.columns}
        for column, of_records in values.items():
            if column != description.identity:
                values = of_records.take(record)
                if column == one.modality.key_column:  # what is stored is right, whatever pairs say
                    rows = set_column(rows, column, coalesced(values, rows, column))
                else:
                    notes += differing(rows, column, values, one.modality.name)
                    rows = fill(rows, column, values)
    return rows


def _identities(
    description: Description, unmatched: _Unmatched, paired: "pa.Table | None"
) -> "pa.Array":
    """The row of each unmatched record; its own name if nothing else is known."""
    import pyarrow as pa
    import pyarrow.compute as pc

    own = unmatched.log.identities().take(unmatched.positions)
    own = pc.if_else(pc.equal(own, ""), pa.scalar(None, pa.string()), own)
    column = unmatched.modality.key_column
    if paired is not None and column in paired.column_names and column != description.identity:
        found = pc.index_in(unmatched.names, value_set=paired[column].combine_chunks())
        own = pc.coalesce(own, paired[description.identity].take(found).combine_chunks())
    return pc.coalesce(own, unmatched.names)


def _check_one_record(unmatched: _Unmatched, identities: "pa.Array") -> None:
    """Refuse two records of a modality that belong to one row."""
    import pyarrow.compute as pc

    patch = first_repeated(identities)
    if patch is not None:
        both = unmatched.names.filter(pc.equal(identities, patch)).to_pylist()
        raise TableError(
            f"patch {patch} has two records of {unmatched.modality.name}: "
            f"{both[0]} and {both[1]}; remove one"
        )
