"""How many bytes the columns of a Parquet file unfold to, told before any of them is decoded.

A dictionary has each value once, and pages only its number: 50 kB may be 6 GB. What the footer says
of it may be wrong. So the headers of the pages are walked, which decoders go by, too.
"""

from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_PER_VALUE = 16  # bytes of a value besides its text: a number, an offset
_PER_LEVEL = 8  # bytes of a value for each list that it lies in
_FEW = 1 << 20  # bytes about which the longest value of a dictionary is not asked for
_TIMES = 500
"""How many times its bytes in the file a page may unfold to, and all pages those of the file: of
published tables it is 93 times, and 64 with dictionaries unfolded."""
_PAGE, _FILE = 4 << 20, 24 << 20  # bytes that they may unfold to in any case
_HEADER = 8 << 10  # bytes of a page's header, mostly; more if it has long statistics
_LONGEST_HEADER = 1 << 20
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3  # kinds of pages (parquet.thrift, PageType)
_BY_NUMBER = (2, 8)  # encodings: PLAIN_DICTIONARY, RLE_DICTIONARY
_BY_PREFIX = 7  # DELTA_BYTE_ARRAY: each value begins like the one before
_AT_ONCE = 32  # rows that are decoded at a time if each value may be as long as its page
_LONG, _BESIDES = 1024, 8 << 20
"""Tables of more bytes a row, and besides, are decoded so many rows at a time: at once takes three
times their bytes for a moment."""
BUFFER = 1 << 20
"""Bytes of a column that `ParquetFile` should read at a time (`buffer_size`); by default all."""


class Unfolds(Exception):
    """Columns unfold to more bytes than so many rows may have."""

    def __init__(self, nbytes: int, allowed: int) -> None:
        super().__init__(nbytes, allowed)
        self.nbytes, self.allowed = nbytes, allowed


class _PageHeader(NamedTuple):
    kind: int
    nbytes: int
    """After decompression."""
    packed: int
    """In the file."""
    values: int
    encoding: int


def read_bounded(
    file: "pq.ParquetFile",
    path: Path,
    groups: Sequence[int],
    columns: Sequence[str] | None,
    allowed: int,
) -> "pa.Table":
    """Some row groups of a table, all columns or some, by one thread.

    Args:
        file: the table.
        path: where it lies.
        groups: numbers of the row groups.
        columns: their names.
        allowed: bytes that they may unfold to; of a file of few bytes, fewer.

    Raises:
        Unfolds: they unfold to more, or one page to far more than its bytes in the file.
        OSError, pyarrow.ArrowException: as pyarrow; also if its pages have no headers.
    """
    import pyarrow as pa

    allowed = min(allowed, max(_TIMES * path.stat().st_size, _FILE))
    bounds = _Bounds(file, path, columns, allowed)
    with path.open("rb") as opened:
        for number in groups:
            bounds.add(opened, number)
    rows = sum(file.metadata.row_group(number).num_rows for number in groups)
    is_long = bounds.nbytes > _LONG * rows + _BESIDES
    if not (bounds.has_prefixes or is_long):
        return file.read_row_groups(groups, columns=columns, use_threads=False)
    nbytes, at_once = 0, _AT_ONCE if bounds.has_prefixes else _LONG
    batches: list[pa.RecordBatch] = []
    for batch in file.iter_batches(at_once, groups, columns, use_threads=False):
        nbytes += batch.nbytes
        if nbytes > allowed:
            raise Unfolds(nbytes, allowed)
        batches.append(batch)
    if not batches:
        return file.read_row_groups(groups, columns=columns, use_threads=False)
    table = pa.Table.from_batches(batches)
    return table.combine_chunks() if bounds.has_prefixes else table


