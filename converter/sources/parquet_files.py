"""The files of a patch in a row of a Parquet file, read by the process that needs them."""

import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from patchpress.converter.sources.files import MemoryFiles
from patchpress.converter.sources.zip_bytes import Identity
from patchpress.readers.errors import PatchError, SourceError

OPENED = 4  # Parquet files that a process holds open
_BUFFER = 1 << 16  # bytes of a column that are read from the disk at a time


class ParquetOfFiles(NamedTuple):
    """A Parquet file as it was when its rows were listed."""

    path: str
    identity: Identity


def identity_of(path: str) -> Identity:
    """What tells a file from one that has come in its place.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror})") from None
    return status.st_ino, status.st_size, status.st_mtime_ns


class EmbeddedRow:
    """One row of a Parquet file, whose columns are the files of a patch. It can be pickled."""

    __slots__ = ("_columns", "_group", "_names", "_row", "_table")

    def __init__(
        self,
        table: ParquetOfFiles,
        group: int,
        row: int,
        names: tuple[str, ...],
        columns: tuple[str, ...],
    ) -> None:
        """Say where it is.

        Args:
            table: the file.
            group: number of the row group.
            row: number of the row in its group.
            names: those of the files, as the patch calls them.
            columns: the column of each.
        """
        self._table, self._group, self._row = table, group, row
        self._names, self._columns = names, columns

    @property
    def values(self) -> tuple[object, ...]:
        """Plain values, as JSON has them, from which another process makes the same object."""
        return tuple(self._table), self._group, self._row, self._names, self._columns

    @classmethod
    def from_values(cls, values: Sequence[Any]) -> "EmbeddedRow":
        """What `values` gave."""
        (path, identity), group, row, names, columns = values
        return cls(ParquetOfFiles(path, tuple(identity)), group, row, tuple(names), tuple(columns))

    def __reduce__(self) -> tuple[object, ...]:
        return EmbeddedRow, (self._table, self._group, self._row, self._names, self._columns)

    def announce(self) -> None:
        """Do nothing: a row group is read at once."""

    def open(self, folder: str, memory: memoryview | None) -> MemoryFiles:
        """The files, to be read.

        Args:
            folder: what sentences call the row.
            memory: is not needed, since nothing was read yet.

        Raises:
            PatchError: the row cannot be read.
            SourceError: the file has become another one.
        """
        del memory
        rows = _rows_of(self._table, self._columns)
        found = rows.row(self._group, self._row, folder)
        files = {
            name: memoryview(found[column]).cast("B")
            for name, column in zip(self._names, self._columns, strict=True)
            if found[column] is not None
        }
        return MemoryFiles(files, folder)


class _Rows:
    """The rows of a Parquet file, read one by one: a row group need not fit into memory."""

    def __init__(self, table: ParquetOfFiles, columns: tuple[str, ...]) -> None:
        from pyarrow import parquet

        if identity_of(table.path) != table.identity:
            raise SourceError(
                f"{table.path} was changed while it was read: let it be whole, and run the same "
                "command again"
            )
        self._columns = list(columns)
        self._file = parquet.ParquetFile(
            table.path, pre_buffer=False, buffer_size=_BUFFER, memory_map=False
        )
        self._lock = threading.Lock()
        self._group, self._next = -1, 0
        self._batches: Iterator[Any] = iter(())
        self._last: dict[str, Any] = {}

    def row(self, group: int, row: int, shown: str) -> dict[str, Any]:
        """Column -> the bytes of a row; rows after one another are read without going back.

        Raises:
            PatchError: it cannot be read.
        """
        with self._lock:
            try:
                if group != self._group or row < self._next - 1:
                    self._group, self._next = group, 0
                    self._batches = self._file.iter_batches(
                        1, row_groups=[group], columns=self._columns, use_threads=False
                    )
                while self._next <= row:
                    self._last = {}
                    batch = next(self._batches)
                    self._next += 1
                self._last = self._last or _values(batch)
            except Exception as error:  # pyarrow has errors of many classes
                self._group = -1
                if isinstance(error, MemoryError):
                    raise
                raise PatchError(f"{shown} cannot be read ({_first_line(error)})") from None
            return self._last


def _values(batch: Any) -> dict[str, Any]:
    """Column -> its bytes, which stay where Arrow has them; None for null."""
    found = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        value = column[0]
        found[name] = value.as_buffer() if value.is_valid else None
    return found


@lru_cache(maxsize=OPENED)
def _rows_of(table: ParquetOfFiles, columns: tuple[str, ...]) -> _Rows:
    return _Rows(table, columns)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
