"""What the footer of a Parquet file says of its columns, read without pyarrow.

pyarrow's `RowGroupMetaData.column` ends the process, instead of raising an error, if what a footer
says of a column contradicts itself (seen with 26.0.1, for a flipped bit in the sizes of levels).
So it is asked only for files that were compared with their digests.
"""

import os
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from weakref import WeakKeyDictionary

from patchpress.readers.format.thrift import CompactReader, NotThrift, whole

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_END = 8  # bytes after the footer: its length, and PAR1
_BYTE_ARRAY = 6  # number of a physical type (parquet.thrift, Type)
_CODECS = ("NONE", "SNAPPY", "GZIP", "LZO", "BROTLI", "LZ4", "ZSTD", "LZ4")
"""By number (parquet.thrift, CompressionCodec), as a writer of pyarrow takes them."""


# Of files that are open: a table of many row groups is read group by group.
_read: "WeakKeyDictionary[pq.ParquetFile, list[list[ColumnChunk]]]" = WeakKeyDictionary()


class ColumnChunk(NamedTuple):
    """A column of a row group."""

    is_text: bool
    """Whether its values are bytes of any length."""
    codec: str
    values: int
    unfolded: int
    """Bytes of its pages after decompression, as the footer says."""
    packed: int
    """Bytes in the file."""
    data: int
    """Where its first page of values lies in the file."""
    dictionary: int
    """Where its dictionary lies; 0 if it has none."""

    @classmethod
    def of(cls, chunk: "pq.ColumnChunkMetaData") -> Self:
        """What pyarrow says of one."""
        return cls(
            is_text=chunk.physical_type == "BYTE_ARRAY",
            codec=chunk.compression,
            values=chunk.num_values,
            unfolded=chunk.total_uncompressed_size,
            packed=chunk.total_compressed_size,
            data=chunk.data_page_offset,
            dictionary=chunk.dictionary_page_offset if chunk.has_dictionary_page else 0,
        )


def chunks_of(file: "pq.ParquetFile", path: Path) -> list[list[ColumnChunk]]:
    """The columns of each row group of a file that pyarrow has open; its footer is read once.

    Args:
        file: the file.
        path: where it lies.

    Raises:
        pyarrow.ArrowInvalid, OSError: as `column_chunks`.
    """
    found = _read.get(file)
    if found is None:
        with path.open("rb") as opened:
            found = column_chunks(opened, file.num_row_groups, len(file.schema))
        _read[file] = found
    return found


def column_chunks(file: BufferedReader, groups: int, leaves: int) -> list[list[ColumnChunk]]:
    """The columns of each row group, in the order of the schema's leaves.

    Args:
        file: of Parquet.
        groups: how many row groups pyarrow counts.
        leaves: how many columns it counts in each.

    Raises:
        pyarrow.ArrowInvalid: the footer does not parse, or has others.
        OSError: the file cannot be read.
    """
    import pyarrow as pa

    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - _END, 0))
    end = file.read(_END)
    length = int.from_bytes(end[:4], "little")
    if len(end) < _END or length > size - _END:
        raise pa.ArrowInvalid("its footer is cut")
    file.seek(size - _END - length)
    try:
        footer, _ = CompactReader(file.read(length)).struct()
        found = [[_chunk(one) for one in _listed(group, 1)] for group in _listed(footer, 4)]
    except (IndexError, NotThrift):
        raise pa.ArrowInvalid("its footer does not parse") from None
    if [len(group) for group in found] != [leaves] * groups:
        raise pa.ArrowInvalid("its footer lacks a column, or has one too many")
    return found


def _listed(struct: Any, field: int) -> list[Any]:
    found = struct.get(field) if isinstance(struct, dict) else None
    if not isinstance(found, list):
        raise NotThrift
    return found


def _chunk(struct: Any) -> ColumnChunk:
    facts = struct.get(3) if isinstance(struct, dict) else None
    if not isinstance(facts, dict):
        raise NotThrift
    codec = whole(facts.get(4))
    if codec >= len(_CODECS):
        raise NotThrift
    return ColumnChunk(
        is_text=whole(facts.get(1)) == _BYTE_ARRAY,
        codec=_CODECS[codec],
        values=whole(facts.get(5)),
        unfolded=whole(facts.get(6)),
        packed=whole(facts.get(7)),
        data=whole(facts.get(9)),
        dictionary=whole(facts.get(11, 0)),
    )
