"""Tables of a source as the description says they are read: each with the columns of a store.

Files of one table are put together, one after the other. Tables that say what their rows are found
by (`key`) are joined by the names of patches.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.table_source import KINDS, TableSource
from patchpress.converter.tables.arrow import told_type
from patchpress.converter.tables.csv_table import CsvTable
from patchpress.converter.tables.joined_by_names import JoinedByNames
from patchpress.converter.tables.json_table import VALUE, JsonTable
from patchpress.converter.tables.keyed_table import KeyedTable
from patchpress.converter.tables.one_table import OneTable
from patchpress.converter.tables.row_numbers import NamesOfRows
from patchpress.converter.tables.tablefiles import read_groups, read_schema

if TYPE_CHECKING:
    import pyarrow as pa

_JSON = (".json", ".geojson", ".jsonl")


class ParquetTable:
    """A Parquet table, as it stands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self._schema: pa.Schema | None = None

    @property
    def schema(self) -> "pa.Schema":
        """Its columns."""
        if self._schema is None:
            self._schema = read_schema(self.path)
        return self._schema

    def groups(self, columns: Sequence[str] | None = None) -> "Iterator[pa.Table]":
        """Its row groups; all columns or some."""
        return read_groups(self.path, columns)


def open_tables(description: Description, files: Mapping[str, Path]) -> list[OneTable]:
    """The tables that the rows of a source are, ready to be read.

    Args:
        description: of the data set.
        files: table, or ``TABLE/PATH`` for one of its files -> where it lies.

    Raises:
        SourceMissing, TableError: a file that cannot be read, or has not the columns it needs.
    """
    by_table: dict[str, list[OneTable]] = {}
    for part, path in files.items():
        name, _, inner = part.partition("/")
        by_table.setdefault(name, []).append(_opened(description, name, path, inner, files))
    if not description.has_keys or len(by_table) < 2:
        return [table for tables in by_table.values() for table in tables]
    return [JoinedByNames(list(by_table.values()), description.identity)]


def _opened(
    description: Description, name: str, path: Path, inner: str, files: Mapping[str, Path]
) -> OneTable:
    """One file of a table."""
    source = description.tables[name]
    table = _file(description, source, path)
    is_plain = isinstance(table, ParquetTable) and source == TableSource(source.file)
    if is_plain and not any(rule.cells.is_told for rule in description.labels.values()):
        return table
    rows_of = None
    if source.rows_of:
        rows_of = names_of_rows(description, source.rows_of, source.first_row, files)
    return KeyedTable(description, source, table, inner or path.as_posix(), rows_of)


def _file(description: Description, source: TableSource, path: Path) -> OneTable:
    ending = path.suffix.lower()
    if ending not in KINDS:  # a file that was given by its path may be called as it likes
        ending = Path(source.file).suffix.lower()
    if ending == ".parquet":
        return ParquetTable(path)
    if ending in _JSON:
        asked = [*source.columns.values(), *source.rename.values()]
        return JsonTable(path, VALUE in asked or VALUE in description.labels)
    theirs = {**{c: c for c in _texts(description)}, **source.columns, **source.rename}
    return CsvTable(
        path,
        delimiter=source.delimiter,
        header=source.header,
        texts=[*(theirs[column] for column in _texts(description)), *source.key_columns],
        types={theirs.get(name, name): told_type(kind) for name, kind in source.types.items()},
    )


def _texts(description: Description) -> list[str]:
    """Columns whose cells stay as they are written: names, splits, labels."""
    columns = [modality.key_column for modality in description.modalities.values()]
    columns += [description.split_column] if description.split_column else []
    return list(dict.fromkeys([*columns, *description.classes]))


def names_of_rows(
    description: Description, table: str, first: int, files: Mapping[str, Path]
) -> NamesOfRows:
    """The names of the rows of a table, by their numbers.

    Raises:
        SourceMissing: the source lacks the table.
    """
    parts = {part: path for part, path in files.items() if part.partition("/")[0] == table}
    tables = [
        _opened(description, table, path, part.partition("/")[2], files)
        for part, path in parts.items()
    ]
    return NamesOfRows(table, description.identity, tables, first)
