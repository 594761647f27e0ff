"""`query`: SQL over the table of a store, with DuckDB (the extra `query`)."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from patchpress.converter.contents.rows_shown import rows_text
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.sources.apart import require_no_source
from patchpress.converter.storage.folder import writing
from patchpress.converter.text import several
from patchpress.readers.errors import OptionError, SelectionEmpty
from patchpress.readers.format.arrow_kinds import plain_table
from patchpress.readers.format.footprint_columns import FOOTPRINT
from patchpress.readers.format.manifest import METADATA
from patchpress.readers.format.table import read_table
from patchpress.readers.format.whole_file import whole_file
from patchpress.readers.store import Store, open_store

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "patches"
"""What the rows of a store are called in SQL."""


_CLOSED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "lock_configuration": "true",
}
"""A query reads the table of the store: no files, no addresses, and no variables of Python."""


@dataclass(frozen=True)
class QueryResult:
    """The rows that a query gave."""

    table: "pa.Table"
    file: Path | None = None
    """Where they were written."""

    def text(self, width: int | None = None, most: int = 40) -> str:
        """The first rows for people, or where all were written."""
        if self.file is not None:
            return f"{self.file}: {several(len(self.table), 'row')}"
        return rows_text(self.table, width, most)


def query(store: StrPath, sql: str, *, out: StrPath | None = None) -> QueryResult:
    """Answer a SELECT over the rows of a store, the table `patches`; no pixel is read.

    Args:
        store: folder of the store, or its URL.
        sql: one SELECT of DuckDB: ``SELECT patch_id FROM patches WHERE country = 'Austria'``. It
            reads nothing but this table, no other file and no address. Footprints are there, too:
            ``bbox.xmin < 13``, and ``geometry`` as WKB.
        out: file to write: ``.parquet`` or ``.csv`` with all columns; with any other ending the
            values of the first column, one a line, as `--keys` of `copy`, `plot` and `stats` takes
            them.

    Raises:
        StoreError: there is no finished store.
        SelectionEmpty: there is no row that could be written.
        OptionError: DuckDB is not installed, the query is no SELECT, or cannot be answered, or its
            first column has no names for a file of names.
        TargetError: the file cannot be written, or would lie in a source.
    """
    duckdb = _duckdb()
    file = None if out is None else local_path(out)
    opened = open_store(store, stage=False)
    if file is not None:
        require_no_source(file)
        if opened.url is None and file.resolve().is_relative_to(Path(opened.path).resolve()):
            raise OptionError(f"{file} would lie in the store itself: give another --out")
    table = plain_table(_rows(opened, sql))
    found = _answered(duckdb, table, sql)
    if file is not None:
        if not len(found):
            raise SelectionEmpty(f"the query gives no row, so that {file} would be empty")
        write = _WRITERS.get(file.suffix.lower(), _write_names)
        with writing(file), whole_file(file) as target:
            _written(write, found, target, file)
    return QueryResult(found, file)


def _rows(store: Store, sql: str) -> "pa.Table":
    """All columns of a store's table; those of footprints only if the query names them."""
    import pyarrow.parquet as pq

    table = read_table(store.path, store.manifest)
    there = pq.read_schema(store.path / METADATA).names
    words = set(re.findall(r"\w+", sql.casefold()))
    asked = [name for name in FOOTPRINT if name in words and name in there]
    if asked:
        added = read_table(store.path, store.manifest, columns=asked)
        for name in asked:
            table = table.append_column(name, added[name])
    return table


def _duckdb() -> Any:
    try:
        import duckdb
    except ModuleNotFoundError:
        raise OptionError(
            "a query needs DuckDB, which is not installed: pip install duckdb"
        ) from None
    return duckdb


def _answered(duckdb: Any, table: "pa.Table", sql: str) -> "pa.Table":
    """The rows that a SELECT gives.

    Raises:
        OptionError: it is none, or cannot be answered.
    """
    with duckdb.connect(":memory:", config=_CLOSED) as database:
        database.register(TABLE, table)
        try:
            statements = database.extract_statements(sql)
            kinds = [statement.type.name for statement in statements]
            if kinds != ["SELECT"]:
                what = ", ".join(kinds) or "nothing"
                raise OptionError(
                    f"a query is one SELECT over {TABLE}, the rows of the store; this is {what}"
                )
            found: pa.Table = database.sql(sql).to_arrow_table()
            _require_different_names(found.column_names)
        except duckdb.PermissionException:
            raise OptionError(
                f"a query reads {TABLE}, the rows of the store, and no file besides: write rows "
                "with --out, and join them with yours elsewhere"
            ) from None
        except duckdb.Error as error:
            raise OptionError(f"the query cannot be answered: {_in_one_line(error)}") from None
    return found


def _require_different_names(names: list[str]) -> None:
    """Refuse rows whose columns no program could tell apart.

    Raises:
        OptionError: two columns have one name.
    """
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise OptionError(
            f"the query gives two columns {twice!r}: call one otherwise, as in {twice} AS other"
        )


def _in_one_line(error: Exception) -> str:
    """What DuckDB says, without the picture of the place in the query."""
    lines = [line.strip() for line in str(error).splitlines()]
    end = next((at for at, line in enumerate(lines) if line.startswith("LINE ")), len(lines))
    return " ".join(line for line in lines[:end] if line)


def _written(
    write: Callable[["pa.Table", IO[bytes]], None], table: "pa.Table", target: IO[bytes], file: Path
) -> None:
    """Write the rows.

    Raises:
        OptionError: such a file cannot hold the values of a column.
    """
    import pyarrow as pa

    try:
        write(table, target)
    except pa.ArrowException as error:
        kinds = ", ".join(f"{field.name} has {field.type}" for field in table.schema)
        raise OptionError(
            f"{file} cannot hold these values ({_in_one_line(error)}): cast the column in the "
            f"query, as in CAST(a AS VARCHAR); {kinds}"
        ) from None


def _write_names(table: "pa.Table", file: IO[bytes]) -> None:
    """The first column, one value a line.

    Raises:
        OptionError: it has no names, or none in a row.
    """
    name, values = table.column_names[0], table.columns[0]
    if not str(values.type).endswith("string"):
        raise OptionError(
            f"the first column of the query, {name!r}, has {values.type} and no names: select "
            "patch_id first, or write .csv or .parquet"
        )
    names = values.to_pylist()
    wrong = [one for one in names if not one or one.splitlines() != [one]]
    if wrong:
        raise OptionError(f"{wrong[0]!r} in column {name!r} is no name that a line can hold")
    file.write("".join(f"{one}{os.linesep}" for one in names).encode())


def _write_csv(table: "pa.Table", file: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.csv as csv

    for number, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):  # as text: CSV has no lists
            cells = table[number].to_pylist()
            words = [None if one is None else _in_a_cell(one) for one in cells]
            table = table.set_column(number, field.name, pa.array(words, pa.string()))
    csv.write_csv(table, file)


def _in_a_cell(value: Any) -> str:
    """A list as text, with nothing for a value that is not there; another nested value as JSON."""
    if isinstance(value, list) and not any(isinstance(one, (list, dict)) for one in value):
        return "; ".join("" if one is None else str(one) for one in value)
    return json.dumps(value, default=str)


def _write_parquet(table: "pa.Table", file: IO[bytes]) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, file, compression="zstd")


_WRITERS: dict[str, Callable[["pa.Table", IO[bytes]], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
