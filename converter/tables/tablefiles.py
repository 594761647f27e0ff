"""Parquet and CSV tables of a source: read, with one sentence for what is wrong with a file.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.shortage import shortage
from patchpress.converter.sources.contents import PARQUET, START, TEXT, content
from patchpress.converter.tables.arrow import is_list, is_string, is_string_list
from patchpress.converter.text import several, size
from patchpress.readers.errors import PatchpressError, SourceMissing, TableError
from patchpress.readers.format.arrow_kinds import plain_type
from patchpress.readers.format.parquet_bounds import BUFFER, Unfolds, read_bounded

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_log = logging.getLogger(__name__)

_MAGIC = b"PAR1"  # at both ends of a Parquet file

STRINGS = "string"
"""The kind of a column of strings, for `check_column`."""
BOOLEANS = "bool"
"""The kind of a column of true and false, for `check_column`."""
STRING_LISTS = "list of strings"
"""The kind of a column of strings or of lists of strings, for `check_column`."""
NUMBERS = "number"
"""The kind of a column of numbers, for `check_column`."""
SHARE_LISTS = "list with the share of each class"
"""The kind of a column of lists of numbers, for `check_column`."""


ROWS = 10_000_000
"""Rows of a table, at most: many times those of any data set, and names of them fit in memory."""
_UNFOLDED = 16 << 30  # bytes of a table, as its footer says, at most
_OF_A_ROW, _BESIDES = 1536, 16 << 20
"""A row group may unfold to so many bytes a row, and so many besides: less than a store's table
may. Published ones have 424 a row."""


@contextmanager
def reading(path: Path, kind: str = "Parquet") -> Iterator[None]:
    """Turn what pyarrow raises while it reads a table into an error that names the file.

    Raises:
        SourceMissing: no such file.
        TableError: it cannot be read, or is no such table.
        PatchpressError: there is not enough memory, or there are no file descriptors left.
    """
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:
        raise SourceMissing(f"there is no table {path}") from None
    except (OSError, pa.ArrowException) as error:
        if short := shortage(error):
            raise PatchpressError(short) from None
        raise TableError(
            f"{path} cannot be read as a {kind} table{_why_not(path, kind, error)}"
        ) from None


def _why_not(path: Path, kind: str, error: Exception) -> str:
    """What a file is that is no such table, and the way out; else what pyarrow says of it."""
    try:
        with path.open("rb") as file:
            found = content(file.read(START))
            file.seek(-min(path.stat().st_size, len(_MAGIC)), os.SEEK_END)
            is_whole = file.read() == _MAGIC
    except OSError:
        found, is_whole = None, False
    # A file that ends as it should may be of a kind that pyarrow does not know, or memory is short.
    if found is None or kind != "Parquet" or (found is PARQUET and is_whole):
        return f" ({str(error).splitlines()[0]})"
    if found is PARQUET:
        return ": its end is not there, download it again"
    if found is TEXT:
        return ": it is a text, as CSV is; give the Parquet file, or write one of it"
    return f": it is {found.name}, {found.way_out or 'unpack it and give the file that it holds'}"


def read_schema(path: Path) -> "pa.Schema":
    """The columns of a Parquet table, without metadata.

    Raises:
        SourceMissing, TableError: as `reading`.
    """
    import pyarrow.parquet as pq

    with reading(path), pq.ParquetFile(path) as file:
        check_size(path, file.metadata)
        return file.schema_arrow.remove_metadata()


def check_size(path: Path, footer: "pq.FileMetaData") -> None:
    """Refuse a table of few bytes that unfolds to more than memory has, before it is read.

    Raises:
        TableError: how many rows or bytes it has.
    """
    if footer.num_rows > ROWS:
        raise TableError(
            f"{path} has {footer.num_rows:,} rows, and {ROWS:,} are allowed: give a table of the "
            "patches that you have"
        )
    unfolded = sum(footer.row_group(i).total_byte_size for i in range(footer.num_row_groups))
    if unfolded > _UNFOLDED:
        raise TableError(
            f"{path} unfolds to {size(unfolded)}, and {size(_UNFOLDED)} are allowed: leave out "
            "columns that are not needed"
        )


def read_groups(path: Path, columns: Sequence[str] | None = None) -> Iterator["pa.Table"]:
    """The row groups of a Parquet table one after the other, all columns or some.

    Raises:
        SourceMissing, TableError: as `reading`.
    """
    import pyarrow.parquet as pq

    with reading(path), pq.ParquetFile(path, buffer_size=BUFFER) as file:
        check_size(path, file.metadata)
        for number in range(file.num_row_groups):
            yield read_group(path, file, number, columns).replace_schema_metadata(None)


def read_group(
    path: Path, file: "pq.ParquetFile", number: int, columns: Sequence[str] | None = None
) -> "pa.Table":
    """A row group of a Parquet table, all columns or some, if it is not far larger than others.

    Raises:
        TableError: it unfolds to more bytes than so many rows of a table may have.
        OSError, pyarrow.ArrowException: as pyarrow.
    """
    rows = file.metadata.row_group(number).num_rows
    try:
        return read_bounded(file, path, [number], columns, _OF_A_ROW * rows + _BESIDES)
    except Unfolds as error:
        raise TableError(
            f"{path} unfolds to {size(error.nbytes)} or more in {several(rows, 'row')}, and "
            f"{size(error.allowed)} are allowed: write it again with shorter values, or leave out "
            "columns that are not needed"
        ) from None


def check_column(path: Path, schema: "pa.Schema", column: str, kind: str) -> None:
    """Refuse a table without a column that is needed, or with another type in it.

    A column without any value has the type `null`, which will do.

    Args:
        path: of the table.
        schema: its columns.
        column: that is needed.
        kind: `STRINGS`, `STRING_LISTS`, `BOOLEANS`, `NUMBERS` or `SHARE_LISTS`.

    Raises:
        TableError: what is wrong, with what the table has.
    """
    import pyarrow.types as pt

    if column not in schema.names:
        raise TableError(
            f"{path} has no column {column!r}, which the description needs; "
            f"it has {', '.join(schema.names)}"
        )
    found = plain_type(schema.field(column).type)
    fits = {
        STRINGS: is_string(found),
        STRING_LISTS: is_string(found) or is_string_list(found),
        # 1 and 0 in place of true and false.
        BOOLEANS: str(found) == BOOLEANS or pt.is_integer(found) or pt.is_floating(found),
        NUMBERS: pt.is_integer(found) or pt.is_floating(found),
        SHARE_LISTS: is_list(found) and pt.is_floating(found.value_type),
    }
    if str(found) != "null" and not fits[kind]:
        raise TableError(f"{path} has {found} in column {column!r}, which must be a {kind}")
