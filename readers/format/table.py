"""Reads metadata.parquet, one row a patch, as pyarrow tables; pyarrow is imported on first use."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import OptionError, SelectionEmpty
from patchpress.readers.format.arrow_kinds import plain
from patchpress.readers.format.footprint_columns import FOOTPRINT
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.split_names import known_split
from patchpress.readers.format.table_file import column_names, read_columns, read_row

if TYPE_CHECKING:
    import pyarrow as pa

FLAGGED = ("exclude", "include", "only")
BOUNDS = "bounds"  # what readers call the four columns of `SIDES` together
SIDES = ("left", "bottom", "right", "top")
EPSG = "epsg"


@runtime_checkable
class HasRowNumbers(Protocol):
    """Rows that were chosen before, such as `Samples`; given for a split."""

    @property
    def row_numbers(self) -> "npt.NDArray[np.int64]":
        """Positions of the rows in the table."""

    @property
    def table_digest(self) -> str:
        """Of the table: `metadata_digest` of the manifest beside it."""


Split = str | Sequence[str] | HasRowNumbers | None


def split_name(manifest: Manifest, split: str) -> str:
    """The store's own name of a split; `val` is understood as `validation`, in whatever case.

    Raises:
        SelectionEmpty: the store has no patch in such a split.
    """
    name = known_split(split, manifest.splits)
    if name is None:
        there = ", ".join(manifest.splits) or "none: it was converted without splits"
        raise SelectionEmpty(f"no patch of the store is in split {split!r}; splits there: {there}")
    return name


def split_names(manifest: Manifest, split: str | Sequence[str] | None) -> list[str]:
    """The store's own names of one or more splits, in its order; none for None.

    Raises:
        SelectionEmpty: the store has no patch in such a split, or the list is empty.
        OptionError: something that is no name.
    """
    if split is None:
        return []
    asked: list[object] = list(split) if _is_list(split) else [split]
    names = [name for name in asked if isinstance(name, str)]
    if len(names) < len(asked):
        wrong = next(name for name in asked if not isinstance(name, str))
        raise OptionError(
            f"split must be a name such as 'train', a list of names, or samples, not {wrong!r}"
        )
    if not asked:
        there = ", ".join(manifest.splits) or "none"
        raise SelectionEmpty(f"split is an empty list; splits there: {there}")
    found = {split_name(manifest, name) for name in names}
    return [name for name in manifest.splits if name in found]


def _is_list(split: object) -> bool:
    return isinstance(split, Iterable) and not isinstance(split, (str, bytes, Mapping))


def numbers_in(manifest: Manifest, rows: HasRowNumbers) -> "npt.NDArray[np.int64]":
    """Positions of chosen rows in the table of a store.

    Raises:
        OptionError: they are rows of another table.
    """
    if rows.table_digest != manifest.metadata_digest:
        raise OptionError("these samples are of another store: choose them from this one")
    return rows.row_numbers


def flagged_choice(flagged: str | None, split: Split) -> str:
    """What is done with flagged rows: `exclude` by default if a split is named, else `include`.

    Raises:
        OptionError: none of `FLAGGED`.
    """
    if flagged is None:
        return "include" if split is None or isinstance(split, HasRowNumbers) else "exclude"
    if flagged not in FLAGGED:
        raise OptionError(f"flagged must be one of {', '.join(FLAGGED)}, not {flagged!r}")
    return flagged


def flag_mask(columns: Sequence[str], rows: "pa.Table") -> "pa.ChunkedArray | pa.Array":
    """For each row whether it is flagged: whether one of the flag columns is true."""
    import pyarrow as pa
    import pyarrow.compute as pc

    mask = pa.array(np.zeros(len(rows), bool))
    for column in columns:
        mask = pc.or_(mask, pc.fill_null(rows[column], False))
    return mask


def split_mask(manifest: Manifest, rows: "pa.Table", names: Sequence[str]) -> "pa.ChunkedArray":
    """For each row whether it is in one of the splits."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = plain(rows[manifest.split_column])
    return pc.is_in(column, value_set=pa.array(names, column.type))


