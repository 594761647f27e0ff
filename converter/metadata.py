"""What was stored, joined with the official tables: the rows of metadata.parquet.

Every official column stays as it is; behind them come, for each modality, whether a record is there
and its checksum, and the ground that the patch covers.
"""

import os
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from converter.description import Description, ModalitySource
from converter.encode import GROUND_TOLERANCE, Encoded
from converter.tables import Tables
from readers.table import checksum_column, presence_column

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 122_880  # that of the official tables


class RecordLog:
    """What is known of a modality's records, in the order they were stored: 110 bytes each."""

    def __init__(self) -> None:
        self._names = bytearray()
        self._ends = array("q", [0])
        self._checksums = array("Q")
        self._epsg = array("i")
        self._bounds = array("d")

    def __len__(self) -> int:
        return len(self._checksums)

    def add(self, name: str, record: Encoded) -> None:
        """Note one stored record."""
        self._names += name.encode()
        self._ends.append(len(self._names))
        self._checksums.append(record.checksum)
        ground = record.ground
        self._epsg.append((ground.epsg or 0) if ground else 0)
        self._bounds.extend(ground[1:] if ground else (np.nan,) * 4)

    def names(self) -> "pa.Array":
        """Published names, as strings."""
        import pyarrow as pa

        return pa.LargeStringArray.from_buffers(
            len(self), pa.py_buffer(self._ends), pa.py_buffer(bytes(self._names))
        ).cast(pa.string())

    def checksums(self) -> "pa.Array":
        """XXH3-64 of each record as 16 hexadecimal digits."""
        import pyarrow as pa

        # Text, as a nullable uint64 becomes a rounded float in pandas.
        digits = np.frombuffer(self._checksums, np.uint64).astype(">u8").tobytes().hex().encode()
        ends = np.arange(0, 16 * len(self) + 1, 16, dtype=np.int64)
        return pa.LargeStringArray.from_buffers(
            len(self), pa.py_buffer(ends), pa.py_buffer(digits)
        ).cast(pa.string())

    def epsg(self) -> np.ndarray[Any, np.dtype[np.int32]]:
        """EPSG code of each record, int32; 0 where unknown."""
        return np.frombuffer(self._epsg, np.int32)

    def bounds(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(records, 4): left, bottom, right, top in units of the CRS; NaN where unknown."""
        return np.frombuffer(self._bounds, np.float64).reshape(-1, 4)


@dataclass
class Joined:
    """The rows of metadata.parquet, and what the join found missing."""

    table: "pa.Table"
    rows_without_pixels: int
    without_row: dict[str, list[str]] = field(default_factory=dict)
    """Modality -> records that no table row names."""
    without_partner: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Modality -> other modality -> records whose row has no record of the other."""
    other_ground: list[str] = field(default_factory=list)
    """Rows whose modalities cover different ground."""


def join(description: Description, logs: Mapping[str, RecordLog], tables: Tables | None) -> Joined:
    """One row a patch that has pixels, sorted by the identity column."""
    import pyarrow as pa

    modalities = [description.modalities[name] for name in logs]
    names = {modality.name: logs[modality.name].names() for modality in modalities}
    official, passed = _official(modalities, names, tables)
    without_row = {} if tables is None else _unmatched(modalities, names, official)
    left_over = _rows_of(description, modalities, _unmatched(modalities, names, official))
    if official is None:
        rows = left_over
    else:
        for column in left_over.column_names:
            at = left_over.schema.get_field_index(column)
            kind = official.schema.field(column).type
            left_over = left_over.set_column(at, column, left_over[column].cast(kind))
        # A column that only the official tables have is null for the others.
        rows = pa.concat_tables([official, left_over], promote_options="default")
    rows = rows.sort_by(description.identity).combine_chunks()
    indices = {m.name: _index(rows, m, names[m.name]) for m in modalities}
    joined = Joined(rows, passed, without_row)
    _find_partners(description, joined, rows, indices)
    joined.table = _with_ours(description, joined, rows, logs, indices)
    return joined


def _official(
    modalities: list[ModalitySource], names: Mapping[str, "pa.Array"], tables: Tables | None
) -> tuple["pa.Table | None", int]:
    """Rows of the tables that have pixels, and how many have none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if tables is None:
        return None, 0
    kept = []
    for group in tables.groups():
        there = None
        for modality in modalities:
            found = _is_in(group[modality.key_field], names[modality.name])
            there = found if there is None else pc.or_(there, found)
        kept.append(group.filter(there))
    rows = pa.concat_tables(kept)
    return rows, tables.rows - len(rows)


def _unmatched(
    modalities: list[ModalitySource], names: Mapping[str, "pa.Array"], rows: "pa.Table | None"
) -> dict[str, list[str]]:
    """Modality -> names that no row has."""
    import pyarrow.compute as pc

    unmatched = {}
    for modality in modalities:
        own = names[modality.name]
        if rows is not None:
            own = own.filter(pc.invert(_is_in(own, rows[modality.key_field])))
        if len(own):
            unmatched[modality.name] = own.to_pylist()
    return unmatched


def _rows_of(
    description: Description, modalities: list[ModalitySource], names: dict[str, list[str]]
) -> "pa.Table":
    """Rows for records without one: those that share a key column share a row.

    A record of a modality that the identity column does not name stands under its own name.
    """
    import pyarrow as pa

    rows: dict[str, dict[str, str]] = {}
    for modality in modalities:
        for name in names.get(modality.name, ()):
            row = rows.setdefault(name, {description.identity: name})
            row[modality.key_field] = name
    columns = list(dict.fromkeys([description.identity, *(m.key_field for m in modalities)]))
    return pa.table(
        {c: pa.array([row.get(c) for row in rows.values()], pa.string()) for c in columns}
    )


def _index(rows: "pa.Table", modality: ModalitySource, names: "pa.Array") -> "pa.Array":
    """For each row the position of its record in the modality's log, or null."""
    import pyarrow.compute as pc

    column = rows[modality.key_field]
    return pc.index_in(column, value_set=names.cast(column.type)).combine_chunks()


def _is_in(values: Any, among: Any) -> Any:
    import pyarrow.compute as pc

    return pc.is_in(values, value_set=among.cast(values.type))


def _find_partners(
    description: Description, joined: Joined, rows: "pa.Table", indices: Mapping[str, "pa.Array"]
) -> None:
    """Records of the primary modality without another, and of others without the primary."""
    import pyarrow.compute as pc

    primary = description.primary.name
    if primary not in indices:
        return
    for other in indices:
        for one, partner in ((primary, other), (other, primary)):
            alone = pc.and_(pc.is_valid(indices[one]), pc.is_null(indices[partner]))
            column = description.modalities[one].key_field
            names = rows[column].filter(alone).to_pylist()
            if names and one != partner:
                joined.without_partner.setdefault(one, {})[partner] = names


def _with_ours(
    description: Description,
    joined: Joined,
    rows: "pa.Table",
    logs: Mapping[str, RecordLog],
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
        pixel = min(band.gsd for band in description.modalities[name].bands)
        known = ~np.isnan(bounds[at, 0]) & ~np.isnan(new_bounds[:, 0])
        shifted = (np.abs(bounds[at] - new_bounds) > pixel * GROUND_TOLERANCE).any(axis=1)
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
