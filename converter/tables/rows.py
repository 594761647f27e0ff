"""The rows of the metadata table: those of the official tables that have pixels, and new ones.

A record belongs to the row that an official table, a pairing table, its own name or its sidecar
says. If none of them says one, the record gets a row of its own.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.descriptions.description import Description, ModalitySource
from patchpress.converter.tables.arrow import fill_column, first_repeated, is_in, set_column
from patchpress.converter.tables.official import Tables
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.converter.tables.tablefiles import read_columns
from patchpress.readers.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)

Logs = Mapping[str, RecordLog]
"""Modality -> its stored records."""


@dataclass(frozen=True, slots=True)
class TableRows:
    """One row for each patch that has pixels, sorted by identity."""

    table: "pa.Table"
    without_pixels: int
    """Rows of the official tables that have no record."""
    without_row: dict[str, list[str]]
    """Modality -> records that no official row names; empty if there is no table."""


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
    description: Description, logs: Logs, tables: Tables | None, pairs: Path | None
) -> TableRows:
    """The rows, with official columns if there are tables, and the columns that records fill.

    Args:
        description: of the data set.
        logs: the stored records.
        tables: the official tables, if the source has them.
        pairs: the pairing table, if the source has it.

    Raises:
        TableError: the pairing table lacks a column, or two records of a modality have one row.
    """
    import pyarrow as pa

    official = None if tables is None else _rows_with_pixels(description, logs, tables)
    unmatched = [_unmatched(description.modalities[name], logs[name], official) for name in logs]
    new = _new_rows(description, unmatched, _read_pairs(description, pairs))
    _log.info(
        "%d rows of the official tables have pixels; %d rows are new",
        0 if official is None else len(official),
        len(new),
    )
    if tables is None or official is None:
        table, without_pixels, without_row = new, 0, {}
    else:
        for column in new.column_names:
            if column in official.column_names:
                new = set_column(new, column, new[column].cast(official.schema.field(column).type))
        # A column that only one of the two has is null in the rows of the other.
        table = pa.concat_tables([official, new], promote_options="default")
        without_pixels = tables.rows - len(official)
        names = {one.modality.name: one.names.to_pylist() for one in unmatched}
        without_row = {modality: lacking for modality, lacking in names.items() if lacking}
    return TableRows(
        table=table.sort_by(description.identity).combine_chunks(),
        without_pixels=without_pixels,
        without_row=without_row,
    )


def _rows_with_pixels(description: Description, logs: Logs, tables: Tables) -> "pa.Table":
    """The official rows that name a stored record."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # Not a dict: modalities may have the same column.
    names = [(description.modalities[name].key_column, log.names()) for name, log in logs.items()]
    kept = []
    for group in tables.groups():
        there = None
        for column, stored in names:
            found = is_in(group[column], stored)
            there = found if there is None else pc.or_(there, found)
        kept.append(group.filter(there))
    return pa.concat_tables(kept)


def _unmatched(modality: ModalitySource, log: RecordLog, official: "pa.Table | None") -> _Unmatched:
    import pyarrow as pa
    import pyarrow.compute as pc

    names = log.names()
    if official is None:
        positions = pa.array(range(len(names)), pa.int64())
    else:
        known = is_in(names, official[modality.key_column])
        positions = pc.indices_nonzero(pc.invert(known))
    return _Unmatched(modality, log, positions, names.take(positions))


def _new_rows(
    description: Description, unmatched: list[_Unmatched], paired: "pa.Table | None"
) -> "pa.Table":
    """A row for each identity of the unmatched records, with the columns that they fill."""
    import pyarrow as pa
    import pyarrow.compute as pc

    identities = [_identities(description, one, paired) for one in unmatched]
    unique = pc.unique(pa.chunked_array([pa.array([], pa.string()), *identities]))
    rows = pa.table({description.identity: unique.take(pc.sort_indices(unique))})
    rows = _with_pairs(rows, description, paired)
    for one, own in zip(unmatched, identities, strict=True):
        _check_one_record(one, own)
        record = pc.index_in(rows[description.identity], value_set=own)
        values = {one.modality.key_column: one.names}
        values |= {column: one.log.values(column).take(one.positions) for column in one.log.columns}
        for column, of_records in values.items():
            if column != description.identity:
                rows = fill_column(rows, column, of_records.take(record))
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


def _read_pairs(description: Description, path: Path | None) -> "pa.Table | None":
    """The pairing table under our column names."""
    if description.pairs is None or path is None:
        return None
    wanted = {description.identity: description.pairs.identity, **description.pairs.columns}
    table = read_columns(path, list(wanted.values()))
    return table.rename_columns(list(wanted))


def _with_pairs(
    rows: "pa.Table", description: Description, paired: "pa.Table | None"
) -> "pa.Table":
    """The rows with the names of their partners, also of those that have no record."""
    import pyarrow.compute as pc

    if paired is None:
        return rows
    names = paired[description.identity].combine_chunks()
    at = pc.index_in(rows[description.identity], value_set=names)
    for column in paired.column_names:
        if column != description.identity:
            rows = rows.append_column(column, paired[column].combine_chunks().take(at))
    return rows
