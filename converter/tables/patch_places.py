"""Where patches lie on the globe, by the EPSG code and bounds of each; many at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.tables.neighbours import distance_km
from patchpress.readers.format.table import EPSG, SIDES
from patchpress.readers.ground import DEGREES, degrees_of

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.intp]

_FARTHEST = 1e9
"""Units of a system, metres or feet: no place on the globe is so far from its origin."""
_MOST_TRIALS = 500
"""Times that points are halved to find those that GDAL places nowhere."""


@dataclass(frozen=True)
class GroundPlaces:
    """The places of some patches."""

    middles: Floats
    """(patches, 2) longitude and latitude of each patch's middle in degrees; NaN if not known."""
    reach_km: Floats
    """(patches,) how far the corners are from the middle; NaN if not known."""
    unknown_codes: tuple[int, ...] = ()
    """EPSG codes that nobody knows here: their patches have no place."""

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """(patches,) whether the place is known."""
        return np.asarray(np.isfinite(self.middles).all(axis=1))

    @property
    def side_km(self) -> float:
        """About the side of a patch: the median; NaN if no place is known."""
        known = self.reach_km[self.known]
        return float(np.median(known) * np.sqrt(2)) if len(known) else float("nan")


def patch_places(epsg: npt.NDArray[np.integer], bounds: Floats) -> GroundPlaces:
    """The places of patches.

    Args:
        epsg: (patches,) EPSG code of each, 0 if it is not known.
        bounds: (patches, 4) left, bottom, right, top in units of that system; NaN if not known.
    """
    left, bottom, right, top = bounds.T
    middles = np.full((len(epsg), 2), np.nan)
    corners = np.full((len(epsg), 2), np.nan)
    unknown = []
    there = np.isfinite(bounds).all(axis=1) & (epsg > 0)
    for code in np.unique(epsg[there]).tolist():
        here = np.flatnonzero(there & (epsg == code))
        x, y = (left[here] + right[here]) / 2, (bottom[here] + top[here]) / 2
        found = degrees(code, np.append(x, left[here]), np.append(y, bottom[here]))
        if found is None:
            unknown.append(code)
            continue
        found, corner = found[: len(here)], found[len(here) :]
        # What lies beyond the system's own reach becomes infinite, or no number.
        inside = np.isfinite(found).all(axis=1) & np.isfinite(corner).all(axis=1)
        middles[here[inside]], corners[here[inside]] = found[inside], corner[inside]
    return GroundPlaces(middles, distance_km(middles, corners), tuple(unknown))


def degrees(code: int, x: Floats, y: Floats) -> Floats | None:
    """Longitude and latitude (points, 2) of points in a system; None for a code nobody knows here.

    What lies beyond the system's own reach becomes infinite, or no number.
    """
    found = degrees_of(code, x, y)
    if found is not None:
        return np.stack(found, axis=1)
    system = _system(code)
    if system is None:
        return None
    places = np.full((len(x), 2), np.nan)
    # PROJ counts turns around the globe one by one, of 1e300 without an end.
    sane = np.flatnonzero((np.abs(x) < _FARTHEST) & (np.abs(y) < _FARTHEST))
    _fill(system, x, y, sane, places, iter(range(_MOST_TRIALS)))
    return places


def _fill(
    system: Any,
    x: Floats,
    y: Floats,
    at: npt.NDArray[np.intp],
    found: Floats,
    trials: Iterator[int],
) -> None:
    """Write longitude and latitude of some points; GDAL refuses all if it can place one nowhere."""
    from rasterio._err import CPLE_BaseError
    from rasterio.crs import CRS
    from rasterio.warp import transform

    if not len(at):
        return
    try:
        longitude, latitude = transform(system, CRS.from_epsg(DEGREES), x[at], y[at])
    except CPLE_BaseError:
        half = len(at) // 2
        if half and next(trials, None) is not None:
            _fill(system, x, y, at[:half], found, trials)
            _fill(system, x, y, at[half:], found, trials)
        return
    found[at, 0], found[at, 1] = longitude, latitude


def is_in_degrees(code: int) -> bool:
    """Whether the coordinates of a system are longitude and latitude themselves."""
    if code == DEGREES:
        return True
    if degrees_of(code, np.zeros(1), np.zeros(1)) is not None:
        return False
    system = _system(code)
    return system is not None and bool(system.is_geographic)


def is_known_system(code: int) -> bool:
    """Whether points in a system can be placed on the globe here."""
    return degrees_of(code, np.zeros(1), np.zeros(1)) is not None or _system(code) is not None


@cache
def _system(code: int) -> Any:
    import rasterio
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        with rasterio.Env():  # else GDAL writes about an unknown code on stderr
            return CRS.from_epsg(code)
    except CRSError:
        return None


def ground_in(table: "pa.Table") -> tuple[npt.NDArray[np.int64], Floats]:
    """(rows,) EPSG codes of a store's table, 0 if unknown; (rows, 4) bounds, NaN if unknown."""
    epsg = table[EPSG].fill_null(0).to_numpy().astype(np.int64)
    sides = [table[side].to_numpy().astype(np.float64) for side in SIDES]
    return epsg, np.stack(sides, axis=1)


def places_in(table: "pa.Table") -> GroundPlaces:
    """The places of the rows of a store's table."""
    return patch_places(*ground_in(table))
