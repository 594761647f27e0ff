"""What was stored, joined with the official tables: the rows of metadata.parquet.

Every official column stays as it is; behind them come, for each modality, whether a record is there
and its checksum, and the ground that the patch covers.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchpress.converter.descriptions.description import Description, ModalitySource
from patchpress.converter.tables.derived import SplitOptions, enrich
from patchpress.converter.tables.official import Tables
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.converter.tables.rows import Logs, build_rows
from patchpress.readers.format.table import checksum_column, presence_column

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
ROW_GROUP = 122_880  # that of the official tables


@dataclass
class Joined:
    """The rows of metadata.parquet, and what the join found missing."""

    table: "pa.Table"
    rows_without_pixels: int
    without_row: dict[str, list[str]] = field(default_factory=dict)
    """Modality -> records that no table row names."""
    without_partner: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Modality -> other modality -> records whose row has no record of the other."""
    listed_without_pixels: dict[str, list[str]] = field(default_factory=dict)
    """Official list -> names in it that have no pixels here."""
    other_ground: list[str] = field(default_factory=list)
    """Rows whose modalities cover different ground."""


def join(
    description: Description,
    logs: Logs,
    tables: Tables | None,
    files: Mapping[str, Path],
    choice: SplitOptions,
) -> Joined:
    """One row a patch that has pixels, sorted by the identity column.

    Raises:
        TableError: a list or pairing table is not as it should be.
    """
    found = build_rows(description, logs, tables, files.get("pairs"))
    enriched = enrich(description, found.table, files, choice)
    rows = enriched.table
    joined = Joined(rows, found.without_pixels, found.without_row)
    joined.listed_without_pixels = enriched.listed_without_pixels
    indices = {name: _index(rows, description.modalities[name], log) for name, log in logs.items()}
    _find_partners(description, joined, rows, indices)
    joined.table = _with_ours(description, joined, rows, logs, indices)
    return joined


def _index(rows: "pa.Table", modality: ModalitySource, log: RecordLog) -> "pa.Array":
    """For each row the position of its record in the modality's log, or null."""
    import pyarrow.compute as pc

    column = rows[modality.key_column]
    return pc.index_in(column, value_set=log.names().cast(column.type)).combine_chunks()


def _find_partners(
    description: Description, joined: Joined, rows: "pa.Table", indices: Mapping[str, "pa.Array"]
) -> None:
    """Records of the primary modality without another, and of others without the primary."""
    import pyarrow.compute as pc

    primary = description.primary.name
    if primary not in indices:
        return
    for other in indices:
        if description.modalities[other].alone:
            continue
        for one, partner in ((primary, other), (other, primary)):
            alone = pc.and_(pc.is_valid(indices[one]), pc.is_null(indices[partner]))
            column = description.modalities[one].key_column
            names = rows[column].filter(alone).to_pylist()
            if names and one != partner:
                joined.without_partner.setdefault(one, {})[partner] = names


def _with_ours(
    description: Description,
    joined: Joined,
    rows: "pa.Table",
    logs: Logs,
    indices: Mapping[str, "pa.Array"],
) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.compute as pc

    for name, index in indices.items():
        rows = rows.append_column(presence_column(name), pc.is_valid(index))
    epsg = np.zeros(len(rows), np.int32)
    bounds = np.full((len(rows), 4), np.nan)
    differ = np.zeros(len(rows), bool)
    for name, index in indices.items():
        at = np.flatnonzero(pc.is_valid(index).to_numpy(zero_copy_only=False))
        log = logs[name]
        picked = pc.drop_null(index).to_numpy()
        new_epsg, new_bounds = log.epsg()[picked], log.bounds()[picked]
        tolerance = _tolerance(description.modalities[name], new_bounds)
        known = ~np.isnan(bounds[at, 0]) & ~np.isnan(new_bounds[:, 0])
        shifted = (np.abs(bounds[at] - new_bounds) > tolerance[:, None]).any(axis=1)
        differ[at] |= known & (shifted | (epsg[at] != new_epsg))
        empty = np.isnan(bounds[at, 0])
        epsg[at[empty]], bounds[at[empty]] = new_epsg[empty], new_bounds[empty]
    joined.other_ground = rows[description.identity].filter(pa.array(differ)).to_pylist()
    rows = rows.append_column("epsg", pa.array(epsg, mask=epsg == 0))
    for column, values in zip(("left", "bottom", "right", "top"), bounds.T, strict=True):
        rows = rows.append_column(column, pa.array(values, mask=np.isnan(values)))
    for name, index in indices.items():
        rows = rows.append_column(checksum_column(name), logs[name].checksums().take(index))
    return rows


def _tolerance(modality: ModalitySource, bounds: Floats) -> Floats:
    """How far the bounds of each record may be from those of another modality, in CRS units."""
    pixels = max(band.shape[1] for band in modality.bands)
    tolerance: Floats = (bounds[:, 2] - bounds[:, 0]) / pixels * modality.ground_tolerance
    return tolerance


def split_counts(
    description: Description, rows: "pa.Table", modalities: Iterable[str]
) -> dict[str, dict[str, int]]:
    """Split -> ``rows`` and modality -> count, for the splits that have rows, in their order."""
    import pyarrow.compute as pc

    column = description.split_column
    if column is None or column not in rows.column_names:
        return {}
    counts = {}
    for split in description.split_names:
        part = rows.filter(pc.equal(rows[column], split))
        if len(part):
            present = {m: int(pc.sum(part[presence_column(m)]).as_py()) for m in modalities}
            counts[split] = {"rows": len(part), **present}
    return counts


def write_metadata(path: Path, rows: "pa.Table") -> None:
    """Write the table and flush it to the disk."""
    import pyarrow.parquet as pq

    with path.open("wb") as file:
        pq.write_table(rows, file, compression="zstd", row_group_size=ROW_GROUP)
        file.flush()
        os.fsync(file.fileno())
