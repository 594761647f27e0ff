"""Columns of names of a Parquet or CSV table, whatever else it has."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.tables.csv_table import CsvTable
from patchpress.converter.tables.tablefiles import STRINGS, check_column, read_groups, read_schema
from patchpress.readers.format.arrow_kinds import plain_table

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)


def read_columns(path: Path, columns: list[str], notes: list[str] | None = None) -> "pa.Table":
    """Columns of strings of a Parquet or CSV table, in the order asked for.

    Args:
        path: of the table.
        columns: their names.
        notes: get a sentence for each thing that is not read as it stands.

    Raises:
        SourceMissing: no such file.
        TableError: it cannot be read, or lacks a column.
    """
    import pyarrow as pa

    distinct = list(dict.fromkeys(columns))
    if path.suffix == ".parquet":
        schema = read_schema(path)  # checks its size
        for column in columns:
            check_column(path, schema, column, STRINGS)
        # By name: other columns may be of any size.
        groups = read_groups(path, distinct)
        chosen = pa.schema([schema.field(column) for column in distinct])
    else:
        # As text: a name of digits is no number, and may begin with zeros.
        text = CsvTable(path, texts=distinct)
        schema = pa.schema([(name, pa.string()) for name in text.names])
        for column in columns:
            check_column(path, schema, column, STRINGS)
        groups = text.groups(distinct)
        if notes is not None:
            notes += text.notes
        chosen = pa.schema([(column, pa.string()) for column in distinct])
    table = pa.concat_tables([chosen.empty_table(), *groups])
    _log.info("read %d rows of %s: %s", len(table), path, ", ".join(columns))
    return plain_table(table.select(columns)).cast(pa.schema([(c, pa.string()) for c in columns]))
