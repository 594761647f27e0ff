"""Opens metadata.parquet: compared with its digest, and bounded before any of it is unfolded."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchpress.readers.errors import NO_DESCRIPTORS, OptionError, StoreDamaged, cannot_read
from patchpress.readers.format.arrow_kinds import plain_type
from patchpress.readers.format.footprint_columns import names_without_footprints, said_rightly
from patchpress.readers.format.manifest import METADATA, Manifest
from patchpress.readers.format.parquet_bounds import BUFFER, Unfolds, read_bounded
from patchpress.readers.format.shown_paths import shown
from patchpress.readers.format.store_files import open_regular, require_inside
from patchpress.readers.hints import hint

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BYTES_OF_A_ROW, BYTES_BESIDES = 2 << 10, 24 << 20
"""A table may have so many bytes a row, and so many besides: those of published data sets have 590
a row at most, with what a store adds."""
_Seen = tuple[int, int, int, int, str]

# Tables that this process has compared with their digests; a reader opens its table many times.
_compared: dict[Path, _Seen] = {}
_lenient: set[Path] = set()


@contextmanager
def any_table(store: Path) -> Iterator[None]:
    """Read the table of a store meanwhile though it is not the one that the manifest was made with.

    For `verify`, which says what differs.
    """
    path = store / METADATA
    _lenient.add(path)
    try:
        yield
    finally:
        _lenient.discard(path)


def read_columns(
    store: Path,
    manifest: Manifest,
    columns: Sequence[str] | None,
    needed: Sequence[str],
    kinds: Mapping[str, str],
) -> tuple[list[str], "pa.Table"]:
    """(the columns asked for, the table with these and the needed ones).

    For None all are asked for but those of footprints.

    Args:
        store: the folder.
        manifest: the store's; the table has its number of rows and its digest.
        columns: names that a user asked for.
        needed: names that must be there.
        kinds: column -> `bool` or `text`, for those that the format defines.

    Raises:
        OptionError: a column that was asked for and is not there.
        StoreDamaged: the table is absent, no Parquet file, another one than was written, or a
            column is not of its kind.
        StoreUnreadable: there are no file descriptors left.
    """
    with _opened_table(store, manifest, kinds) as (file, path, names):
        for column in columns or ():
            if column not in names and column not in kinds:
                raise OptionError(f"{shown(path)} has no column {column!r}; {hint(column, names)}")
        wanted = list(columns) if columns is not None else names_without_footprints(names)
        read = list(dict.fromkeys([*wanted, *needed]))
        missing = next((column for column in read if column not in names), None)
        if missing is not None:
            raise _damaged(path, f"it has no column {missing!r}")
        groups = list(range(file.num_row_groups))
        # One thread: the table is small, and a reader should not start a pool of them.
        allowed = allowed_bytes(manifest.rows)
        found = read_bounded(file, path, groups, read, allowed, known=path not in _lenient)
        return wanted, said_rightly(found)


def column_names(store: Path, manifest: Manifest, kinds: Mapping[str, str]) -> list[str]:
    """The names of all columns but footprints; no column is read.

    Raises:
        StoreDamaged, StoreUnreadable: as `read_columns`.
    """
    with _opened_table(store, manifest, kinds) as (_, _, names):
        return names_without_footprints(names)


def read_row(
    store: Path, manifest: Manifest, number: int, kinds: Mapping[str, str]
) -> dict[str, Any]:
    """All columns but footprints of one row; only the group of rows that it lies in is read.

    Raises:
        StoreDamaged, StoreUnreadable: as `read_columns`.
    """
    with _opened_table(store, manifest, kinds) as (file, path, names):
        read = names_without_footprints(names)
        ends = accumulate(file.metadata.row_group(n).num_rows for n in range(file.num_row_groups))
        group, end = next((n, end) for n, end in enumerate(ends) if number < end)
        allowed = allowed_bytes(manifest.rows)
        rows = read_bounded(file, path, [group], read, allowed, known=path not in _lenient)
        (found,) = rows.slice(number - (end - len(rows)), 1).to_pylist()
        return dict(found)


@contextmanager
def _opened_table(
    store: Path, manifest: Manifest, kinds: Mapping[str, str]
) -> Iterator[tuple["pq.ParquetFile", Path, list[str]]]:
    """The table, compared with its digest, its path and the names of its columns.

    In this block errors of the file become those that `read_columns` names.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = require_inside(store, METADATA)
    try:
        with open(open_regular(path), "rb") as opened:
            _require_digest(opened, path, manifest)
        # By its name: pyarrow's own threads then call no Python, which may be ending.
        with pq.ParquetFile(path, buffer_size=BUFFER) as file:
            yield file, path, _checked_names(file, path, manifest, kinds)
    except Unfolds as error:
        raise _damaged(
            path, f"it unfolds to {error.nbytes:,} bytes or more of {manifest.rows:,} rows"
        ) from None
    except MemoryError:  # pyarrow's, too: the table is not damaged
        raise
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno in NO_DESCRIPTORS:
            raise cannot_read(path, error) from None
        known = error.strerror if isinstance(error, OSError) else None
        reason = known or (str(error).splitlines() or [type(error).__name__])[0]
        raise _damaged(path, reason) from None


