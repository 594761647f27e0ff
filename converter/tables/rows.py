"""The rows of the metadata table: those of the official tables that have pixels, and new ones.

A record belongs to the row that an official table, a pairing table, its own name or its sidecar
says. If none of them says one, the record gets a row of its own.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchpress.converter.descriptions.description import Description, ModalitySource
from patchpress.converter.descriptions.patterns import name_pattern
from patchpress.converter.tables.arrow import (
    first_repeated,
    is_in,
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
from patchpress.converter.tables.naming import LOOKED_AT, any_of_form
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

    known = _names_by_column(description, logs)
    notes = mixed_types(logs)
    there = None
    if tables is not None:
        tables = tables.respelled(known)
        notes = [*tables.notes, *notes]
        there = _have_pixels(tables, known)
        if not there.any() and tables.rows:
            _check_part(description, tables, known, is_part=is_part)
    paired = read_pairs(description, pairs, known, notes, is_part=is_part)
    del known  # of a large data set all names take a hundred megabytes
    release_memory()
    official = None if tables is None or there is None else _chosen_rows(tables, there)
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


def _names_by_column(description: Description, logs: Logs) -> dict[str, "pa.Array"]:
    """Key column -> the names of the stored records that it names, each once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found: dict[str, list[pa.Array]] = {}
    for name, log in logs.items():
        if len(log):
            found.setdefault(description.modalities[name].key_column, []).append(log.names())
    known = {column: pc.unique(pa.chunked_array(found.pop(column))) for column in list(found)}
    release_memory()
    return known


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


def _check_part(
    description: Description,
    tables: Tables,
    known: Mapping[str, "pa.Array"],
    *,
    is_part: bool,
) -> None:
    """Refuse tables that have no patch of the source, unless its patches are only some.

    Raises:
        TableError: with a name of each side.
    """
    for column, names in known.items():
        given = tables.names(column).drop_null()
        if not len(given):
            continue
        form = name_pattern(
            next(m for m in description.modalities.values() if m.key_column == column)
        )
        if not is_part or not any_of_form(given.slice(0, LOOKED_AT).to_pylist(), form):
            raise TableError(
                f"no patch of the source is in {', '.join(map(str, tables.paths.values()))}: a "
                f"name there is {given[0].as_py()!r}, and in the source {names[0].as_py()!r}; give "
                f"the right table with --path {next(iter(tables.paths))}=FILE, or move it away"
            )
        return


def _have_pixels(tables: Tables, known: Mapping[str, "pa.Array"]) -> npt.NDArray[np.bool_]:
    """For each official row whether it names a stored record; `known` are these by column."""
    there = np.zeros(tables.rows, bool)
    for column, stored in known.items():
        # All names at once: what looks names up in others is made anew for each call.
        found = is_in(tables.names(column), stored)
        there |= found.to_numpy()
        release_memory()
    return there


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
    import pyarrow.compute as pc

    names = log.names()
    if official is None:
        positions = pa.array(np.arange(len(names)))
    else:
        known = is_in(names, official[modality.key_column])
        positions = pc.indices_nonzero(pc.invert(known))
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
        record = pc.index_in(rows[description.identity], value_set=own)
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
