"""Rows of a table that are called by their numbers, as some lists of splits do.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchpress.converter.tables.arrow import one_array
from patchpress.converter.tables.one_table import OneTable
from patchpress.converter.text import several
from patchpress.readers.errors import SourceMissing, TableError

if TYPE_CHECKING:
    import pyarrow as pa


class NamesOfRows:
    """The names of the rows of a table in their order."""

    def __init__(self, name: str, column: str, tables: Sequence[OneTable], first: int) -> None:
        """Take the files of a table.

        Args:
            name: of the table in the description.
            column: with the names.
            tables: its files, in their order.
            first: the number of the first row.
        """
        self._name, self._column, self._tables, self.first = name, column, tables, first

    def read(self) -> "Iterator[pa.ChunkedArray]":
        """The names, some thousands at a time: all of them are never in memory.

        Raises:
            SourceMissing: the source lacks the table.
            TableError: it cannot be read.
        """
        if not self._tables:
            raise SourceMissing(
                f"the table {self._name}, whose rows are counted, is not in the source: give it "
                f"with --path {self._name}=FILE"
            )
        count = 0
        for table in self._tables:
            for group in table.groups([self._column]):
                count += len(group)
                yield group[self._column]
        self.count = count

    @cached_property
    def count(self) -> int:
        """How many rows there are; it is known without reading them again after `read`."""
        return sum(map(len, self.read()))

    @cached_property
    def names(self) -> "pa.Array":
        """The names, strings.

        Raises:
            SourceMissing: the source lacks the table.
            TableError: it cannot be read.
        """
        import pyarrow as pa

        chunks = [chunk for names in self.read() for chunk in names.chunks]
        return pa.chunked_array(chunks, pa.string()).combine_chunks()

    def of(self, path: Path, numbers: Any) -> "pa.Array":
        """The names of the rows that have these numbers.

        Args:
            path: of what has the numbers.
            numbers: int64, without nulls.

        Raises:
            TableError: a number that no row has.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        self.check(path, numbers)
        return self.names.take(pc.subtract(numbers, pa.scalar(self.first, pa.int64())))

    def check(self, path: Path, numbers: Any) -> None:
        """Refuse numbers that no row has.

        Raises:
            TableError: the first of them.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        at = pc.subtract(numbers, pa.scalar(self.first, pa.int64()))
        beyond = pc.or_(pc.less(at, 0), pc.greater_equal(at, self.count))
        if pc.any(beyond).as_py():
            wrong = numbers.filter(beyond)[0].as_py()
            files = ", ".join(str(table.path) for table in self._tables)
            last = self.first + self.count - 1
            raise TableError(
                f"{path} has the row number {wrong}, and {files} has "
                f"{several(self.count, 'row')}, numbered from {self.first} to {last}"
            )


def as_numbers(path: Path, column: str, cells: Any) -> "pa.Array":
    """Cells of a table or list as int64.

    Raises:
        TableError: a cell that is no whole number.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = one_array(cells)
    if pa.types.is_string(cells.type):
        cells = pc.utf8_trim_whitespace(cells)
    try:
        found = cells.cast(pa.int64())
    except pa.ArrowException:
        wrong = next((c for c in cells.to_pylist() if not _is_whole(c)), cells[0].as_py())
        raise TableError(
            f"{path} has {wrong!r} in {column}, which must be the number of a row"
        ) from None
    if found.null_count:
        raise TableError(f"{path} has a row without a number in {column}")
    return found


def _is_whole(cell: Any) -> bool:
    try:
        return int(cell) == float(cell)
    except (TypeError, ValueError):
        return False
