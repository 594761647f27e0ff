"""How far places on the globe are from the nearest of others: exact, half a million in seconds.

Points are taken in leaves of some that lie together. What a leaf of points needs to be compared
with are the leaves of others whose boxes are near enough; all the rest is left out unseen.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

EARTH_KM = 6371.0088  # the mean radius
LEAF = 64  # points that lie together


def nearest_km(points: Floats, others: Floats, within: float = np.inf) -> Floats:
    """From each point, how far the nearest of the others is.

    Args:
        points: (points, 2) longitude and latitude in degrees; NaN for a place that is not known.
        others: the same.
        within: kilometres beyond which it does not matter.

    Returns:
        (points,) kilometres along the sphere; infinite if there is none, or none within that
        distance, and NaN for a point that is not known.
    """
    found = np.full(len(points), np.nan)
    known = np.flatnonzero(np.isfinite(points).all(axis=1))
    found[known] = np.inf
    others = others[np.isfinite(others).all(axis=1)]
    if not len(known) or not len(others):
        return found
    chord = 2 * EARTH_KM * np.sin(min(within / (2 * EARTH_KM), np.pi / 2))
    nearest = _nearest_chords(_on_sphere(points[known]), _on_sphere(others), chord)
    far = nearest > chord
    found[known] = _along_ground(nearest)
    found[known[far]] = np.inf
    return found


def distance_km(one: Floats, other: Floats) -> Floats:
    """Kilometres between places, (places, 2) longitude and latitude in degrees each."""
    chords = np.sqrt(((_on_sphere(one) - _on_sphere(other)) ** 2).sum(axis=1))
    return _along_ground(chords)


def _along_ground(chords: Floats) -> Floats:
    """Kilometres along the sphere between points that are so far apart straight through it."""
    found: Floats = 2 * EARTH_KM * np.arcsin(np.minimum(chords / (2 * EARTH_KM), 1))
    return found


def _on_sphere(places: Floats) -> Floats:
    """(places, 3) kilometres from the middle of the earth."""
    longitude, latitude = np.radians(places.T)
    across = np.cos(latitude)
    parts = across * np.cos(longitude), across * np.sin(longitude), np.sin(latitude)
    return EARTH_KM * np.stack(parts, axis=1)


def _nearest_chords(points: Floats, others: Floats, within: float) -> Floats:
    """The straight distance from each point to the nearest other one, if that is `within`."""
    leaves = list(_leaves(others))
    there = [others[leaf] for leaf in leaves]
    lows = np.array([leaf.min(axis=0) for leaf in there])
    highs = np.array([leaf.max(axis=0) for leaf in there])
    found = np.full(len(points), np.inf)
    for leaf in _leaves(points):
        own = points[leaf]
        apart = np.maximum(lows - own.max(axis=0), own.min(axis=0) - highs)
        least = (np.maximum(apart, 0) ** 2).sum(axis=1)  # to anything in each leaf of others
        first = int(least.argmin())
        if least[first] > within**2:
            continue
        nearest = _squares(own, there[first])
        # Only leaves that may have a nearer one for some of these points.
        for number in np.flatnonzero(least < min(nearest.max(), within**2 * 1.000001)):
            if number != first and least[number] < nearest.max():
                nearest = np.minimum(nearest, _squares(own, there[number]))
        found[leaf] = np.sqrt(nearest)
    return found


def _squares(points: Floats, others: Floats) -> Floats:
    """The square of the distance from each point to the nearest other one."""
    squares: Floats = ((points[:, None] - others[None]) ** 2).sum(axis=2).min(axis=1)
    return squares


def _leaves(points: Floats) -> Iterator[Numbers]:
    """Numbers of points that lie together, some at a time: halved across their widest extent."""
    waiting = [np.arange(len(points))]
    while waiting:
        some = waiting.pop()
        if len(some) <= LEAF:
            yield some
            continue
        here = points[some]
        along = here[:, int(np.ptp(here, axis=0).argmax())]
        order = np.argpartition(along, len(some) // 2)
        waiting += [some[order[len(some) // 2 :]], some[order[: len(some) // 2]]]
