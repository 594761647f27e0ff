"""The files of splits: published lists of names, and tables whose split column is written anew."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.splits import by_position
from readers.errors import SourceMissing, TableError, TargetError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

Strategy = Callable[["pa.ChunkedArray"], "pa.Array"]


def read_list(path: Path) -> list[str]:
    """The names of a list: one a line, or the first of two columns; no header.

    Lines may end in CRLF; blank ones do not count. A name stays as it is, with any ``.tif``.

    Raises:
        SourceMissing: no such file.
        TableError: no text, more than two columns, a name twice, or no name at all.
    """
    return _distinct(path, [fields[0] for fields in _lines(path)])


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """The pairs of a list of two columns with a comma between them; else as `read_list`.

    Raises:
        SourceMissing: no such file.
        TableError: as `read_list`, and a line without a second column.
    """
    lines = _lines(path)
    for fields in lines:
        if len(fields) != 2:
            raise TableError(f"{path} has no second column beside {fields[0]!r}")
    first, second = (_distinct(path, [fields[side] for fields in lines]) for side in (0, 1))
    return list(zip(first, second, strict=True))


def _lines(path: Path) -> list[list[str]]:
    try:
        # Some editors put a byte order mark before the first name.
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SourceMissing(f"there is no list {path}") from None
    except UnicodeDecodeError:
        raise TableError(f"{path} is no text: a list has one name a line") from None
    except OSError as error:
        raise TableError(f"{path} cannot be read as a list: {error.strerror}") from None
    if "\0" in text:
        raise TableError(f"{path} is no text: a list has one name a line")
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        fields = [name.strip() for name in line.split(",")]
        if fields == [""]:
            continue
        if len(fields) > 2 or not all(fields):
            raise TableError(f"{path}, line {number} has not one name or two: {line.strip()!r}")
        lines.append(fields)
    if not lines:
        raise TableError(f"{path} has no names in it")
    return lines


def _distinct(path: Path, names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise TableError(f"{path} lists {twice} twice: remove one of the lines")
    return names


def rewrite_table(
    path: Path,
    out: Path | None = None,
    strategy: Strategy = by_position,
    *,
    identity: str = "patch_id",
    column: str = "split",
) -> dict[str, int]:
    """Write a Parquet table again with another split column, which is added last where it lacks.

    Every other column, all types, metadata, row groups and the order of the rows stay. The file
    appears by rename: whole, or not at all. One row group lies in memory at a time. `strategy`
    makes of a row group's names their splits, strings; `out` is the table itself by default.

    Returns:
        Split -> rows, sorted; rows without a split are not counted.

    Raises:
        SourceMissing: no such table.
        TableError: no Parquet file, a column missing, doubled or of another type, or a name that
            the strategy refuses.
        TargetError: `out` cannot be written.
    """
    counts: Counter[str] = Counter()
    # A link stays one: what it points to is replaced.
    target = Path(os.path.realpath(path if out is None else out))
    with _opened(path) as table:
        schema = _check(path, table.schema_arrow, identity, column)
        with _replaced(target) as partial, _writer(partial, schema, table) as writer:
            for index in range(table.num_row_groups):
                with _reading(path):
                    group = table.read_row_group(index)
                splits = _assigned(path, strategy, group[identity])
                counts.update(value for value in splits.to_pylist() if value is not None)
                writer.write_table(
                    _with_column(group, schema, column, splits), row_group_size=max(1, len(group))
                )
    return dict(sorted(counts.items()))


def _with_column(
    group: "pa.Table", schema: "pa.Schema", column: str, values: "pa.Array"
) -> "pa.Table":
    """The table under a schema with `column`, whose values are these."""
    import pyarrow as pa

    at = schema.get_field_index(column)
    kind = schema.field(at).type
    if pa.types.is_dictionary(kind):
        values = values.dictionary_encode()
    columns = [group[name] for name in schema.names if name != column]
    columns.insert(at, values.cast(kind))
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

    with _reading(path):
        file = pq.ParquetFile(path)
    with file:
        yield file


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:
        raise SourceMissing(f"there is no table {path}") from None
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise TableError(f"{path} cannot be read as a Parquet table ({reason})") from None


@contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    """A new file beside the target that becomes it at a good end, and goes away at any other."""
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        # Our own errors may be builtins, too; those know better.
        if isinstance(error, SourceMissing):
            raise
        reason = error.strerror or error
        raise TargetError(f"{target} cannot be written ({reason}): give another --out") from None
    finally:
        with suppress(OSError):
            partial.unlink()


@contextmanager
def _writer(partial: Path, schema: "pa.Schema", like: Any) -> Iterator["pq.ParquetWriter"]:
    """A writer that compresses as the table does."""
    import pyarrow.parquet as pq

    codec = "ZSTD"
    if like.num_row_groups and like.metadata.num_columns:
        codec = like.metadata.row_group(0).column(0).compression
    codec = {"UNCOMPRESSED": "NONE"}.get(codec, codec)
    with pq.ParquetWriter(partial, schema, compression=codec) as writer:
        yield writer
