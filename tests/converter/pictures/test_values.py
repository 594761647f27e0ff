"""Pictures of values: histograms, statistics, and the darkest and brightest patches."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from patchpress import open_store, stats
from patchpress.converter.pictures.asked import PictureAsked, description_of
from patchpress.converter.pictures.brightness import brightness_sheet, darkest_typical_brightest
from patchpress.converter.pictures.choice import RowsAsked
from patchpress.converter.pictures.histograms import BandValues, band_histograms
from patchpress.converter.pictures.statistics_table import statistics_table
from patchpress.readers.errors import OptionError, StatisticsMissing
from tests.converter.pictures.conftest import all_text, check_texts, texts
from tests.support.helpers import radar_with_nan

pytestmark = pytest.mark.slow

Asked = Callable[..., PictureAsked]


@pytest.mark.parametrize("layout", ["stacked", "native"])
def test_every_band_has_a_histogram_of_each_split(asked: Asked, layout: str) -> None:
    page = band_histograms(asked(layout))
    axes = page.figure.axes
    assert len(axes) == 14
    assert all(len(one.patches) == 3 for one in axes)
    shown = texts(page)
    assert "B8A, 865 nm" in shown
    assert {"train", "validation", "test"} <= set(shown)
    assert "12 of 12 patches; 3 flagged patches are left out" in all_text(page)
    check_texts(page)


def test_shares_are_percent_of_each_group() -> None:
    random = np.random.default_rng(1)
    few, many = random.integers(0, 1000, 5000), random.integers(0, 1000, 50_000)
    edges, (one, other) = BandValues("B", (few, many)).shares()
    assert (len(edges), len(one)) == (61, 60)
    assert 97 < one.sum() <= 100
    assert 97 < other.sum() <= 100
    edges, (whole,) = BandValues("B", (np.array([3, 4, 4, 5]),)).shares()
    assert whole.tolist() == [25, 50, 25]
    edges, (empty,) = BandValues("B", (np.empty(0),)).shares()
    assert not empty.any()
    _, (alike,) = BandValues("B", (np.full(9, 2.5),)).shares()
    assert alike.sum() == 100


def test_statistics_are_those_of_the_store(
    stores: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    store = Path(shutil.copytree(stores["stacked", "none"], tmp_path / "ben.store"))
    opened = open_store(store)
    given = PictureAsked(store=opened, place=str(store), description=description_of(opened))
    with pytest.raises(StatisticsMissing, match="patchpress stats"):
        statistics_table(given)
    found = {one.modality: one for one in stats(store, "train", workers=0)}
    page = statistics_table(given)
    shown = texts(page)
    assert f"s2, train, {found['s2'].patches} patches: Sentinel-2 L2A" in all_text(page)
    for band in found["s2"].bands:
        assert f"{band.mean:,.0f}" in shown
        assert f"{band.pixels:,}" in shown
    for band in found["s1"].bands:
        assert f"{band.std:,.2f}" in shown
    check_texts(page)
    asked = PictureAsked(store=opened, place=str(store), rows=RowsAsked(split="test"))
    with pytest.raises(StatisticsMissing, match="no statistics of s2 test"):
        statistics_table(asked)


def test_the_darkest_and_brightest_are_found(asked: Asked) -> None:
    given = asked()
    page = brightness_sheet(given)
    keys = given.store.keys("s2")
    means = {key: given.store.read(key, bands="rgb").mean() for key in keys}
    text = "".join(texts(page))
    for key in sorted(keys, key=means.__getitem__)[:3] + sorted(keys, key=means.__getitem__)[-3:]:
        assert key in text
    # Snow and clouds are brightest, and the picture says that they are flagged.
    assert "flagged: contains_" in text
    assert "flagged patches are among them" in text
    check_texts(page)


def test_values_are_ordered_once_each() -> None:
    values = np.array([5.0, np.nan, 1.0, 9.0, 4.0, 6.0, 2.0, 8.0, 100.0])
    found = darkest_typical_brightest(values, 2)
    assert found == [
        ("Darkest", 2),
        ("Darkest", 6),
        ("Typical", 0),
        ("Typical", 5),
        ("Brightest", 3),
        ("Brightest", 8),
    ]
    assert darkest_typical_brightest(np.array([7.0]), 3) == [("Darkest", 0)]
    assert darkest_typical_brightest(np.array([np.nan]), 3) == []


def test_patches_without_a_finite_pixel_are_counted(tmp_path: Path) -> None:
    store = open_store(radar_with_nan(tmp_path))
    page = brightness_sheet(PictureAsked(store=store, place="store", description=None))
    assert "of 3 patches; their median is" in all_text(page)
    assert "; 1 of them without a finite pixel left out" in all_text(page)
    check_texts(page)


def test_maps_have_no_such_pictures(asked: Asked) -> None:
    for draw in (band_histograms, brightness_sheet, statistics_table):
        with pytest.raises(OptionError, match="this picture is of images"):
            draw(asked(modalities=("map",)))
