"""Rings around patches in longitude and latitude, with points enough on each edge."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from patchpress.converter.tables.neighbours import distance_km
from patchpress.converter.tables.patch_places import degrees, is_in_degrees
from patchpress.readers.ground import KM_A_DEGREE

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

MOST_PIECES = 8
"""Straight pieces that an edge has at most."""
_SHORT_KM = 2.0
"""An edge of that length is less than a metre away from the line between its corners."""
_OFF_KM = 0.001
_BEYOND = 90 + 1e-6  # degrees: coordinates that were rounded may be a little too large


def rings_of(code: int, bounds: Floats) -> Iterator[tuple[Numbers, Floats]]:
    """(numbers of patches, their rings) for patches of as many points each.

    Rings are (patches, points, 2) longitude and latitude, counterclockwise, not closed; longitudes
    may be beyond 180 degrees. Patches whose place is not known are left out.

    Args:
        code: EPSG code of the system.
        bounds: (patches, 4) left, bottom, right, top in its units.
    """
    pieces = _pieces(code, bounds)
    for each in np.unique(pieces).tolist():
        at = np.flatnonzero(pieces == each)
        rings = _rings(code, bounds[at], each)
        if rings is None:
            return
        known = np.isfinite(rings).all(axis=(1, 2)) & (np.abs(rings[..., 1]) <= _BEYOND).all(axis=1)
        rings[..., 1] = np.clip(rings[..., 1], -90, 90)
        yield at[known], rings[known]


def _pieces(code: int, bounds: Floats) -> Numbers:
    """Into how many straight pieces the edges of each patch are cut: off by a metre at most."""
    pieces = np.ones(len(bounds), np.int64)
    if is_in_degrees(code):
        return pieces
    corners = _rings(code, bounds, 1)
    if corners is None:
        return pieces
    with np.errstate(invalid="ignore", divide="ignore"):
        long = np.flatnonzero(_longest(corners, np.roll(corners, -1, axis=1)) > _SHORT_KM)
        rings = _rings(code, bounds[long], 2) if len(long) else None
        if rings is not None:
            off = _off_km(rings[:, ::2], rings[:, 1::2]).max(axis=1)
            # In two pieces a curve is a quarter as far away from them.
            wanted = np.ceil(np.log2(np.maximum(off / _OFF_KM, 1)) / 2)
            pieces[long] = np.clip(np.nan_to_num(2**wanted, nan=1), 1, MOST_PIECES)
    return pieces


def _rings(code: int, bounds: Floats, pieces: int) -> Floats | None:
    """Rings that begin at the lower left; None for a code that nobody knows."""
    left, bottom, right, top = (side[:, None] for side in bounds.T)
    along = np.arange(pieces) / pieces
    none = np.zeros(pieces)
    across = np.concatenate([along, none + 1, 1 - along, none])
    up = np.concatenate([none, along, none + 1, 1 - along])
    x, y = left * (1 - across) + right * across, bottom * (1 - up) + top * up
    found = degrees(code, x.ravel(), y.ravel())
    return None if found is None else found.reshape(len(bounds), 4 * pieces, 2)


def turned(step: Floats) -> Floats:
    """Differences of longitude the short way round: -180 to 180 degrees."""
    return np.asarray((step + 180) % 360 - 180)


def _off_km(ends: Floats, middles: Floats) -> Floats:
    """(patches, edges): how far the middle of each edge is from the line between its ends."""
    latitudes = np.stack([ends[..., 1], middles[..., 1], np.roll(ends[..., 1], -1, axis=1)])
    wide = np.cos(np.radians(latitudes)).max(axis=0)
    (x, y), (ahead, up) = (
        (turned(to[..., 0] - ends[..., 0]) * wide, to[..., 1] - ends[..., 1])
        for to in (middles, np.roll(ends, -1, axis=1))
    )
    return np.asarray(np.abs(x * up - y * ahead) / np.hypot(ahead, up) * KM_A_DEGREE)


def _longest(one: Floats, other: Floats) -> Floats:
    """For each ring the longest way between its points and others, in kilometres."""
    km = distance_km(one.reshape(-1, 2), other.reshape(-1, 2)).reshape(one.shape[:2])
    return np.asarray(km.max(axis=1))
