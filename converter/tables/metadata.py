"""What was stored, joined with the official tables: the rows of metadata.parquet.

Every official column stays as it is. After them come the dates of acquisition, if the description
says where they stand; for each modality, whether the row has a
record of it; then the ground of the patch; then, for each modality, the record's checksum.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchpress.converter.allocation import large_blocks_given_back
from patchpress.converter.descriptions.description import Description, ModalitySource
from patchpress.converter.descriptions.labels import label_sources
from patchpress.converter.tables.acquired_dates import with_dates
from patchpress.converter.tables.arrow import release_memory
from patchpress.converter.tables.derived import derive_columns
from patchpress.converter.tables.filling import Logs
from patchpress.converter.tables.metadata_file import ROW_GROUP
from patchpress.converter.tables.name_index import NameIndex
from patchpress.converter.tables.official import Tables
from patchpress.converter.tables.patch_places import patch_places
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.converter.tables.rows import build_rows
from patchpress.converter.tables.split_column import SplitOptions
from patchpress.converter.tables.step_dates import with_step_dates
from patchpress.readers.format.manifest import Flagged
from patchpress.readers.format.table import (
    EPSG,
    SIDES,
    checksum_column,
    flag_mask,
    presence_column,
)

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

Indices = Mapping[str, "pa.Array"]
"""Modality -> for each row the position of its record in the modality's log, or null."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The rows of metadata.parquet, and what the join found missing."""

    table: "pa.Table"
    rows_without_pixels: int
    """Official rows without any record, which `table` does not have."""
    without_row: dict[str, list[str]]
    """Modality -> records that no official row names."""
    without_partner: dict[str, dict[str, list[str]]]
    """Modality -> other modality -> records whose row has no record of the other."""
    listed_without_pixels: dict[str, Sequence[str]]
    """List of splits or flags -> names in it that have no pixels here."""
    other_ground: list[str]
    """Rows whose modalities cover different ground."""
    notes: tuple[str, ...] = ()
    """A sentence for each thing in tables, lists and JSON files that is not read as it stands."""


@dataclass(frozen=True, slots=True)
class _Ground:
    """The ground of each row: that of its first modality that knows one."""

    epsg: npt.NDArray[np.int32]
    """(rows,), 0 if unknown."""
    bounds: Floats
    """(rows, 4): left, bottom, right, top in units of the CRS; NaN if unknown."""
    differs: npt.NDArray[np.bool_]
    """(rows,): whether another modality of the row covers different ground."""


def rows_with_all(table: "pa.Table", modalities: Iterable[str]) -> int:
    """How many rows have a record of each of these modalities."""
    import pyarrow.compute as pc

    there = None
    for name in modalities:
        one = table[presence_column(name)]
        there = one if there is None else pc.and_(there, one)
    return int(pc.sum(there).as_py() or 0) if there is not None else 0


@large_blocks_given_back()
def join(
    description: Description,
    logs: Logs,
    tables: Tables | None,
    files: Mapping[str, Path],
    options: SplitOptions,
    *,
    is_part: bool = False,
) -> Joined:
    """One row for each patch that has pixels, sorted by the identity column.

    Args:
        description: of the data set.
        logs: the stored records.
        tables: the official tables, if the source has them.
        files: part name -> file, for lists of splits and flags and for the pairing table.
        options: how the rows are split.
        is_part: whether the records are some of the source, so that tables and lists may have none
            of them.

    Raises:
        SourceMissing, TableError: a list or the pairing table is not as it should be, or a table or
            all lists have no patch of the source.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    release_memory()
    found = build_rows(description, logs, tables, files.get("pairs"), is_part=is_part)
    rows, date_notes = with_step_dates(description, found.table, files)
    indices = {name: _index(rows, description.modalities[name], log) for name, log in logs.items()}
    ground = _ground(description, len(rows), logs, indices)
    derived = derive_columns(
        description,
        rows,
        files,
        options,
        places=lambda: patch_places(ground.epsg, ground.bounds),
        is_part=is_part,
    )
    present = {name: pc.is_valid(index) for name, index in indices.items()}
    rows, undated = with_dates(description, derived.table, present)
    for column, source in label_sources(description, logs, has_tables=tables is not None).items():
        _log.info("labels: %s from %s", column, source.title)
    _log.info("metadata: %d rows, with records of %s", len(rows), ", ".join(logs))
    return Joined(
        table=_with_record_columns(rows, logs, indices, ground),
        rows_without_pixels=found.without_pixels,
        without_row=found.without_row,
        without_partner=_without_partner(description, rows, indices),
        listed_without_pixels=derived.listed_without_pixels,
        notes=(*found.notes, *derived.notes, *date_notes, *undated),
        other_ground=rows[description.identity].filter(pa.array(ground.differs)).to_pylist(),
    )


def _index(rows: "pa.Table", modality: ModalitySource, log: RecordLog) -> "pa.Array":
    """For each row the position of its record in the modality's log, or null."""
    index = NameIndex(log.names()).index(rows[modality.key_column])
    release_memory()
    return index


