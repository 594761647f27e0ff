"""Footprints of patches: polygons in longitude and latitude as WKB, and the box of each.

A footprint is the rectangle of a patch's bounds in its own reference system.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchpress.converter.tables import wkb
from patchpress.converter.tables.patch_places import is_in_degrees
from patchpress.converter.tables.rings import rings_of
from patchpress.converter.tables.round_globe import is_inside, on_the_map

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

_STEP = 2.0**-27
"""Degrees, less than a millimetre: coordinates are multiples of it, so that they compress well."""


@dataclass(frozen=True)
class Footprints:
    """The footprints of some patches."""

    geometry: "pa.Array"
    """WKB of each; null if its place is not known."""
    boxes: Floats
    """(patches, 4) least longitude and latitude, greatest of both; NaN if the place is not known.
    A patch across the antimeridian reaches from -180 to 180."""
    kinds: frozenset[str]
    """The types of geometries among them."""


def footprints(epsg: npt.NDArray[np.integer], bounds: Floats) -> Footprints:
    """The footprints of patches.

    Args:
        epsg: (patches,) EPSG code of each, 0 if it is not known.
        bounds: (patches, 4) left, bottom, right, top in units of that system; NaN if not known.
    """
    boxes = np.full((len(epsg), 4), np.nan)
    kinds = set[str]()
    parts: list[tuple[Numbers, npt.NDArray[np.uint8]]] = []
    left, bottom, right, top = bounds.T
    there = np.isfinite(bounds).all(axis=1) & (epsg > 0) & (left < right) & (bottom < top)
    for code in np.unique(epsg[there]).tolist():
        of_code = np.flatnonzero(there & (epsg == code))
        straight = is_in_degrees(code)
        for numbers, rings in rings_of(code, bounds[of_code]):
            rows, inside = of_code[numbers], is_inside(rings)
            for row, ring in zip(rows[~inside], rings[~inside], strict=True):
                several = [_rounded(one) for one in on_the_map(ring, straight=straight)]
                kinds.add("Polygon" if len(several) == 1 else "MultiPolygon")
                points = np.concatenate(several)
                boxes[row] = *points.min(axis=0), *points.max(axis=0)
                whole = np.frombuffer(wkb.polygon_or_several(several), np.uint8)
                parts.append((np.array([row]), whole[None]))
            rows, rings = rows[inside], _rounded(rings[inside])
            if len(rows):
                kinds.add("Polygon")
                boxes[rows] = np.concatenate([rings.min(axis=1), rings.max(axis=1)], axis=1)
                parts.append((rows, wkb.polygons(rings)))
    return Footprints(_in_order(len(epsg), parts), boxes, frozenset(kinds))


def _rounded(points: Floats) -> Floats:
    return np.round(points / _STEP) * _STEP


def _in_order(count: int, parts: list[tuple[Numbers, npt.NDArray[np.uint8]]]) -> "pa.Array":
    """Binary values of rows as one array, null in rows that have none."""
    import pyarrow as pa

    lengths = np.zeros(count, np.int64)
    for rows, values in parts:
        lengths[rows] = values.shape[1]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    data = np.empty(ends[-1], np.uint8)
    for rows, values in parts:
        data[ends[rows][:, None] + np.arange(values.shape[1])] = values
    there = np.packbits(lengths > 0, bitorder="little")
    buffers = [pa.py_buffer(there), pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), count, buffers, int((lengths == 0).sum()))
