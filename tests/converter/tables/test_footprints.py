"""Footprints: corners as GDAL has them, polygons for every reader of WKB, the globe's edges."""

import struct
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from rasterio.warp import transform

from patchpress.converter.tables.footprints import Footprints, footprints

Ring = npt.NDArray[np.float64]
CLOSE = 1e-8
"""Degrees: a millimetre."""


def parsed(wkb: bytes) -> list[Ring]:
    """The rings of a polygon, or of all of a multipolygon, read as the OGC defines them."""

    def polygon(at: int) -> tuple[Ring, int]:
        order, kind, rings, points = struct.unpack_from("<BIII", wkb, at)
        assert (order, kind, rings) == (1, 3, 1)
        values = struct.unpack_from(f"<{2 * points}d", wkb, at + 13)
        return np.array(values).reshape(points, 2), at + 13 + 16 * points

    order, kind, count = struct.unpack_from("<BII", wkb)
    assert order == 1
    found, at = [], 9 if kind == 6 else 0
    for _ in range(count if kind == 6 else 1):
        ring, at = polygon(at)
        found.append(ring)
    assert at == len(wkb)
    return found


def area(ring: Ring) -> float:
    """Signed: above 0 for a ring that runs counterclockwise."""
    x, y = ring.T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def one(code: int, *bounds: float) -> tuple[list[Ring], Footprints]:
    """The rings of one patch, which have the properties that all must have."""
    found = footprints(np.array([code]), np.array([bounds], float))
    rings = parsed(found.geometry[0].as_py())
    for ring in rings:
        np.testing.assert_array_equal(ring[0], ring[-1])
        assert area(ring) > 0
        assert (np.abs(ring) <= (180, 90)).all()
        assert len(np.unique(ring[:-1], axis=0)) == len(ring) - 1
    points = np.concatenate(rings)
    np.testing.assert_array_equal(found.boxes[0], [*points.min(axis=0), *points.max(axis=0)])
    assert found.kinds == {"Polygon" if len(rings) == 1 else "MultiPolygon"}
    return rings, found


@pytest.mark.parametrize(
    ("code", "bounds"),
    [
        (32633, (331_200, 5_330_400, 332_400, 5_331_600)),
        (32760, (520_000, 4_000_000, 520_600, 4_000_600)),
        (4326, (12.0, 41.0, 12.01, 41.01)),
        (4258, (12.0, 41.0, 13.0, 42.0)),
        (3035, (4_321_000, 3_210_000, 4_322_000, 3_211_000)),
        (3857, (1_000_000, 6_000_000, 1_001_000, 6_001_000)),
        (3413, (-500_000, -1_000_000, -499_000, -999_000)),
        (3031, (200_000, 300_000, 201_000, 301_000)),
        (2193, (1_570_000, 5_180_000, 1_571_000, 5_181_000)),
    ],
)
def test_corners_are_those_of_gdal_counterclockwise(
    code: int, bounds: tuple[float, float, float, float]
) -> None:
    left, bottom, right, top = bounds
    (ring,), _ = one(code, *bounds)
    corners = transform(
        f"EPSG:{code}", "EPSG:4326", [left, right, right, left], [bottom, bottom, top, top]
    )
    np.testing.assert_allclose(ring[:-1], np.transpose(corners), atol=CLOSE)


def test_long_edges_follow_the_curve_within_a_metre() -> None:
    box = 300_000, 6_600_000, 310_000, 6_610_000
    (ring,), _ = one(32633, *box)
    assert len(ring) > 5
    for start, end in pairwise(ring):
        middle = [(start + end) / 2]
        x, y = transform("EPSG:4326", "EPSG:32633", [middle[0][0]], [middle[0][1]])
        off = min(abs(x[0] - box[0]), abs(x[0] - box[2]), abs(y[0] - box[1]), abs(y[0] - box[3]))
        assert off < 1
    assert len(one(32633, 331_200, 5_330_400, 332_400, 5_331_600)[0][0]) == 5
    assert len(one(3857, 1e6, 6e6, 1.1e6, 6.1e6)[0][0]) == 5  # its edges are straight on the map
    assert len(one(4326, 0, 0, 40, 40)[0][0]) == 5


@pytest.mark.parametrize("code", [32601, 32660, 32701, 32760, 3832])
def test_a_patch_across_the_antimeridian_has_two_parts(code: int) -> None:
    x, y = transform("EPSG:4326", f"EPSG:{code}", [180.0], [60.0 if code < 32700 else -20.0])
    rings, found = one(code, x[0] - 600, y[0] - 600, x[0] + 600, y[0] + 600)
    east, west = sorted(rings, key=lambda ring: -ring[:, 0].max())
    assert (west[:, 0].min(), east[:, 0].max()) == (-180, 180)
    assert (west[:, 0].max() < -179.9, east[:, 0].min() > 179.9) == (True, True)
    assert found.boxes[0, [0, 2]].tolist() == [-180, 180]
    if code == 3832:  # in Mercator's projection 1,200 units are fewer metres
        return
    width = 1200 * 1.01 / (111_320 * np.cos(np.radians(abs(rings[0][0, 1]))))
    height = 1200 / 111_320
    np.testing.assert_allclose(area(east) + area(west), width * height, rtol=0.03)


