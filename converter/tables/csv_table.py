"""CSV and TSV tables, however large: read block by block, with types that hold in all of the file.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

import codecs
import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchpress.converter.tables.delimiter import delimiter_in
from patchpress.converter.tables.tablefiles import reading
from patchpress.converter.text import several, size
from patchpress.readers.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.csv as pv

_log = logging.getLogger(__name__)

LARGEST = 1 << 30  # bytes of a CSV table, at most
_BLOCK = 4 << 20  # bytes that are read at once
_WRONG = re.compile(r"In CSV column #(\d+):.*?invalid value '(.*)'", re.DOTALL)
_WIDER = {"null": "int64", "int64": "double"}
"""Type -> the next one that holds its values and more; any other becomes text."""
_SHOWN = 120  # characters of a wrong line that are told
_OTHER_TEXT = "cp1252"  # what programs of Western Europe write that do not write UTF-8


class CsvTable:
    """A table of text with one row a line.

    Types follow from all of the file: a column of whole numbers in which one has a fraction becomes
    a column of numbers, and one in which a cell is no number is text.
    """

    def __init__(
        self,
        path: Path,
        *,
        delimiter: str = "",
        header: Sequence[str] = (),
        texts: Collection[str] = (),
        types: "Mapping[str, pa.DataType] | None" = None,
    ) -> None:
        """Look at the beginning of the file.

        Args:
            path: of the file.
            delimiter: what parts the columns; found in the first line if empty.
            header: names of the columns if the first line has none.
            texts: columns whose cells stay as they are written, such as names with leading zeros.
            types: columns of a type that is told; a cell of another one is an error.

        Raises:
            SourceMissing, TableError: no such file, too large, empty, or no text.
        """
        self.path = path
        self._header, self._told = tuple(header), dict(types or {})
        with reading(path, "CSV"):
            nbytes = path.stat().st_size
            if not nbytes:
                raise TableError(f"{path} is empty: download it again")
            if nbytes > LARGEST:
                raise TableError(
                    f"{path} has {size(nbytes)}, and {size(LARGEST)} are allowed for a CSV table: "
                    "give it as Parquet"
                )
            self._encoding, self._odd_quotes = _look_through(path)
            self._delimiter = delimiter or delimiter_in(_first_line(path, self._encoding))
        self.notes = (
            [] if self._encoding in ("utf8", "utf16") else
            [f"{path.name} is not UTF-8: it is read as Windows-1252 (latin-1)"]
        )  # fmt: skip
        self._texts = frozenset(texts)
        self._ragged: pv.InvalidRow | None = None
        self._types: dict[str, pa.DataType] | None = None

    @property
    def schema(self) -> "pa.Schema":
        """Its columns, with types that hold for all rows; the file is read for that once."""
        import pyarrow as pa

        if self._types is None:
            self._types = self._found_types()
        return pa.schema(list(self._types.items()))

    def groups(self, columns: Sequence[str] | None = None) -> Iterator["pa.Table"]:
        """Its rows, some thousands at a time; all columns or some.

        Raises:
            SourceMissing, TableError: it cannot be read, or a line has other columns.
        """
        if columns is not None and self._texts.issuperset(columns):
            types, wanted = {}, list(columns)  # of these the types are known without reading it all
        else:
            types = {field.name: field.type for field in self.schema}
            wanted = list(types) if columns is None else list(columns)
        with self._reading(), self._open(types, wanted) as reader:
            for batch in reader:
                yield _as_table(batch).select(wanted)

    @property
    def names(self) -> list[str]:
        """The names of all columns; only the beginning of the file is read for that.

        Raises:
            SourceMissing, TableError: it cannot be read, or a line has other columns.
        """
        with self._reading():
            return self._names()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """As `reading`, with a sentence for a line that has other columns than the first."""
        import pyarrow as pa

        self._ragged = None
        with reading(self.path, "CSV"):
            try:
                yield
            except pa.ArrowInvalid:
                if self._ragged is None:
                    raise
                raise self._other_columns(self._ragged) from None

    def _other_columns(self, row: "pv.InvalidRow") -> TableError:
        """The error of a line that has other columns than the first."""
        start = row.text.partition("\n")[0].rstrip("\r")
        number = _line_of(self.path, self._encoding, start)
        where = f", line {number}" if number else ""
        return TableError(
            f"{self.path}{where} has {several(row.actual_columns, 'column')}, and the first line "
            f"has {row.expected_columns}: {start[:_SHOWN]!r}; put a cell that has a "
            f"{self._delimiter!r} of its own in double quotes, or correct the line"
        )

    def _note_ragged(self, row: "pv.InvalidRow") -> str:
        """Called by pyarrow for a line that has other columns; it keeps the first one."""
        self._ragged = self._ragged or row
        return "error"

    def _found_types(self) -> "dict[str, pa.DataType]":
        """Column -> the narrowest type that holds all of its cells."""
        import pyarrow as pa

        types: dict[str, pa.DataType] = dict(self._told)
        types |= dict.fromkeys(self._texts, pa.string())
        with self._reading():
            while True:
                try:
                    return self._tried(types)
                except pa.ArrowInvalid as error:
                    self._widen(types, error)

    def _tried(self, types: "dict[str, pa.DataType]") -> "dict[str, pa.DataType]":
        """Read all of it with these types, and others that the first block tells.

        Raises:
            TableError: a column twice.
            pyarrow.ArrowInvalid: a cell does not fit.
        """
        import pyarrow as pa

        with self._open(types) as reader:
            names = reader.schema.names
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise TableError(f"{self.path} has two columns {twice!r}: rename one")
            found = {field.name: field.type for field in reader.schema}
            for name, kind in found.items():
                types.setdefault(name, kind)
            rows, last = 0, None
            for batch in reader:
                rows, last = rows + batch.num_rows, batch if batch.num_rows else last
        if self._odd_quotes and last is not None:
            self._check_end(last.slice(last.num_rows - 1).to_pylist()[0])
        _log.info("%s: %d rows, columns parted by %r", self.path, rows, self._delimiter)
        return {name: pa.string() if str(kind) == "null" else kind for name, kind in found.items()}

    def _check_end(self, row: Mapping[str, Any]) -> None:
        """Refuse a file whose last cell is all that stands after a quote that never ends."""
        for cell in row.values():
            if isinstance(cell, str) and "\n" in cell:
                start = cell.partition("\n")[0]
                raise TableError(
                    f"{self.path} has a quote that does not end, before {start!r}: all lines after "
                    "it would be one cell; end it, or take it away"
                )

    def _widen(self, types: "dict[str, pa.DataType]", error: Exception) -> None:
        """Give the column that an error names a wider type.

        Raises:
            TableError: its type is told by the description.
            pyarrow.ArrowInvalid: the error is another one.
        """
        import pyarrow as pa

        match = _WRONG.search(str(error))
        if match is None:
            raise error
        name, value = self._names()[int(match[1])], match[2]
        if name in self._told:
            raise TableError(
                f"{self.path} has {value!r} in column {name!r}, whose type is told to be "
                f"{self._told[name]}: correct it, or tell another type"
            )
        wider = _WIDER.get(str(types[name]), "string")
        types[name] = pa.type_for_alias(wider)

    def _names(self) -> list[str]:
        """The names of all columns."""
        with self._open({}) as reader:
            return list(reader.schema.names)

    def _open(
        self, types: "Mapping[str, pa.DataType]", columns: Sequence[str] | None = None
    ) -> "pv.CSVStreamingReader":
        import pyarrow as pa
        import pyarrow.csv as pv

        return pv.open_csv(
            self.path,
            read_options=pv.ReadOptions(
                block_size=_BLOCK,
                encoding=self._encoding,
                column_names=list(self._header) or None,
            ),
            parse_options=pv.ParseOptions(
                delimiter=self._delimiter,
                newlines_in_values=True,
                invalid_row_handler=self._note_ragged,
            ),
            convert_options=pv.ConvertOptions(
                column_types={**dict.fromkeys(self._texts, pa.string()), **types},
                include_columns=None if columns is None else list(dict.fromkeys(columns)),
            ),
        )


def _as_table(batch: "pa.RecordBatch") -> "pa.Table":
    import pyarrow as pa

    return pa.Table.from_batches([batch])


def _line_of(path: Path, encoding: str, start: str) -> int | None:
    """The number of the first line that is, without its end, as this one."""
    with path.open(encoding=encoding, errors="replace", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if line.rstrip("\r\n") == start:
                return number
    return None


def _first_line(path: Path, encoding: str) -> str:
    with path.open("rb") as file:
        return file.readline(1 << 16).decode(encoding, "replace")


def _look_through(path: Path) -> tuple[str, bool]:
    """(how its text is written, whether it has an odd number of quotes).

    That is UTF-8, UTF-16 with a byte order mark, or else Windows-1252.

    Raises:
        TableError: it is no text.
    """
    decode = codecs.getincrementaldecoder("utf-8")()
    found, quotes = "utf8", 0
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            found = "utf16"
        file.seek(0)
        while block := file.read(_BLOCK):
            quotes += block.count(b'"')
            if found != "utf16" and b"\0" in block:
                raise TableError(f"{path} is no text: a CSV table has one row a line")
            if found == "utf8":
                try:
                    decode.decode(block)
                except UnicodeDecodeError:
                    found = _OTHER_TEXT
    return found, quotes % 2 == 1
