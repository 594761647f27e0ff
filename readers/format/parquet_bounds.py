"""How many bytes the columns of a Parquet file unfold to, told before any of them is decoded.

A dictionary has each value once, and pages only its number: 50 kB may be 6 GB. What the footer says
of it may be wrong. So the headers of the pages are walked, which decoders go by, too.
"""

from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from patchpress.readers.format.parquet_footer import ColumnChunk, chunks_of
from patchpress.readers.format.thrift import CompactReader, NotThrift, whole

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
    """-1 if it has no values."""


def read_bounded(
    file: "pq.ParquetFile",
    path: Path,
    groups: Sequence[int],
    columns: Sequence[str] | None,
    allowed: int,
    *,
    known: bool = False,
) -> "pa.Table":
    """Some row groups of a table, all columns or some, by one thread.

    Args:
        file: the table.
        path: where it lies.
        groups: numbers of the row groups.
        columns: their names.
        allowed: bytes that they may unfold to; of a file of few bytes, fewer.
        known: whether the file was compared with its digest. If not, its footer is read with more
            care, which takes longer.

    Raises:
        Unfolds: they unfold to more, or one page to far more than its bytes in the file.
        OSError, pyarrow.ArrowException: as pyarrow; also if its pages have no headers.
    """
    import pyarrow as pa

    allowed = min(allowed, max(_TIMES * path.stat().st_size, _FILE))
    with path.open("rb") as opened, _Bounds(file, path, columns, allowed) as bounds:
        chunks = None if known else chunks_of(file, path)
        for number in groups:
            bounds.add(opened, number, None if chunks is None else chunks[number])
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
        self._file, self._path, self._allowed = file, path, allowed
        schema = file.schema
        leaves = ((at, schema.column(at)) for at in range(len(schema)))
        self._read = [(at, leaf) for at, leaf in leaves if _is_read(leaf.path, columns)]
        self._dictionaries: dict[str, pq.ParquetFile] = {}
        """Leaf -> the file as one whose values of it are numbers of a dictionary's."""
        self.nbytes = 0
        """What the row groups that were added unfold to."""
        self.has_prefixes = False
        """Whether only decoding tells how long the values of a page are."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._dictionaries.values():
            file.close()

    def add(
        self, opened: BufferedReader, number: int, chunks: Sequence[ColumnChunk] | None
    ) -> None:
        """Add a row group, whose columns are `chunks`; None if pyarrow may be asked for them.

        Raises:
            Unfolds: it is too much.
            pyarrow.ArrowInvalid: its pages have no headers.
        """
        group = self._file.metadata.row_group(number)
        for at, column in self._read:
            chunk = ColumnChunk.of(group.column(at)) if chunks is None else chunks[at]
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
            if chunk.is_text:
                longest = self._longest(number, column.path, dictionary)
            self._count(numbered * longest)

    def _longest(self, number: int, path: str, most: int) -> int:
        """The bytes of the longest value of a column's dictionary; `most` if that is not known."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        if path not in self._dictionaries:
            self._dictionaries[path] = pq.ParquetFile(
                self._path, metadata=self._file.metadata, read_dictionary=[path]
            )
        alone = self._dictionaries[path]
        batch = next(alone.iter_batches(1, [number], [path], use_threads=False), None)
        values: Any = batch.column(0) if batch is not None else None
        while values is not None and not isinstance(values, pa.DictionaryArray):
            is_list = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
            values = values.values if is_list else None
        if values is None or not len(values.dictionary):
            return most
        return int(pc.max(pc.binary_length(values.dictionary)).as_py() or 0)

    def _count(self, nbytes: int) -> None:
        self.nbytes += nbytes
        if self.nbytes > self._allowed:
            raise Unfolds(self.nbytes, self._allowed)


def _is_read(path: str, columns: Sequence[str] | None) -> bool:
    """Whether a leaf belongs to one of the columns."""
    return columns is None or any(path == name or path.startswith(f"{name}.") for name in columns)


def _pages(file: BufferedReader, chunk: ColumnChunk) -> Iterator[_PageHeader]:
    """The pages of a column in a row group, as far as they have its values.

    Raises:
        pyarrow.ArrowInvalid: they have no headers.
    """
    at = chunk.data
    if 0 < chunk.dictionary < at:
        at = chunk.dictionary
    end, values = at + chunk.packed, 0
    while at < end and values < chunk.values:
        try:
            page, length = _page(*_header(file, at))
        except NotThrift:
            import pyarrow as pa

            raise pa.ArrowInvalid("the header of a page does not parse") from None
        at += length + page.packed
        if page.encoding >= 0:  # others are passed over by decoders
            values += page.values if page.kind != _DICTIONARY else 0
            yield page


def _page(header: dict[int, Any], length: int) -> tuple[_PageHeader, int]:
    """What a header says, and its length.

    Raises:
        NotThrift: something in it is of another kind.
    """
    kind, nbytes, packed = (whole(header.get(field)) for field in (1, 2, 3))
    said = header.get({_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}.get(kind, 0), {})
    if not isinstance(said, dict):
        raise NotThrift
    count = whole(said.get(1, 0))
    encoding = whole(said.get(4 if kind == _DATA_V2 else 2, 0)) if said else -1
    return _PageHeader(kind, nbytes, packed, count, encoding), length


def _header(file: BufferedReader, at: int) -> tuple[dict[int, Any], int]:
    """What the header of a page says, and its length."""
    size = _HEADER
    while True:
        file.seek(at)
        data = file.read(size)
        try:
            return CompactReader(data).struct()
        except IndexError:
            if len(data) < size or size > _LONGEST_HEADER:
                raise NotThrift from None
            size *= 16
