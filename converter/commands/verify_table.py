"""metadata.parquet against the records of a store, and against its manifest."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from patchpress.readers.format.arrow_kinds import plain_table
from patchpress.readers.format.manifest import METADATA, Manifest, file_digest
from patchpress.readers.format.table import checksum_column, flag_mask, presence_column, record_keys
from patchpress.readers.store import Store

if TYPE_CHECKING:
    import pyarrow as pa


class TableProblems(NamedTuple):
    """What the comparison of a table with the records has found."""

    problems: list[str]
    """A sentence for each record that the table does not have, or has with another checksum."""
    damaged: set[str]
    """Keys of the records whose checksum is not that of the table."""


def table_problems(store: Store, keys: list[str], checksums: list[str]) -> TableProblems:
    """Compare the table with the records; `keys` and `checksums` are those of all, as stored."""
    import pyarrow as pa
    import pyarrow.compute as pc

    problems, damaged = [], set[str]()
    stored, sums = pa.array(keys, pa.string()), pa.array(checksums, pa.string())
    listed = []
    for name in store.manifest.modalities:
        named = pa.array(record_keys(store.path, store.manifest, name), pa.string())
        table = store.table(columns=[checksum_column(name), presence_column(name)])
        given = table.filter(table[presence_column(name)])[checksum_column(name)].combine_chunks()
        position = pc.index_in(named, value_set=stored)
        same = pc.fill_null(pc.equal(sums.take(position), given), False)
        for key in named.filter(pc.is_null(position)).to_pylist():
            problems.append(f"record {key} is in metadata.parquet, but not stored")
        for key in named.filter(pc.and_(pc.is_valid(position), pc.invert(same))).to_pylist():
            problems.append(f"record {key} differs from its checksum in metadata.parquet")
            damaged.add(key)
        listed.append(named)
    together = pa.chunked_array(listed, pa.string())
    for key in stored.filter(pc.invert(pc.is_in(stored, value_set=together))).to_pylist():
        problems.append(f"record {key} is stored, but no row of metadata.parquet has it")
    counts = pc.value_counts(together)
    for entry in counts.filter(pc.greater(counts.field("counts"), 1)).to_pylist():
        problems.append(f"record {entry['values']} is in metadata.parquet twice")
    return TableProblems(problems, damaged)


def is_table_as_written(store: Store) -> bool:
    """Whether metadata.parquet is the file that was written with the manifest."""
    return file_digest(store.path / METADATA) == store.manifest.metadata_digest


def manifest_problems(store: Store) -> list[str]:
    """A sentence for each count or class in which the manifest differs from the table."""
    manifest, table = store.manifest, plain_table(store.table())
    problems = []
    if not is_table_as_written(store):
        problems.append("metadata.parquet is not the file that was written with the manifest")
    if len(table) != manifest.rows:
        problems.append(
            f"metadata.parquet has {len(table):,} rows where the manifest counts {manifest.rows:,}"
        )
    if manifest.splits and manifest.split_column not in table.column_names:
        problems.append(f"metadata.parquet has no column {manifest.split_column!r}, the splits")
        has_splits = False
    else:
        has_splits = bool(manifest.splits)
    flags = manifest.flagged.columns
    missing = [name for name in flags if name not in table.column_names]
    if has_splits:
        problems += _split_problems(manifest, table)
    problems += [f"metadata.parquet has no column {name!r}, which flags rows" for name in missing]
    if has_splits and not missing:
        problems += _flag_problems(manifest, table)
    return [*problems, *_unknown_values(manifest, table)]


def _split_problems(manifest: Manifest, table: "pa.Table") -> Iterator[str]:
    import pyarrow.compute as pc

    for split, counts in manifest.splits.items():
        rows = table.filter(pc.equal(table[manifest.split_column], split))
        for name, count in counts.items():
            found = len(rows)
            if name != "rows":
                found = pc.sum(rows[presence_column(name)]).as_py() or 0
            if found != count:
                yield f"split {split} has {found:,} {name} where the manifest counts {count:,}"


def _flag_problems(manifest: Manifest, table: "pa.Table") -> Iterator[str]:
    import pyarrow.compute as pc

    for split, counts in manifest.flagged.splits.items():
        rows = table.filter(pc.equal(table[manifest.split_column], split))
        found = pc.sum(flag_mask(manifest.flagged.columns, rows)).as_py() or 0
        if found != counts["rows"]:
            yield (
                f"split {split} has {found:,} flagged rows where the manifest counts "
                f"{counts['rows']:,}"
            )


def _unknown_values(manifest: Manifest, table: "pa.Table") -> Iterator[str]:
    """A sentence for each class or split in the table that the manifest does not have."""
    import pyarrow.compute as pc

    known = dict(manifest.classes)
    if manifest.splits:
        known[manifest.split_column] = tuple(manifest.splits)
    for column, names in known.items():
        if column not in table.column_names:
            continue
        values = table[column]
        flat = pc.list_flatten(values) if hasattr(values.type, "value_type") else values
        for value in pc.unique(flat).drop_null().to_pylist():
            if isinstance(value, str) and value not in names:
                yield (
                    f"column {column} of metadata.parquet has {value!r}, which the manifest does "
                    "not know"
                )
