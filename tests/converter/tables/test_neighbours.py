"""Distances to the nearest of other places: those of every pair, whatever lies where."""

import numpy as np
import pytest
from rasterio.warp import transform

from patchpress.converter.tables.neighbours import EARTH_KM, LEAF, distance_km, nearest_km


def brute(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.array([distance_km(np.broadcast_to(p, others.shape), others).min() for p in points])


def drawn(seed: int, count: int, spread: float = 180) -> np.ndarray:
    random = np.random.default_rng(seed)
    west, south = (
        random.uniform(-spread, spread, count),
        random.uniform(-spread / 2, spread / 2, count),
    )
    return np.stack([west, south], axis=1)


@pytest.mark.parametrize("spread", [180, 5, 0.1])
@pytest.mark.parametrize(("points", "others"), [(1, 1), (LEAF, 3), (700, 900), (5, 2000)])
def test_they_are_those_of_all_pairs(points: int, others: int, spread: float) -> None:
    one, other = drawn(1, points, spread), drawn(2, others, spread)
    wanted = brute(one, other)
    np.testing.assert_allclose(nearest_km(one, other), wanted, atol=1e-6)
    within = float(np.median(wanted))
    found = nearest_km(one, other, within)
    near = wanted <= within * (1 - 1e-9)
    np.testing.assert_allclose(found[near], wanted[near], atol=1e-6)
    assert np.isinf(found[wanted > within * (1 + 1e-9)]).all()


def test_the_same_places_the_poles_and_the_date_line() -> None:
    many = np.tile([[10.0, 50.0]], (500, 1))
    assert (nearest_km(many, many[:200]) == 0).all()
    across = nearest_km(
        np.array([[179.95, 0.0], [-180.0, 60.0]]), np.array([[-179.95, 0.0], [180.0, 60.0]])
    )
    np.testing.assert_allclose(across, [EARTH_KM * np.radians(0.1), 0], atol=1e-6)
    pole = nearest_km(np.array([[0.0, 89.9]]), np.array([[180.0, 89.9]]))
    np.testing.assert_allclose(pole, EARTH_KM * np.radians(0.2), atol=1e-6)


def test_unknown_places_are_no_places() -> None:
    lost = np.array([[np.nan, np.nan], [1.0, 2.0]])
    found = nearest_km(lost, np.array([[1.0, np.nan], [1.0, 3.0]]))
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1], EARTH_KM * np.radians(1), atol=1e-6)
    assert np.isinf(nearest_km(lost, lost[:1])[1])
    assert np.isinf(nearest_km(lost, np.empty((0, 2)))[1])


def test_kilometres_are_those_of_the_ground() -> None:
    """A map that keeps distances from its middle says the same, to the flattening of the earth."""
    there = np.array([[16.5, 48.2], [14.9, 47.1], [15.0, 49.0]])
    x, y = transform("EPSG:4326", "+proj=aeqd +lat_0=48 +lon_0=15 +datum=WGS84", *there.T)
    middle = np.broadcast_to([15.0, 48.0], there.shape)
    np.testing.assert_allclose(distance_km(middle, there), np.hypot(x, y) / 1000, rtol=0.005)
