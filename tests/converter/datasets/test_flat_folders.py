"""Patches of several files each whose files lie in one folder, told apart by their names."""

import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import convert, open_store, verify
from patchpress.converter.options import Layout
from patchpress.readers.errors import PatchError, PatchpressError
from tests.support.helpers import by_rasterio, geotiff

TEXT = """
[dataset]
name = "fields"
version = "1"
title = "Fields"
licence = "none"
url = "none"
citation = "none"

[modalities.s2]
title = "S2"
kind = "image"
folder = "s2"
path = "{site}/{place}_{file}.tif"
key = "{place}"
bands = [
    { name = "B02", gsd = 10, dtype = "uint16", shape = [8, 8] },
    { name = "B05", gsd = 20, dtype = "uint16", shape = [4, 4] },
    { name = "B08", gsd = 10, dtype = "uint16", shape = [8, 8] },
]
files = [{ name = "10", bands = ["B08", "B02"] }, { name = "20", bands = ["B05"] }]

[modalities.s2.fields]
site = '[a-z]+'
place = 'EPSG:\\d+_-?\\d+'
"""
PLACES = {"elm": ["EPSG:32610_-1", "EPSG:32610_-11", "EPSG:32610_2"], "oak": ["EPSG:32611_7"]}


def make(root: Path) -> Path:
    random = np.random.default_rng(0)
    for site, places in PLACES.items():
        folder = root / "s2" / site
        folder.mkdir(parents=True)
        for place in places:
            for name, bands, size in (("10", 2, 8), ("20", 1, 4)):
                pixels = random.integers(0, 9_999, (bands, size, size), np.uint16)
                geotiff(folder / f"{place}_{name}.tif", pixels)
    return root


def described(root: Path, text: str = TEXT) -> Path:
    path = root / "fields.toml"
    path.write_text(text)
    return path


def in_archive(source: Path, out: Path, kind: str) -> Path:
    """The source as a folder, a tar or a zip; gives the folder that holds it."""
    if kind == "folder":
        return source
    out.mkdir()
    files = sorted(path for path in (source / "s2").rglob("*") if path.is_file())
    if kind == "tar":
        with tarfile.open(out / "s2.tar", "w") as archive:
            for file in files:
                archive.add(file, str(file.relative_to(source)))
    else:
        with zipfile.ZipFile(out / "s2.zip", "w") as zipped:
            for file in files:
                zipped.write(file, str(file.relative_to(source)))
    return out


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
@pytest.mark.parametrize("layout", Layout)
def test_files_beside_those_of_other_patches(tmp_path: Path, kind: str, layout: Layout) -> None:
    source, description = make(tmp_path / "raw"), described(tmp_path)
    given = in_archive(source, tmp_path / "packed", kind)
    convert(description, given, tmp_path / "store", layout=layout, workers=0)
    store = open_store(tmp_path / "store")
    assert sorted(store.keys("s2")) == sorted(place for some in PLACES.values() for place in some)
    for site, places in PLACES.items():
        for place in places:
            folder = source / "s2" / site
            b08, b02 = by_rasterio(folder / f"{place}_10.tif")[0]
            (b05,) = by_rasterio(folder / f"{place}_20.tif")[0]
            expected = [b02, b05.repeat(2, 0).repeat(2, 1), b08]
            np.testing.assert_array_equal(store.read(place), expected)
    assert verify(tmp_path / "store", given, dataset=description, workers=0).good


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_one_file_a_band(tmp_path: Path, kind: str) -> None:
    (tmp_path / "raw" / "s2").mkdir(parents=True)
    for name in ("p1", "p11", "p2"):
        for number, band in enumerate(("B02", "B08")):
            pixels = np.full((1, 8, 8), 10 * int(name[1:]) + number, np.uint16)
            geotiff(tmp_path / "raw" / "s2" / f"{name}_{band}.tif", pixels)
    text = TEXT.replace("{site}/{place}_{file}", "{place}_{band}").replace(
        "EPSG:\\d+_-?\\d+", "p.+"
    )
    lines = [line for line in text.splitlines() if "files" not in line and "B05" not in line]
    description = described(tmp_path, "\n".join(lines))
    given = in_archive(tmp_path / "raw", tmp_path / "packed", kind)
    convert(description, given, tmp_path / "store", workers=0)
    store = open_store(tmp_path / "store")
    for name in ("p1", "p11", "p2"):
        assert [int(band[0, 0]) for band in store.read(name)] == [
            10 * int(name[1:]),
            10 * int(name[1:]) + 1,
        ]


# What is done to the folder of elm -> what the error says, of a folder and of archives.
BROKEN: dict[str, tuple[Any, str]] = {
    "a file is missing": (
        lambda folder: (folder / "EPSG:32610_2_20.tif").unlink(), "EPSG:32610_2_20.tif"),
    "a file too many": (
        lambda folder: geotiff(folder / "EPSG:32610_2_60.tif", np.ones((1, 2, 2), np.uint16)),
        "EPSG:32610_2_60.tif is a file of bands that the description does not have"),
    "too few bands": (
        lambda folder: geotiff(folder / "EPSG:32610_2_10.tif", np.ones((1, 8, 8), np.uint16)),
        "EPSG:32610_2_10.tif has 1 bands, not 2"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_not_as_described_is_named(tmp_path: Path, kind: str, broken: str) -> None:
    source, (breaks, sentence) = make(tmp_path / "raw"), BROKEN[broken]
    breaks(source / "s2" / "elm")
    given = in_archive(source, tmp_path / "packed", kind)
    with pytest.raises(PatchError) as refused:
        convert(described(tmp_path), given, tmp_path / "store", workers=0)
    assert sentence in str(refused.value)
    report = convert(described(tmp_path), given, tmp_path / "rest", workers=0, on_error="skip")
    assert len(report.skipped) == 1


def test_a_file_of_a_field_that_no_name_fits_is_told(tmp_path: Path) -> None:
    source = make(tmp_path / "raw")
    (source / "s2" / "elm" / "notes.txt").write_text("x")
    (source / "s2" / "elm" / "EPSG:32610_2_30.tif").write_text("x")
    text = TEXT.replace("site = ", "file = '10|20'\nsite = ")
    report = convert(described(tmp_path, text), source, tmp_path / "store", workers=0)
    assert "no patches: 2" in report.text()


def test_a_file_twice_in_a_tar_is_refused(tmp_path: Path) -> None:
    source = make(tmp_path / "raw")
    given = in_archive(source, tmp_path / "packed", "tar")
    file = source / "s2" / "elm" / "EPSG:32610_2_10.tif"
    (source / "s2" / "elm" / "EPSG:32610_2_20.tif").unlink()
    with tarfile.open(given / "s2.tar", "w") as archive:
        for _ in range(2):
            archive.add(file, str(file.relative_to(source)))
    with pytest.raises(PatchpressError, match=r"_2_10\.tif twice"):
        convert(described(tmp_path), given, tmp_path / "store", workers=0)
