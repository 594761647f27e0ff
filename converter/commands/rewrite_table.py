"""Writes a Parquet table again with another column, whole or not at all."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.tables.splits import split_by_position
from patchpress.converter.tables.tablefiles import check_size, read_group, reading
from patchpress.readers.errors import SourceMissing, TableError, TargetError
from patchpress.readers.format.parquet_footer import chunks_of

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

Strategy = Callable[["pa.ChunkedArray"], "pa.Array"]
"""Names of patches to their splits, both strings."""


def rewrite_table(
    table: StrPath,
    out: StrPath | None = None,
    *,
    strategy: Strategy = split_by_position,
    identity: str = "patch_id",
    column: str = "split",
) -> dict[str, int]:
    """Write a Parquet table again with another split column, which is added last if it lacks one.

    Every other column, all types, metadata, row groups and the order of the rows stay. The file
    appears by rename, so it is whole if it is there. One row group is in memory at a time.

    Args:
        table: Parquet file.
        out: file to write; the table itself for None.
        strategy: gives the splits for the names of one row group.
        identity: column with the names.
        column: column to write.

    Returns:
        Split -> rows, sorted; rows without a split are not counted.

    Raises:
        SourceMissing: no such table.
        TableError: no Parquet file, a column missing, doubled or of another type, or a name that
            the strategy refuses.
        TargetError: `out` cannot be written.
    """
    counts: Counter[str] = Counter()
    # If it is a link, the file that it points to is replaced.
    path = local_path(table)
    target = Path(os.path.realpath(path if out is None else local_path(out)))
    with _opened(path) as opened:
        schema = _check(path, opened.schema_arrow, identity, column)
        with _replaced(target) as partial, _writer(partial, schema, path, opened) as writer:
            for index in range(opened.num_row_groups):
                with reading(path):
                    group = read_group(path, opened, index)
                splits = _assigned(path, strategy, group[identity])
                counts.update(value for value in splits.to_pylist() if value is not None)
                writer.write_table(
                    _with_column(group, schema, column, splits), row_group_size=max(1, len(group))
                )
    return dict(sorted(counts.items()))


def _with_column(
    group: "pa.Table", schema: "pa.Schema", column: str, values: "pa.Array"
) -> "pa.Table":
    """A table with a schema, whose `column` has these values."""
    import pyarrow as pa

    position = schema.get_field_index(column)
    kind = schema.field(position).type
    if pa.types.is_dictionary(kind):
        values = values.dictionary_encode()
    columns = [group[name] for name in schema.names if name != column]
    columns.insert(position, values.cast(kind))
    return pa.Table.from_arrays(columns, schema=schema)


def _assigned(path: Path, strategy: Strategy, names: "pa.ChunkedArray") -> "pa.Array":
    try:
        return strategy(names)
    except TableError as error:
        raise TableError(f"{path}: {error}") from None


def _check(path: Path, schema: "pa.Schema", identity: str, column: str) -> "pa.Schema":
    """The schema with a split column, checked."""
    import pyarrow as pa

    if identity not in schema.names:
        raise TableError(
            f"{path} has no column {identity!r} to split by; it has {', '.join(schema.names)}"
        )
    doubled = next((name for name, n in Counter(schema.names).items() if n > 1), None)
    if doubled is not None:
        raise TableError(f"{path} has two columns {doubled!r}: rename one")
    for name in (identity, column):
        kind = schema.field(name).type if name in schema.names else pa.string()
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise TableError(f"{path} has {kind} in column {name!r}, which must be strings")
    return schema if column in schema.names else schema.append(pa.field(column, pa.string()))


@contextmanager
def _opened(path: Path) -> Iterator["pq.ParquetFile"]:
    import pyarrow.parquet as pq

    with reading(path):
        file = pq.ParquetFile(path)
    check_size(path, file.metadata)
    with file:
        yield file


@contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    """A new file beside the target: it replaces the target, or is removed if there is an error."""
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        # An error of ours that is also an OSError says better what is wrong.
        if isinstance(error, SourceMissing):
            raise
        reason = error.strerror or error
        raise TargetError(f"{target} cannot be written ({reason}): give another --out") from None
    finally:
        with suppress(OSError):
            partial.unlink()


@contextmanager
def _writer(
    partial: Path, schema: "pa.Schema", path: Path, like: "pq.ParquetFile"
) -> Iterator["pq.ParquetWriter"]:
    """A writer that compresses as the table `like`, which lies at `path`, does."""
    import pyarrow.parquet as pq

    with reading(path):
        chunks = chunks_of(like, path)
    codec = chunks[0][0].codec if chunks and chunks[0] else "ZSTD"
    with pq.ParquetWriter(partial, schema, compression=codec) as writer:
        yield writer