class _Bounds:
    """What columns unfold to at most, as far as the headers of their pages tell."""

    def __init__(
        self, file: "pq.ParquetFile", path: Path, columns: Sequence[str] | None, allowed: int
    ) -> None:
        self._file, self._path, self._columns, self._allowed = file, path, columns, allowed
        self.nbytes = 0
        """What the row groups that were added unfold to."""
        self.has_prefixes = False
        """Whether only decoding tells how long the values of a page are."""

    def add(self, opened: BufferedReader, number: int) -> None:
        """Add a row group.

        Raises:
            Unfolds: it is too much.
            pyarrow.ArrowInvalid: its pages have no headers.
        """
        group = self._file.metadata.row_group(number)
        for at in range(group.num_columns):
            chunk, column = group.column(at), self._file.schema.column(at)
            if not self._is_read(chunk.path_in_schema):
                continue
            each = _PER_VALUE + _PER_LEVEL * column.max_repetition_level
            numbered = dictionary = 0
            for page in _pages(opened, chunk):
                most = max(_TIMES * page.packed, _PAGE)
                if page.nbytes > most:
                    raise Unfolds(page.nbytes, min(most, self._allowed))
                if page.kind == _DICTIONARY:
                    dictionary = page.nbytes
                    continue
                self._count(page.nbytes + each * page.values)
                numbered += page.values if page.encoding in _BY_NUMBER else 0
                self.has_prefixes |= page.encoding == _BY_PREFIX
            if numbered * dictionary <= _FEW:
                continue  # whatever is in it
            longest = max(column.length, 8)
            if chunk.physical_type == "BYTE_ARRAY":
                longest = _longest(self._path, number, chunk.path_in_schema, dictionary)
            self._count(numbered * longest)

    def _is_read(self, path: str) -> bool:
        return self._columns is None or any(
            path == name or path.startswith(f"{name}.") for name in self._columns
        )

    def _count(self, nbytes: int) -> None:
        self.nbytes += nbytes
        if self.nbytes > self._allowed:
            raise Unfolds(self.nbytes, self._allowed)


def _longest(file: Path, number: int, path: str, most: int) -> int:
    """The bytes of the longest value of a column's dictionary; `most` if that is not known."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, read_dictionary=[path]) as alone:
        batch = next(alone.iter_batches(1, [number], [path], use_threads=False), None)
    values: Any = batch.column(0) if batch is not None else None
    while values is not None and not isinstance(values, pa.DictionaryArray):
        is_list = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
        values = values.values if is_list else None
    if values is None or not len(values.dictionary):
        return most
    return int(pc.max(pc.binary_length(values.dictionary)).as_py() or 0)


def _pages(file: BufferedReader, chunk: "pq.ColumnChunkMetaData") -> Iterator[_PageHeader]:
    """The pages of a column in a row group, as far as they have its values.

    Raises:
        pyarrow.ArrowInvalid: they have no headers.
    """
    at = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < at:
        at = chunk.dictionary_page_offset
    end, values = at + chunk.total_compressed_size, 0
    while at < end and values < chunk.num_values:
        header, length = _header(file, at)
        kind, nbytes, packed = (_whole(header.get(field)) for field in (1, 2, 3))
        said = header.get({_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}.get(kind, 0), {})
        if not isinstance(said, dict):
            raise _no_header()
        count = _whole(said.get(1, 0))
        encoding = _whole(said.get(4 if kind == _DATA_V2 else 2, 0))
        at += length + packed
        if said:  # others are passed over by decoders
            values += count if kind != _DICTIONARY else 0
            yield _PageHeader(kind, nbytes, packed, count, encoding)


def _header(file: BufferedReader, at: int) -> tuple[dict[int, Any], int]:
    """What the header of a page says, and its length."""
    size = _HEADER
    while True:
        file.seek(at)
        data = file.read(size)
        try:
            return _Compact(data).struct()
        except IndexError:
            if len(data) < size or size > _LONGEST_HEADER:
                raise _no_header() from None
            size *= 16


def _no_header() -> "pa.ArrowInvalid":
    import pyarrow as pa

    return pa.ArrowInvalid("the header of a page does not parse")


def _whole(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise _no_header()
    return value


class _Compact:
    """Reads Thrift's compact protocol, as far as headers of pages need it."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self, depth: int = 0) -> tuple[dict[int, Any], int]:
        """The fields of a struct by number, and where it ends.

        Raises:
            IndexError: the data is cut.
            pyarrow.ArrowInvalid: it is no struct.
        """
        found: dict[int, Any] = {}
        field = 0
        while byte := self._byte():
            step, kind = byte >> 4, byte & 15
            field = field + step if step else self._signed()
            found[field] = self._value(kind, depth)
        return found, self._at

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 7:
            return self._skip(8)
        if kind == 8:
            return self._skip(self._unsigned())
        if kind == 12 and depth < 8:
            return self.struct(depth + 1)[0]
        raise _no_header()

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at > len(self._data):
            raise IndexError(self._at)

    def _unsigned(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise _no_header()
        return value | byte << shift

    def _signed(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)
