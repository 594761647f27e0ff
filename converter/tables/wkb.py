"""Well-known binary of polygons, as GeoParquet has them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_POLYGON, _MULTIPOLYGON = 3, 6


def polygons(rings: Floats) -> npt.NDArray[np.uint8]:
    """(polygons, bytes): the WKB of polygons of one ring each.

    Args:
        rings: (polygons, points, 2), not closed.
    """
    count, points, _ = rings.shape
    form = np.dtype(
        [
            ("little_endian", np.uint8),
            ("kind", "<u4"),
            ("rings", "<u4"),
            ("points", "<u4"),
            ("at", "<f8", (points + 1, 2)),
        ]
    )
    found = np.zeros(count, form)
    found["little_endian"], found["kind"], found["rings"] = 1, _POLYGON, 1
    found["points"] = points + 1
    found["at"][:, :-1], found["at"][:, -1] = rings, rings[:, 0]
    return found.view(np.uint8).reshape(count, form.itemsize)


def polygon_or_several(rings: Sequence[Floats]) -> bytes:
    """The WKB of one polygon, or of a multipolygon of several.

    Args:
        rings: (points, 2) each, not closed.
    """
    parts = [polygons(ring[None]).tobytes() for ring in rings]
    if len(parts) == 1:
        return parts[0]
    head = np.array([_MULTIPOLYGON, len(parts)], "<u4").tobytes()
    return b"\x01" + head + b"".join(parts)
