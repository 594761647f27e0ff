"""The map of places: right coordinates, a coast, and what lies where."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from patchpress import convert
from patchpress.converter.pictures.asked import PictureAsked
from patchpress.converter.pictures.coastline import coastlines
from patchpress.converter.pictures.places import corners_in_degrees, places_map
from patchpress.readers.errors import OptionError
from patchpress.readers.store import open_store
from tests.converter.pictures.conftest import all_text, check_texts
from tests.support.helpers import geotiff, tiny_dataset

Asked = Callable[..., PictureAsked]


def test_patches_lie_where_their_tiles_are(asked: Asked) -> None:
    """33UUP is in Austria: its upper left corner is 12.30 E, 48.72 N or so."""
    page = places_map(asked())
    (dots,) = page.figure.axes[0].collections
    middles = np.asarray(dots.get_offsets())
    assert len(middles) == 12
    rows = asked().store.table(columns=["patch_id"], flagged="exclude")["patch_id"].to_pylist()
    there = sum("T33UUP" in name for name in rows)
    inside = abs(middles - [13.0, 48.2]).max(axis=1) < 1
    assert inside.sum() == there > 0
    assert "12 patches; 3 flagged patches are left out" in all_text(page)
    check_texts(page)


def test_corners_are_those_of_rasterio() -> None:
    sides = np.array([[600_000.0, 5_334_000.0, 601_200.0, 5_335_200.0], [10.0, 45.0, 11.0, 46.0]])
    corners = corners_in_degrees(np.array([32633, 4326]), sides)
    np.testing.assert_allclose(corners[1], [[10, 45], [10, 46], [11, 46], [11, 45]])
    # From pyproj: 600000 E, 5334000 N of zone 33 N.
    np.testing.assert_allclose(corners[0, 0], [16.3465, 48.1518], atol=0.01)
    with pytest.raises(OptionError, match="EPSG code 1 of the table"):
        corners_in_degrees(np.array([1]), sides[:1])


def holds(longitude: float, latitude: float) -> bool:
    """Whether a place is on land, by how many rings hold it."""
    from matplotlib.path import Path as Outline

    return (
        sum(Outline(ring).contains_point((longitude, latitude)) for ring in coastlines()) % 2 == 1
    )


@pytest.mark.parametrize(
    ("longitude", "latitude", "is_land"),
    [
        (16.4, 48.2, True),  # Vienna
        (-8.0, 39.5, True),  # Portugal
        (26.0, 62.0, True),  # Finland
        (-30.0, 45.0, False),  # the Atlantic
        (51.0, 42.0, False),  # the Caspian Sea
        (-172.5, 66.0, True),  # Chukotka, beyond longitude 180
        (0.0, -85.0, True),  # Antarctica
    ],
)
def test_the_coast_parts_land_and_sea(longitude: float, latitude: float, is_land: bool) -> None:
    assert holds(longitude, latitude) == is_land


def test_patches_without_a_place_are_told(tmp_path: Path) -> None:
    own = tiny_dataset(tmp_path, {"g": ["p1"]})
    for file in tmp_path.glob("raw/A/g/p1/*.tif"):
        size = 12 if "fine" in file.name else 6
        geotiff(file, np.ones((1, size, size), np.uint16))
    convert(own, tmp_path / "raw", tmp_path / "store", workers=0)
    given = PictureAsked(store=open_store(tmp_path / "store"), place="a/store")
    with pytest.raises(OptionError, match="no patch of a/store has a place"):
        places_map(given)
