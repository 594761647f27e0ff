"""metadata.parquet: one row a patch, as pyarrow tables. pyarrow is imported on first use."""

from collections.abc import Sequence
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING

from patchpress.readers.errors import (
    NO_DESCRIPTORS,
    OptionError,
    SelectionEmpty,
    StoreDamaged,
    cannot_read,
)
from patchpress.readers.format.manifest import METADATA, Manifest, Modality

if TYPE_CHECKING:
    import pyarrow as pa

SPLIT_ALIASES = {"val": "validation", "valid": "validation"}  # what loaders elsewhere call it


def split_name(manifest: Manifest, split: str) -> str:
    """The store's own name of a split; `val` is understood as `validation`.

    Raises:
        SelectionEmpty: the store has no patch in such a split.
    """
    name = split if split in manifest.splits else SPLIT_ALIASES.get(split, split)
    if name not in manifest.splits:
        there = ", ".join(manifest.splits) or "none: it was converted without splits"
        raise SelectionEmpty(f"no patch of the store is in split {split!r}; splits there: {there}")
    return name


def read_table(
    store: Path,
    manifest: Manifest,
    split: str | None = None,
    columns: Sequence[str] | None = None,
    modality: str | None = None,
) -> "pa.Table":
    """Rows of metadata.parquet, by split and by presence of a modality, in file order.

    Raises:
        SelectionEmpty: a split or modality that the store does not have.
        OptionError: a column that the table does not have.
        StoreDamaged: the table is absent or no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = store / METADATA
    masks: dict[str, str | None] = {}
    if split is not None:
        masks[manifest.split_column] = split_name(manifest, split)
    if modality is not None:
        masks[presence_column(manifest.modality(modality).name)] = None
    try:
        # One thread: the table is small, and a reader should not start a pool of them.
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for column in columns or ():
                if column not in names:
                    raise OptionError(f"{path} has no column {column!r}; it has {', '.join(names)}")
            wanted = list(columns) if columns is not None else names
            rows = file.read([*wanted, *(masks.keys() - set(wanted))], use_threads=False)
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno in NO_DESCRIPTORS:
            raise cannot_read(path, error) from None
        reason = str(error).splitlines()[0]
        raise StoreDamaged(
            f"{path} cannot be read ({reason}): copy or convert the store again"
        ) from None
    for column, value in masks.items():
        rows = rows.filter(rows[column] if value is None else pc.equal(rows[column], value))
    return rows.select(wanted)


def presence_column(modality: str) -> str:
    """The column that says whether a row's patch has a record of the modality."""
    return f"has_{modality}"


def checksum_column(modality: str) -> str:
    """The column with the XXH3-64 of the stored bytes of a row's record of the modality."""
    return f"{modality}_checksum"


def key_column(modality: Modality) -> str:
    """The metadata column that names a modality's records."""
    fields = [name for _, name, _, _ in Formatter().parse(modality.key) if name]
    return fields[0]


def record_keys(
    store: Path, manifest: Manifest, modality: str, split: str | None = None
) -> list[str]:
    """Keys of all records of a modality, in the order of the table's rows.

    Raises:
        SelectionEmpty: a split or modality that the store does not have.
    """
    described = manifest.modality(modality)
    column = key_column(described)
    table = read_table(store, manifest, split, [column], modality)
    return keys_in(described, table[column])


def keys_in(modality: Modality, names: "pa.ChunkedArray") -> list[str]:
    """Keys of a modality's records from the values of its column."""
    column = key_column(modality)
    found: list[str] = [str(name) for name in names.to_pylist()]
    prefix, suffix = modality.key.split(f"{{{column}}}")
    return [f"{prefix}{name}{suffix}" for name in found] if prefix or suffix else found