def _without_partner(
    description: Description, rows: "pa.Table", indices: Indices
) -> dict[str, dict[str, list[str]]]:
    """Records of the primary modality without another one, and of others without the primary."""
    import pyarrow.compute as pc

    primary = description.primary.name
    found: dict[str, dict[str, list[str]]] = {}
    others = [
        name for name in indices if name != primary and not description.modalities[name].alone
    ]
    for other in others if primary in indices else ():
        for one, partner in ((primary, other), (other, primary)):
            lacks = pc.and_(pc.is_valid(indices[one]), pc.is_null(indices[partner]))
            names = rows[description.modalities[one].key_column].filter(lacks).to_pylist()
            if names:
                found.setdefault(one, {})[partner] = names
    return found


def _ground(description: Description, count: int, logs: Logs, indices: Indices) -> _Ground:
    import pyarrow.compute as pc

    epsg = np.zeros(count, np.int32)
    bounds = np.full((count, 4), np.nan)
    differs = np.zeros(count, bool)
    for name, index in indices.items():
        grounds = logs[name].grounds()
        for begin in range(0, count, ROW_GROUP):  # some at a time: it takes many times as much
            part = index.slice(begin, ROW_GROUP)
            at = begin + np.flatnonzero(pc.is_valid(part).to_numpy(zero_copy_only=False))
            own = grounds[pc.drop_null(part).to_numpy()]
            own_epsg, own_bounds = own["epsg"], own["bounds"]
            tolerance = _tolerance(description.modalities[name], own_bounds)
            both_known = ~np.isnan(bounds[at, 0]) & ~np.isnan(own_bounds[:, 0])
            shifted = (np.abs(bounds[at] - own_bounds) > tolerance[:, None]).any(axis=1)
            differs[at] |= both_known & (shifted | (epsg[at] != own_epsg))
            empty = np.isnan(bounds[at, 0])
            epsg[at[empty]], bounds[at[empty]] = own_epsg[empty], own_bounds[empty]
    return _Ground(epsg, bounds, differs)


def _tolerance(modality: ModalitySource, bounds: Floats) -> Floats:
    """How far the bounds of each record may be from those of another modality, in CRS units."""
    pixels = max(band.shape[1] for band in modality.bands)
    tolerance: Floats = (bounds[:, 2] - bounds[:, 0]) / pixels * modality.ground_tolerance
    return tolerance


def _with_record_columns(
    rows: "pa.Table", logs: Logs, indices: Indices, ground: _Ground
) -> "pa.Table":
    """The rows with the columns that follow from the records, in the order of the format."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name, index in indices.items():
        rows = rows.append_column(presence_column(name), pc.is_valid(index))
    rows = rows.append_column(EPSG, pa.array(ground.epsg, mask=ground.epsg == 0))
    for column, values in zip(SIDES, ground.bounds.T, strict=True):
        rows = rows.append_column(column, pa.array(values, mask=np.isnan(values)))
    for name, index in indices.items():
        rows = rows.append_column(checksum_column(name), logs[name].checksums().take(index))
    return rows


def split_counts(
    description: Description, rows: "pa.Table", modalities: Iterable[str]
) -> dict[str, dict[str, int]]:
    """Split -> ``rows`` and modality -> count, for the splits that have rows, in their order."""
    return counts_of_splits(description.split_column, description.split_names, rows, modalities)


def counts_of_splits(
    column: str | None, splits: Iterable[str], rows: "pa.Table", modalities: Iterable[str]
) -> dict[str, dict[str, int]]:
    """The same for the splits that a column has, given in their order."""
    import pyarrow.compute as pc

    if column is None or column not in rows.column_names:
        return {}
    counts = {}
    for split in splits:
        part = rows.filter(pc.equal(rows[column], split))
        if len(part):
            present = {m: int(pc.sum(part[presence_column(m)]).as_py()) for m in modalities}
            counts[split] = {"rows": len(part), **present}
    return counts


def flagged_counts(
    description: Description, rows: "pa.Table", modalities: Iterable[str]
) -> Flagged:
    """The rows that their publisher does not recommend, by the flag columns that the table has."""
    columns = tuple(c for c in description.flag_columns if c in rows.column_names)
    names = description.split_names
    return flagged_rows(columns, description.split_column, names, rows, modalities)


def flagged_rows(
    columns: tuple[str, ...],
    split_column: str | None,
    splits: Iterable[str],
    rows: "pa.Table",
    modalities: Iterable[str],
) -> Flagged:
    """The rows that some columns flag, counted by splits, too."""
    flagged = rows.filter(flag_mask(columns, rows))
    counts = counts_of_splits(split_column, splits, flagged, modalities)
    return Flagged(columns, len(flagged), counts)
