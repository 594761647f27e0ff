"""Blocks of ground: which patches lie near one another, by the bounds in the table.

Bounds in UTM are turned into longitude and latitude, so that one place has one block though two
zones show it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import OptionError

Floats = npt.NDArray[np.float64]

KM_A_DEGREE = 40_007.863 / 360  # of latitude: a 360th of a meridian of WGS 84
UTM_NORTH, UTM_SOUTH, DEGREES = 32_600, 32_700, 4326  # EPSG: zone 0 of each, and WGS 84
# WGS 84, and the series of Krüger in its third flattening (Karney 2011, arXiv:1002.1417, to n^4).
_A, _F, _K0 = 6_378_137.0, 1 / 298.257223563, 0.9996
_N = _F / (2 - _F)
_RADIUS = _A / (1 + _N) * (1 + _N**2 / 4 + _N**4 / 64)
_BETA = (
    _N / 2 - 2 * _N**2 / 3 + 37 * _N**3 / 96 - _N**4 / 360,
    _N**2 / 48 + _N**3 / 15 - 437 * _N**4 / 1440,
    17 * _N**3 / 480 - 37 * _N**4 / 840,
    4397 * _N**4 / 161_280,
)
_DELTA = (
    2 * _N - 2 * _N**2 / 3 - 2 * _N**3 + 116 * _N**4 / 45,
    7 * _N**2 / 3 - 8 * _N**3 / 5 - 227 * _N**4 / 45,
    56 * _N**3 / 15 - 136 * _N**4 / 35,
    4279 * _N**4 / 630,
)


def blocks(epsg: npt.NDArray[Any], x: Floats, y: Floats, km: float) -> npt.NDArray[np.int64]:
    """The block that each point lies in: squares of about `km` a side.

    Rows of blocks follow the latitude; in each row the blocks are so many degrees wide as are `km`
    at its middle. Points of other reference systems than UTM and degrees have squares in its own
    units, taken as metres.

    Args:
        epsg: EPSG code of each point.
        x: easting or longitude.
        y: northing or latitude.
        km: the side of a block in kilometres.

    Returns:
        (points,) int64, a number for each block.

    Raises:
        OptionError: a side that is not above 0.
    """
    if not km > 0:
        raise OptionError(f"a block must be more than 0 km wide, not {km!r}")
    rows, columns = np.empty(len(x), np.int64), np.empty(len(x), np.int64)
    systems = np.zeros(len(x), np.int64)  # 0 for what has longitude and latitude
    for code in np.unique(epsg):
        here = epsg == code
        lonlat = degrees_of(int(code), x[here], y[here])
        if lonlat is None:
            systems[here] = code
            rows[here] = np.floor(y[here] / (1000 * km))
            columns[here] = np.floor(x[here] / (1000 * km))
        else:
            rows[here], columns[here] = cells_of(*lonlat, km)
    cells = np.column_stack([systems, rows, columns])
    _, numbers = np.unique(cells, axis=0, return_inverse=True)
    return np.asarray(numbers, np.int64).reshape(-1)


def cells_of(
    longitude: Floats, latitude: Floats, km: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(row, column) of the block of `km` a side that each place lies in.

    One grid over the globe: rows are counted from the equator, columns from Greenwich. Places are
    taken to the nearest centimetre, so that one place has one block whatever zone shows it.

    Args:
        longitude: in degrees, any turns.
        latitude: in degrees.
        km: the side of a block in kilometres.
    """
    longitude = np.round(longitude, 7) + 180
    longitude = longitude - 360 * np.floor(longitude / 360) - 180  # 180 and -180 are one meridian
    rows = np.floor(np.round(latitude, 7) * KM_A_DEGREE / km)
    middle = np.radians(np.clip((rows + 0.5) * km / KM_A_DEGREE, -89, 89))
    columns = np.floor(longitude * KM_A_DEGREE * np.cos(middle) / km)
    return rows.astype(np.int64), columns.astype(np.int64)


def degrees_of(epsg: int, x: Floats, y: Floats) -> tuple[Floats, Floats] | None:
    """(longitude, latitude) in degrees of points in WGS 84 or one of its UTM zones, else None."""
    if epsg == DEGREES:
        return x, y
    for first, northing in ((UTM_NORTH, 0.0), (UTM_SOUTH, 10_000_000.0)):
        zone = epsg - first
        if 1 <= zone <= 60:
            longitude, latitude = _inverse_mercator(x - 500_000, y - northing)
            return longitude + 6 * zone - 183, latitude
    return None


def _inverse_mercator(east: Floats, north: Floats) -> tuple[Floats, Floats]:
    """Degrees from metres east of the central meridian and north of the equator."""
    xi, eta = north / (_K0 * _RADIUS), east / (_K0 * _RADIUS)
    straight_xi, straight_eta = xi.copy(), eta.copy()
    for step, beta in enumerate(_BETA, 1):
        straight_xi -= beta * np.sin(2 * step * xi) * np.cosh(2 * step * eta)
        straight_eta -= beta * np.cos(2 * step * xi) * np.sinh(2 * step * eta)
    conformal = np.arcsin(np.sin(straight_xi) / np.cosh(straight_eta))
    latitude = conformal.copy()
    for step, delta in enumerate(_DELTA, 1):
        latitude += delta * np.sin(2 * step * conformal)
    longitude = np.arctan2(np.sinh(straight_eta), np.cos(straight_xi))
    return np.degrees(longitude), np.degrees(latitude)
