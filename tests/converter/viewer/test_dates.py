"""The page of a store whose places have several dates: it shows the first, and says so."""

import json
from pathlib import Path
from urllib.request import urlopen

import imagecodecs
import numpy as np
import pytest

from patchpress import convert
from tests.converter.viewer.conftest import serving
from tests.support.dated import DATES, described, stacked, write_optical, write_radar


@pytest.mark.slow
def test_the_page_shows_the_first_date_and_says_so(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    optical = write_optical(tree, {"elm1": DATES, "elm2": DATES[1:3]})
    write_radar(tree, {"elm1": DATES[:2]})
    convert(described(tree), tree, tmp_path / "store", workers=0)
    with serving(tmp_path / "store") as page:

        def got(path: str) -> bytes:
            with urlopen(page + path, timeout=60) as answer:  # noqa: S310
                found: bytes = answer.read()
                return found

        summary = json.loads(got("store"))
        assert [one["title"] for one in summary["modalities"]] == [
            "made-up reflectance, first date",
            "made-up decibels, first date",
        ]
        pixels = np.frombuffer(got("pixels/optical/1"), "<u2").reshape(3, 16, 16)
        np.testing.assert_array_equal(pixels, stacked(optical["elm2"])[0])
        picture = got("thumbnail/optical/1?channel=B3&channel=B2&channel=B1")
        assert imagecodecs.png_decode(picture).shape == (16, 16, 3)
        row = json.loads(got("row/1"))
        assert row["columns"]["optical_dates"][0].startswith("2020-04-03")
        assert json.loads(got("select?f=%7B%7D"))["count"] == 2