def _require_digest(file: BufferedReader, path: Path, manifest: Manifest) -> None:
    """Compare a table with its digest, once a process: a flipped bit is a wrong label or split.

    Raises:
        StoreDamaged: they differ.
    """
    status = os.fstat(file.fileno())
    if status.st_size > allowed_bytes(manifest.rows):
        raise _damaged(path, f"it has {status.st_size:,} bytes for {manifest.rows:,} rows")
    wanted = manifest.metadata_digest
    seen = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, wanted
    if path in _lenient or _compared.get(path) == seen:
        return
    if f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" != wanted:
        raise StoreDamaged(
            f"{shown(path)} is not the file that was written with the manifest: open the store "
            "again if it was written anew since it was opened, run `patchpress index` on it if "
            "that was interrupted, else copy or convert it again"
        )
    _compared[path] = seen


def allowed_bytes(rows: int) -> int:
    """Bytes that the table of a store with so many rows may unfold to."""
    return BYTES_OF_A_ROW * rows + BYTES_BESIDES


def _checked_names(
    file: "pq.ParquetFile", path: Path, manifest: Manifest, kinds: Mapping[str, str]
) -> list[str]:
    """The names of a table's columns, if it has no more in it than the manifest says.

    Raises:
        StoreDamaged: another number of rows, more bytes than so many rows take, a name twice, or
            a column that is not of its kind.
    """
    facts, schema = file.metadata, file.schema_arrow
    most = 2 * manifest.rows + 10_000 if path in _lenient else manifest.rows
    if facts.num_rows > most or (facts.num_rows < most and path not in _lenient):
        raise _damaged(
            path, f"it has {facts.num_rows:,} rows where the manifest counts {manifest.rows:,}"
        )
    groups = [facts.row_group(number) for number in range(facts.num_row_groups)]
    nbytes = sum(group.total_byte_size for group in groups)
    if nbytes > allowed_bytes(facts.num_rows):
        raise _damaged(path, f"it unfolds to {nbytes:,} bytes of {facts.num_rows:,} rows")
    if sum(group.num_rows for group in groups) != facts.num_rows:
        raise _damaged(path, "its parts have other numbers of rows than it says")
    names: list[str] = list(schema.names)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _damaged(path, f"it has a column {twice!r} twice")
    for name in names:
        if name in kinds and not _is_of(kinds[name], schema.field(name).type):
            found = str(schema.field(name).type).splitlines()[0]
            raise _damaged(path, f"its column {name!r} must be {kinds[name]}, not {found}")
    return names


def _is_of(kind: str, found: "pa.DataType") -> bool:
    import pyarrow.types as pt

    plain = plain_type(found)
    return bool(pt.is_boolean(plain) if kind == "bool" else pt.is_string(plain))


def _damaged(path: Path, reason: str) -> StoreDamaged:
    return StoreDamaged(f"{shown(path)} cannot be read ({reason}): copy or convert the store again")
