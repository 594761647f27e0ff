"""Writes metadata.parquet, or gives its bytes, unless readers would refuse it."""

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from patchpress.converter.tables.geoparquet import geo_table
from patchpress.converter.text import several, size
from patchpress.readers.errors import TableError
from patchpress.readers.format.footprint_columns import without_footprints
from patchpress.readers.format.table_file import allowed_bytes
from patchpress.readers.format.whole_file import whole_file

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 122_880
"""Rows in a row group of a table without footprints, as many as the official tables have."""
CODEC = "zstd"
_OF_A_FOOTPRINT = 250
"""Bytes of a row that footprints add, as readers count them, if edges are not long."""


def write_metadata(path: Path, rows: "pa.Table") -> None:
    """Write the table, whole or not at all, and flush it to the disk.

    Raises:
        TableError: its rows are so long that readers would refuse the table.
        OSError: the folder cannot be written.
    """
    _require_readable(path, rows)
    with whole_file(path) as file:
        _write(rows, file)


def metadata_bytes(path: Path, rows: "pa.Table") -> "pa.Buffer":
    """What `write_metadata` would write.

    Raises:
        TableError: as `write_metadata`.
    """
    import pyarrow as pa

    _require_readable(path, rows)
    sink = pa.BufferOutputStream()
    _write(rows, sink)
    return sink.getvalue()


def _write(rows: "pa.Table", file: "BinaryIO | pa.NativeFile") -> None:
    import pyarrow.parquet as pq

    table = geo_table(rows)
    if table is None:
        rows = without_footprints(rows)
        pq.write_table(rows, file, compression=CODEC, row_group_size=ROW_GROUP)
        return
    with pq.ParquetWriter(file, table.schema, compression=CODEC, **table.encodings()) as writer:
        for group in table.groups():
            writer.write_table(group)


def _require_readable(path: Path, rows: "pa.Table") -> None:
    """Refuse a table that readers would refuse.

    Raises:
        TableError: its rows are too long.
    """
    allowed = allowed_bytes(len(rows))
    nbytes = sum(_unfolded(column) for column in rows.columns) + _OF_A_FOOTPRINT * len(rows)
    if nbytes > allowed - allowed // 16:
        longest = max(rows.column_names, key=lambda name: _unfolded(rows[name]))
        raise TableError(
            f"{path} would unfold to {size(nbytes)} in {several(len(rows), 'row')}, and readers "
            f"take {size(allowed)}: store no column {longest!r}, or give it shorter values"
        )


def _unfolded(column: "pa.ChunkedArray") -> int:
    """About as many bytes as readers count for a column: its own, and 16 to 24 a value."""
    import pyarrow.compute as pc
    import pyarrow.types as pt

    values = len(column)
    if pt.is_list(column.type) or pt.is_large_list(column.type):
        values += int(pc.sum(pc.list_value_length(column)).as_py() or 0)
    return int(column.nbytes) + 24 * values
