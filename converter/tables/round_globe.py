"""Rings that the edge of the map cuts: across the antimeridian, or around a pole (RFC 7946)."""

import numpy as np
import numpy.typing as npt

from patchpress.converter.tables.rings import turned

Floats = npt.NDArray[np.float64]
Ring = list[tuple[float, float]]

_AT_POLE = 90 - 1e-9  # degrees of latitude


def is_inside(rings: Floats) -> npt.NDArray[np.bool_]:
    """Which rings lie on the map as they are, so that `on_the_map` need not be asked.

    Args:
        rings: (patches, points, 2) longitude and latitude.
    """
    longitude, latitude = rings[..., 0], rings[..., 1]
    width = longitude.max(axis=1) - longitude.min(axis=1)
    at_pole = (np.abs(latitude) >= _AT_POLE).any(axis=1)
    return np.asarray((np.abs(longitude) <= 180).all(axis=1) & (width < 180) & ~at_pole)


def on_the_map(ring: Floats, *, straight: bool) -> list[Floats]:
    """A ring as one or more, (points, 2) each, not closed, between -180 and 180 degrees.

    Args:
        ring: (points, 2) longitude and latitude.
        straight: whether its edges are straight in longitude and latitude, so that 0 to 300
            degrees is that, and no way round the other side.
    """
    points: Ring = [(float(x), float(y)) for x, y in ring]
    turn = 0.0
    if not straight:
        points = _unrolled(_without_pole(points))
        turn = points[-1][0] - points[0][0]
        del points[-1]
    if abs(turn) > 180:
        return [_counterclockwise(_around_pole(points, turn))]
    longitudes = [x for x, _ in points]
    if max(longitudes) - min(longitudes) >= 360:
        latitudes = [y for _, y in points]
        low, high = min(latitudes), max(latitudes)
        return [np.array([(-180, low), (180, low), (180, high), (-180, high)], np.float64)]
    first = int(np.floor((min(longitudes) + 180) / 360))
    last = int(np.ceil((max(longitudes) + 180) / 360)) - 1
    found = []
    for map_number in range(first, max(last, first) + 1):
        west = 360.0 * map_number - 180
        part = _cut(_cut(points, west, 1), west + 360, -1)
        if len(part) > 2:
            found.append(_counterclockwise([(x - west - 180, y) for x, y in part]))
    return found


def _without_pole(points: Ring) -> Ring:
    """The ring; a corner at a pole, which has any longitude, becomes the two of its neighbours."""
    found: Ring = []
    for number, (x, y) in enumerate(points):
        if abs(y) < _AT_POLE:
            found.append((x, y))
        else:
            after = points[(number + 1) % len(points)][0]
            found += [(points[number - 1][0], y), (after, y)]
    return found


def _unrolled(points: Ring) -> Ring:
    """The ring, closed, each longitude the short way from the one before, however far it comes."""
    found = [points[0]]
    for x, y in [*points[1:], points[0]]:
        before = found[-1][0]
        found.append((before + float(turned(np.asarray(x - before))), y))
    return found


def _around_pole(points: Ring, turn: float) -> Ring:
    """A ring around a pole as an area of the map from one edge to the other, up to the pole."""
    if turn < 0:
        points = points[::-1]
    shift = 360 * np.floor((points[0][0] + 180) / 360)
    points = [(x - shift, y) for x, y in points]
    points.append((points[0][0] + 360, points[0][1]))
    number = next(at for at, (x, _) in enumerate(points) if x >= 180)
    edge = _between(points[number - 1], points[number], 180)
    after = [(x - 360, y) for x, y in points[number:-1]]
    pole = 90.0 if sum(y for _, y in points) > 0 else -90.0
    around = [(-180.0, edge), *after, *points[:number], (180.0, edge)]
    return [*around, (180.0, pole), (-180.0, pole)]


def _cut(points: Ring, edge: float, side: int) -> Ring:
    """The part of a ring that is east (1) or west (-1) of a meridian."""
    found: Ring = []
    for number, point in enumerate(points):
        before = points[number - 1]
        if (before[0] - edge) * (point[0] - edge) < 0:
            found.append((edge, _between(before, point, edge)))
        if (point[0] - edge) * side >= 0:
            found.append(point)
    return found


def _between(one: tuple[float, float], other: tuple[float, float], edge: float) -> float:
    """The latitude at which a line crosses a meridian."""
    along = (edge - one[0]) / (other[0] - one[0])
    return one[1] + along * (other[1] - one[1])


def _counterclockwise(points: Ring) -> Floats:
    """The ring without points that are there twice, and turned if it runs clockwise."""
    kept = [one for number, one in enumerate(points) if one != points[number - 1]]
    ring = np.array(kept, np.float64).reshape(-1, 2)
    x, y = ring.T
    area = (x * np.roll(y, -1) - np.roll(x, -1) * y).sum()
    return ring if area >= 0 else ring[::-1]
