"""metadata.parquet after another program has changed the records of a store.

Rows of records that are there already stay, with their new checksums. New records get the rows that
a conversion would give them, without the columns that only pixels in their published files tell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from patchpress.converter.descriptions.description import Description
from patchpress.converter.tables.arrow import set_column
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.readers.format.table import checksum_column, presence_column

if TYPE_CHECKING:
    import pyarrow as pa

GROUND = ("epsg", "left", "bottom", "right", "top")


@dataclass
class CellEdits:
    """New values of single cells of a table: column -> row -> value."""

    cells: dict[str, dict[int, Any]] = field(default_factory=dict)

    def set(self, column: str, row: int, value: Any) -> None:
        """Note the value of one cell."""
        self.cells.setdefault(column, {})[row] = value

    def applied(self, table: "pa.Table") -> "pa.Table":
        """The table with these cells; its columns and types stay."""
        import pyarrow as pa

        for column, edits in self.cells.items():
            values = table[column].to_pylist()
            for row, value in edits.items():
                values[row] = value
            kind = table.schema.field(column).type
            table = set_column(table, column, pa.array(values, kind))
        return table


def rows_by_name(table: "pa.Table", column: str) -> dict[str, int]:
    """Value of a column -> its row; rows without one are left out."""
    if column not in table.column_names:
        return {}
    return {name: row for row, name in enumerate(table[column].to_pylist()) if name is not None}


def with_modalities(table: "pa.Table", modalities: Sequence[str]) -> "pa.Table":
    """The table with the columns of these modalities, empty for those that it did not have.

    Columns are in the order of the format: those of the dataset, presence, ground, checksums.
    """
    import pyarrow as pa

    for name in modalities:
        if presence_column(name) not in table.column_names:
            none = pa.nulls(len(table), pa.string())
            table = table.append_column(presence_column(name), pa.array([False] * len(table)))
            table = table.append_column(checksum_column(name), none)
    presence = [presence_column(name) for name in modalities]
    ours = [*presence, *GROUND, *(checksum_column(name) for name in modalities)]
    official = [name for name in table.column_names if name not in ours]
    return table.select([*official, *(name for name in ours if name in table.column_names)])


def edit_known_rows(
    table: "pa.Table", description: Description, logs: Mapping[str, RecordLog]
) -> tuple["pa.Table", dict[str, RecordLog]]:
    """Note records in the rows that name them already.

    Returns:
        The table, and modality -> a log of the records that no row names.
    """
    edits, new = CellEdits(), dict[str, RecordLog]()
    for name, log in logs.items():
        rows = rows_by_name(table, description.modalities[name].key_column)
        checksums = log.checksums().to_pylist()
        columns = [column for column in log.columns if column in table.column_names]
        values = {column: log.values(column).to_pylist() for column in columns}
        without_row = []
        for position, record in enumerate(log.names().to_pylist()):
            row = rows.get(record)
            if row is None:
                without_row.append(position)
                continue
            edits.set(presence_column(name), row, True)
            edits.set(checksum_column(name), row, checksums[position])
            for column, given in values.items():
                edits.set(column, row, given[position])
        if without_row:
            new[name] = log.at(without_row)
    return edits.applied(table), new


def without_records(
    table: "pa.Table", key_columns: Mapping[str, str], removed: Mapping[str, Sequence[str]]
) -> "pa.Table":
    """The table after records were removed, by the names in their key columns; rows stay."""
    edits = CellEdits()
    for name, gone in removed.items():
        rows = rows_by_name(table, key_columns[name])
        for record in gone:
            edits.set(presence_column(name), rows[record], False)
            edits.set(checksum_column(name), rows[record], None)
    return edits.applied(table)


def with_new_rows(
    table: "pa.Table", new: "pa.Table", modalities: Sequence[str], identity: str
) -> "pa.Table":
    """The table and further rows; of a patch that both have, the first fills what is null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = rows_by_name(table, identity)
    edits, kept = CellEdits(), []
    present = [presence_column(name) for name in modalities]
    for position, row in enumerate(new.to_pylist()):
        at = known.get(row[identity])
        if at is None:
            kept.append(position)
            continue
        for column, value in row.items():
            if value is None or column == identity or column not in table.column_names:
                continue
            if column in present:
                if value:
                    edits.set(column, at, True)
            elif table[column][at].as_py() is None:
                edits.set(column, at, value)
    table = edits.applied(table)
    if not kept:
        return table
    added = new.take(pa.array(kept, pa.int64()))
    for column in added.column_names:
        if column in table.column_names:
            kind = table.schema.field(column).type
            added = set_column(added, column, added[column].cast(kind))
    order = table.column_names
    table = pa.concat_tables([table, added], promote_options="default")
    for column in present:
        table = set_column(table, column, pc.fill_null(table[column], False))
    extra = [column for column in table.column_names if column not in order]
    return table.select([*order, *extra])


def without_empty_rows(table: "pa.Table", modalities: Sequence[str], identity: str) -> "pa.Table":
    """The rows that have a record, sorted by identity as a conversion leaves them."""
    import pyarrow.compute as pc

    some = None
    for name in modalities:
        column = table[presence_column(name)]
        some = column if some is None else pc.or_(some, column)
    return table.filter(some).sort_by(identity).combine_chunks()
