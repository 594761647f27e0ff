"""Trees of places that were seen several times, and the descriptions of such trees."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from tests.support.helpers import Array, geotiff

DATES = ("20200105", "20200403", "20200704", "20201006")
BANDS = {"B1": (8, 60), "B2": (16, 30), "B3": (16, 30)}
RADAR = ("VV", "VH")

HEAD = """
[dataset]
name = "dated"
version = "1"
title = "Places of several dates"
licence = "CC0-1.0"
url = "https://example.org"
citation = "none"
"""

FOLDERS = (
    HEAD
    + r"""
[modalities.optical]
title = "made-up reflectance"
kind = "image"
folder = "optical"
path = "{place}/{scene}/{band}.tif"
key = "o_{patch_id}"
name = "{place}"
rgb = ["B3", "B2", "B1"]
bands = [
    { name = "B1", gsd = 60, dtype = "uint16", shape = [8, 8] },
    { name = "B2", gsd = 30, dtype = "uint16", shape = [16, 16] },
    { name = "B3", gsd = 30, dtype = "uint16", shape = [16, 16] },
]
columns = { site = "{site}", scenes = "{scene}" }
time = { steps = 4, date = "{date}", format = "%Y%m%d" }

[modalities.optical.fields]
place = '(?P<site>[a-z]+)\d+'
scene = 'S_(?P<date>[^_]+)_\w'

[modalities.radar]
title = "made-up decibels"
kind = "image"
folder = "radar"
path = "{place}_{date}.tif"
key = "r_{patch_id}"
name = "{place}"
bands = [
    { name = "VV", gsd = 30, dtype = "float32", shape = [16, 16] },
    { name = "VH", gsd = 30, dtype = "float32", shape = [16, 16] },
]
time = { steps = 3, date = "{date}", format = "%Y%m%d" }

[modalities.radar.fields]
place = '[a-z]+\d+'
date = '\d{8}'
"""
)
"""Optical: a folder a date, with a file a band. Radar: a file a date, all in one folder."""

STACKED = (
    HEAD
    + r"""
[modalities.radar]
title = "made-up decibels"
kind = "image"
folder = "radar"
path = "{place}.tif"
key = "{patch_id}"
name = "{place}"
bands = [
    { name = "VV", gsd = 30, dtype = "float32", shape = [16, 16] },
    { name = "VH", gsd = 30, dtype = "float32", shape = [16, 16] },
]
time = { steps = 4, order = "time-major" }

[modalities.radar.fields]
place = '[a-z]+\d+'
"""
)
"""Radar: a file a place, whose channels are date after date."""


def georeferenced(size: int, place: int = 0, shift: float = 0) -> dict[str, Any]:
    """Options of GDAL: a place of 480 m, at a corner of its own."""
    transform = Affine(480 / size, 0, 600_000 + 480 * place + shift, 0, -480 / size, 5_400_000)
    return {"crs": "EPSG:32633", "transform": transform}


def write_optical(
    root: Path, places: Mapping[str, Sequence[str]], seed: int = 0
) -> dict[str, dict[str, Array]]:
    """Places with these dates; gives place -> band -> pixels (dates, h, w), by date."""
    random = np.random.default_rng(seed)
    written: dict[str, dict[str, Array]] = {}
    for number, (place, dates) in enumerate(places.items()):
        of_place: dict[str, list[Array]] = {band: [] for band in BANDS}
        for at, date in enumerate(sorted(dates)):
            # The names are in another order than the dates.
            folder = root / "optical" / place / f"S_{date}_{'dcba'[at % 4]}"
            folder.mkdir(parents=True)
            for band, (size, _) in BANDS.items():
                pixels = random.integers(1, 5000, (1, size, size), np.uint16)
                geotiff(folder / f"{band}.tif", pixels, **georeferenced(size, number))
                of_place[band].append(pixels[0])
        written[place] = {band: np.stack(some) for band, some in of_place.items()}
    return written


def write_radar(root: Path, places: Mapping[str, Sequence[str]], seed: int = 1) -> dict[str, Array]:
    """Places with these dates; gives place -> pixels (dates, 2, 16, 16), by date."""
    random = np.random.default_rng(seed)
    written = {}
    (root / "radar").mkdir(parents=True)
    for number, (place, dates) in enumerate(places.items()):
        pixels = random.normal(-12, 3, (len(dates), 2, 16, 16)).astype(np.float32)
        for date, bands in zip(sorted(dates), pixels, strict=True):
            path = root / "radar" / f"{place}_{date}.tif"
            geotiff(path, bands, **georeferenced(16, number))
        written[place] = pixels
    return written


def stacked(bands: Mapping[str, Array]) -> Array:
    """Bands (dates, h, w) as (dates, bands, 16, 16), each pixel repeated."""
    grids = [np.repeat(np.repeat(b, 16 // b.shape[1], 1), 16 // b.shape[2], 2)
             for b in bands.values()]  # fmt: skip
    return np.stack(grids, axis=1)


def described(root: Path, text: str = FOLDERS) -> Path:
    """The description as a file beside the tree."""
    path = root / "dated.toml"
    path.write_text(text)
    return path
