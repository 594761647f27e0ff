"""The columns that make a table GeoParquet 1.1: a footprint of each row, and its box.

They follow from the reference system and bounds that rows have, so they are made anew whenever a
table is written, and nothing else carries them from table to table.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.tables.footprints import Footprints, footprints
from patchpress.converter.tables.patch_places import ground_in, is_known_system
from patchpress.readers.format.footprint_columns import (
    BOX,
    BOX_SIDES,
    GEO,
    GEOMETRY,
    without_footprints,
)
from patchpress.readers.format.table import EPSG, SIDES

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_TOGETHER = 4096
"""Rows in a row group: so few that the boxes of groups tell which of them a query needs."""

_MANY = 100
"""Values of a column, of which fewer do not tell whether they repeat."""


@dataclass(frozen=True)
class GeoTable:
    """A table that is written with footprints."""

    rows: "pa.Table"
    """Without the columns that are added."""
    schema: "pa.Schema"
    """With them, and with what GeoParquet says of them."""

    def groups(self) -> Iterator["pa.Table"]:
        """The row groups one after the other."""
        import pyarrow as pa

        for part, found in _in_parts(self.rows):
            sides = _outwards(found.boxes).T
            none = np.isnan(found.boxes[:, 0])
            box = pa.StructArray.from_arrays(
                [pa.array(side, mask=none) for side in sides],
                list(BOX_SIDES),
                mask=pa.array(none),
            )
            columns = [*part.columns, found.geometry, box]
            yield pa.Table.from_arrays(columns, schema=self.schema)

    def encodings(self) -> dict[str, Any]:
        """Options of a writer of Parquet: what does not repeat has no dictionary."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        pq.write_table(self.rows.schema.empty_table(), sink)
        leaves = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
        paths = [leaves.column(at).path for at in range(len(leaves.names))]
        first = self.rows.slice(0, ROWS_TOGETHER)
        return {
            "use_dictionary": [path for path in paths if _repeats(first, path)],
            "column_encoding": {f"{BOX}.{side}": "BYTE_STREAM_SPLIT" for side in BOX_SIDES},
        }


def geo_table(rows: "pa.Table") -> GeoTable | None:
    """A table as it is written with footprints; None if no row has a place on the globe."""
    import pyarrow as pa

    rows = without_footprints(rows)
    if not any(is_known_system(code) for code in _codes(rows)):
        return None
    kinds, low, high = set[str](), [np.full(2, np.inf)], [np.full(2, -np.inf)]
    for _, found in _in_parts(rows):
        kinds |= found.kinds
        there = found.boxes[~np.isnan(found.boxes[:, 0])]
        if len(there):
            low.append(there[:, :2].min(axis=0))
            high.append(there[:, 2:].max(axis=0))
    if not kinds:
        return None
    box = [*np.min(low, axis=0).tolist(), *np.max(high, axis=0).tolist()]
    schema = rows.schema
    schema = schema.append(pa.field(GEOMETRY, pa.binary()))
    schema = schema.append(pa.field(BOX, pa.struct([(side, pa.float32()) for side in BOX_SIDES])))
    said = {**(schema.metadata or {}), GEO: json.dumps(_said(sorted(kinds), box)).encode()}
    return GeoTable(rows, schema.with_metadata(said))


def _said(kinds: list[str], box: list[float]) -> dict[str, Any]:
    """What GeoParquet has in the file's metadata. Without `crs` it is OGC:CRS84."""
    column = {
        "encoding": "WKB",
        "geometry_types": kinds,
        "orientation": "counterclockwise",
        "edges": "planar",
        "bbox": box,
        "covering": {"bbox": {side: [BOX, side] for side in BOX_SIDES}},
    }
    return {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}


def _repeats(rows: "pa.Table", path: str) -> bool:
    """Whether a column is none of text of which most values are there once, as of names."""
    import pyarrow.types as pt

    if path not in rows.column_names or not pt.is_string(rows.schema.field(path).type):
        return True
    values = rows[path].drop_null()
    return 2 * len(values.unique()) <= len(values) or len(values) < _MANY


def rows_with_place(rows: "pa.Table") -> int:
    """How many rows have bounds in a system that is known here, and so a footprint."""
    return sum(count for code, count in _codes(rows).items() if is_known_system(code))


def _in_parts(rows: "pa.Table") -> Iterator[tuple["pa.Table", Footprints]]:
    for begin in range(0, len(rows), ROWS_TOGETHER):
        part = rows.slice(begin, ROWS_TOGETHER).combine_chunks()
        yield part, footprints(*ground_in(part))


def _codes(rows: "pa.Table") -> dict[int, int]:
    """EPSG code -> rows in it that have bounds."""
    if any(name not in rows.column_names for name in (EPSG, *SIDES)):
        return {}
    codes, bounds = ground_in(rows)
    there = codes[(codes > 0) & np.isfinite(bounds).all(axis=1)]
    found, counts = np.unique(there, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _outwards(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Boxes in half the bytes; what does not fit is rounded away from the middle."""
    near = boxes.astype(np.float32)
    low, high = near[:, :2], near[:, 2:]
    low = np.where(low > boxes[:, :2], np.nextafter(low, np.float32(-np.inf)), low)
    high = np.where(high < boxes[:, 2:], np.nextafter(high, np.float32(np.inf)), high)
    return np.ascontiguousarray(np.concatenate([low, high], axis=1))