def test_a_patch_up_to_the_antimeridian_has_one_part() -> None:
    rings, found = one(4326, 179, 10, 180, 11)
    assert len(rings) == 1
    assert found.boxes[0].tolist() == [179, 10, 180, 11]
    rings, found = one(4326, -180, 10, -179, 11)
    assert found.boxes[0].tolist() == [-180, 10, -179, 11]


def test_longitudes_beyond_the_map_are_brought_back() -> None:
    rings, _ = one(4326, 179, -5, 182, 5)
    assert sorted(area(ring) for ring in rings) == [10, 20]
    rings, _ = one(4326, 350, -5, 352, 5)
    assert [ring[:, 0].min() for ring in rings] == [-10]
    rings, found = one(4326, 0, -90, 360, 90)
    assert area(rings[0]) == 360 * 180
    assert found.boxes[0].tolist() == [-180, -90, 180, 90]


@pytest.mark.parametrize(("code", "pole"), [(3413, 90), (3995, 90), (3031, -90), (32661, 90)])
def test_a_patch_around_a_pole_reaches_all_longitudes(code: int, pole: int) -> None:
    x, y = (2e6, 2e6) if code == 32661 else (0, 0)
    rings, found = one(code, x - 60_000, y - 50_000, x + 40_000, y + 50_000)
    assert len(rings) == 1
    assert found.boxes[0, [0, 2]].tolist() == [-180, 180]
    assert pole in found.boxes[0]
    # As much of the globe as the patch: an area on the map that the cosine makes smaller.
    ring = rings[0][np.argsort(rings[0][:, 0], kind="stable")]
    edge = ring[np.abs(ring[:, 1]) < 90]
    caps = np.trapezoid(1 - np.sin(np.radians(np.abs(edge[:, 1]))), np.radians(edge[:, 0]))
    np.testing.assert_allclose(caps * 6_371_007**2, 1e10, rtol=0.08)


def test_a_patch_with_a_corner_at_the_pole_keeps_its_quarter() -> None:
    _, found = one(3995, 0, 0, 50_000, 50_000)
    assert found.boxes[0, 3] == 90
    assert found.boxes[0, 2] - found.boxes[0, 0] == pytest.approx(90)


def test_what_has_no_place_is_null(capfd: pytest.CaptureFixture[str]) -> None:
    utm = 331_200.0, 5_330_400.0, 332_400.0, 5_331_600.0
    bounds = [
        utm,  # no code
        (np.nan, *utm[1:]),
        utm,  # of a code that nobody knows
        utm,
        (1e300, 1e300, 2e300, 2e300),
        (0, 89, 1, 95),  # beyond the pole, in degrees
        (5, 5, 5, 5),  # nothing
        (1, 2, 3, 4),  # a system without an inverse
        (4e6, 3e6, 4.001e6, 3.001e6),
        (1e8, 1e8, 1.1e8, 1.1e8),  # beyond the reach of a system, beside one within it
    ]
    codes = [0, 32633, 9_999_999, 32633, 3857, 4326, 4326, 32600, 3035, 3035]
    found = footprints(np.array(codes), np.array(bounds, float))
    assert [value.is_valid for value in found.geometry] == [n in (3, 8) for n in range(10)]
    assert (np.isnan(found.boxes[:, 0]) == [n not in (3, 8) for n in range(10)]).all()
    assert capfd.readouterr().err == ""


def test_footprints_of_a_part_are_those_of_the_whole() -> None:
    rng = np.random.default_rng(3)
    corner = rng.uniform((3e5, 4e6), (7e5, 6e6), (300, 2))
    bounds = np.concatenate([corner, corner + rng.choice([1200, 12_000], (300, 1))], axis=1)
    codes = rng.choice([32601, 32633, 3035, 0], 300)
    whole = footprints(codes, bounds)
    parts = [footprints(codes[at : at + 7], bounds[at : at + 7]) for at in range(0, 300, 7)]
    assert [v for part in parts for v in part.geometry.to_pylist()] == whole.geometry.to_pylist()


def test_polygons_are_valid_for_shapely() -> None:
    shapely = pytest.importorskip("shapely", reason="shapely, the oracle, is not installed")
    cases = [
        (32633, 331_200, 5_330_400, 332_400, 5_331_600),
        (32601, 300_000, 6_600_000, 310_000, 6_610_000),
        (3832, 3_338_000, 1_000_000, 3_341_000, 1_003_000),
        (4326, 179, -5, 182, 5),
        (3413, -60_000, -50_000, 40_000, 50_000),
        (3031, -60_000, -50_000, 40_000, 50_000),
        (3995, 0, 0, 50_000, 50_000),
    ]
    table = np.array(cases, float)
    found = footprints(table[:, 0].astype(int), table[:, 1:])
    shapes = shapely.from_wkb(found.geometry.to_pylist())
    assert shapely.is_valid(shapes).all()
    np.testing.assert_allclose(shapely.bounds(shapes), found.boxes)
    assert all(part.exterior.is_ccw for shape in shapes for part in shapely.get_parts(shape))