def read_table(
    store: Path,
    manifest: Manifest,
    split: Split = None,
    columns: str | Sequence[str] | None = None,
    modality: str | None = None,
    flagged: str | None = None,
) -> "pa.Table":
    """Rows of metadata.parquet, by split and by presence of a modality, in file order.

    Args:
        store: folder of the store.
        manifest: the store's.
        split: one split or several, or rows that were chosen before, in their order; None for all.
        columns: one name, or names in the order wanted; None for all but the footprints
            (`geometry`, `bbox`), which are read if they are named.
        modality: keep the rows that have a record of it.
        flagged: `exclude` leaves out the rows that their publisher does not recommend for use,
            `include` keeps them, `only` keeps nothing else. By default they are left out if a split
            is named.

    Raises:
        SelectionEmpty: a split or modality that the store does not have.
        OptionError: a column that the table does not have, or no such choice of flagged rows.
        StoreDamaged: the table is absent, no Parquet file, or not the one that was written.
        StoreUnreadable: there are no file descriptors left.
    """
    import pyarrow.compute as pc

    choice = flagged_choice(flagged, split)
    chosen = split if isinstance(split, HasRowNumbers) else None
    names = [] if isinstance(split, HasRowNumbers) else split_names(manifest, split)
    needed: list[str] = [manifest.split_column] if names else []
    if choice != "include":
        needed += manifest.flagged.columns
    present = presence_column(manifest.modality(modality).name) if modality is not None else None
    asked = [columns] if isinstance(columns, str) else columns
    needed += [] if present is None else [present]
    wanted, rows = read_columns(store, manifest, asked, needed, _kinds(manifest))
    if chosen is not None:
        rows = rows.take(numbers_in(manifest, chosen))
    if names:
        rows = rows.filter(split_mask(manifest, rows, names))
    if choice != "include":
        mask = flag_mask(manifest.flagged.columns, rows)
        rows = rows.filter(mask if choice == "only" else pc.invert(mask))
    if present is not None:
        rows = rows.filter(rows[present])
    return rows.select(wanted)


def _kinds(manifest: Manifest) -> dict[str, str]:
    """The columns that the format defines: name -> `bool` or `text`."""
    modalities = manifest.modalities.values()
    kinds = {manifest.split_column: "text"} if manifest.splits else {}
    kinds |= dict.fromkeys(manifest.flagged.columns, "bool")
    kinds |= {presence_column(modality.name): "bool" for modality in modalities}
    kinds |= {checksum_column(modality.name): "text" for modality in modalities}
    return kinds | {key_column(modality): "text" for modality in modalities}


def presence_column(modality: str) -> str:
    """The column that says whether a row's patch has a record of the modality."""
    return f"has_{modality}"


def has_any(table: "pa.Table", modalities: Sequence[str]) -> Any:
    """For each row whether it has a record of one of these modalities, or of more."""
    import pyarrow.compute as pc

    return reduce(pc.or_, (table[presence_column(name)] for name in modalities))


def checksum_column(modality: str) -> str:
    """The column with the XXH3-64 of the stored bytes of a row's record of the modality."""
    return f"{modality}_checksum"


def own_columns(modalities: Iterable[str]) -> tuple[str, ...]:
    """The names that columns of these modalities' records and of the ground have in the table.

    No column of a source may be called so, whatever its case.
    """
    names = list(modalities)
    return (
        *map(presence_column, names),
        *(EPSG, *SIDES, BOUNDS),
        *FOOTPRINT,
        *map(checksum_column, names),
    )


def key_column(modality: Modality) -> str:
    """The metadata column that names a modality's records."""
    fields = [name for _, name, _, _ in Formatter().parse(modality.key) if name]
    return fields[0]


def table_columns(store: Path, manifest: Manifest) -> list[str]:
    """The names of all columns of metadata.parquet but footprints; no column is read.

    Raises:
        StoreDamaged, StoreUnreadable: as `read_table`.
    """
    return column_names(store, manifest, _kinds(manifest))


def table_row(store: Path, manifest: Manifest, number: int) -> dict[str, Any]:
    """All columns but footprints of one row of metadata.parquet; few others are read.

    Raises:
        StoreDamaged, StoreUnreadable: as `read_table`.
    """
    return read_row(store, manifest, number, _kinds(manifest))


def record_keys(
    store: Path,
    manifest: Manifest,
    modality: str,
    split: Split = None,
    flagged: str | None = None,
) -> list[str]:
    """Keys of the records of a modality, in the order of the rows that `read_table` gives.

    Raises:
        SelectionEmpty, OptionError: as `read_table`.
    """
    described = manifest.modality(modality)
    column = key_column(described)
    table = read_table(store, manifest, split, [column], modality, flagged)
    return keys_in(described, table[column])


def keys_in(modality: Modality, names: "pa.ChunkedArray") -> list[str]:
    """Keys of a modality's records from the values of its column."""
    column = key_column(modality)
    found: list[str] = [str(name) for name in names.to_pylist()]
    prefix, suffix = modality.key.split(f"{{{column}}}")
    return [f"{prefix}{name}{suffix}" for name in found] if prefix or suffix else found
