"""Several bands in each of several files, and files whose bands have an order of their own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from patchpress import convert, open_store
from patchpress.converter.commands.verify import verify
from patchpress.converter.descriptions.parse import parse_description
from patchpress.converter.options import Layout, Size
from patchpress.readers.errors import DescriptionError, PatchError
from tests.support.helpers import Array, by_rasterio, geotiff, packed

HEAD = """
[dataset]
name = "ponds"
version = "1"
title = "Ponds"
licence = "none"
url = "none"
citation = "none"

[modalities.optical]
title = "Optical"
kind = "image"
folder = "optical"
key = "{name}"
"""
SEVERAL = """
path = "{name}/{name}_{file}.tif"
bands = [
    { name = "B01", gsd = 60, dtype = "uint16", shape = [4, 4] },
    { name = "B02", gsd = 10, dtype = "uint16", shape = [24, 24] },
    { name = "B04", gsd = 10, dtype = "uint16", shape = [24, 24] },
    { name = "B05", gsd = 20, dtype = "uint16", shape = [12, 12] },
    { name = "B08", gsd = 10, dtype = "uint16", shape = [24, 24] },
    { name = "B12", gsd = 20, dtype = "uint16", shape = [12, 12] },
]
files = [
    { name = "10m_RGB", bands = ["B04", "B03", "B02"] },
    { name = "10m_IR", bands = ["B08"] },
    { name = "20m", bands = ["B12", "B05"] },
    { name = "60m", bands = ["B01", "B09"] },
]
[modalities.optical.fields]
name = 'p\\d+'
file = '\\d.*'
"""
ONE = """
path = "{name}.tif"
bands = [
    { name = "Red", gsd = 1, dtype = "uint16", shape = [24, 24] },
    { name = "Green", gsd = 1, dtype = "uint16", shape = [24, 24] },
    { name = "Blue", gsd = 1, dtype = "uint16", shape = [24, 24] },
]
files = [{ bands = ["Blue", "Infrared", "Red", "Green"] }]
[modalities.optical.fields]
name = 'p\\d+'
"""
# File -> its bands in their order, and (height, width) of them.
IN_FILES: dict[str, tuple[list[str], int]] = {
    "10m_RGB": (["B04", "B03", "B02"], 24),
    "10m_IR": (["B08"], 24),
    "20m": (["B12", "B05"], 12),
    "60m": (["B01", "B09"], 4),
}
BANDS = ["B01", "B02", "B04", "B05", "B08", "B12"]
# How GDAL writes the files; the first is read by one system call each.
WRITTEN: dict[str, dict[str, Any]] = {
    "planar": {"interleave": "band"},
    "pixel": {"interleave": "pixel"},
    "deflate": {"interleave": "pixel", "compress": "deflate", "predictor": 2},
    "tiled": {"interleave": "band", "tiled": True, "blockxsize": 16, "blockysize": 16},
}


def write_several(root: Path, patches: int = 5, **options: Any) -> Path:
    random = np.random.default_rng(1)
    for number in range(patches):
        name = f"p{number}"
        folder = root / "optical" / name
        folder.mkdir(parents=True)
        for file, (bands, size) in IN_FILES.items():
            pixels = random.integers(0, 65_536, (len(bands), size, size), np.uint16)
            transform = Affine(240 / size, 0, 600_000 + 240 * number, 0, -240 / size, 5_400_000)
            path = folder / f"{name}_{file}.tif"
            geotiff(path, pixels, crs="EPSG:32633", transform=transform, **options)
        geotiff(folder / f"{name}_labels.tif", pixels[:1])
    return root


def write_one(root: Path, patches: int = 3, **options: Any) -> Path:
    random = np.random.default_rng(2)
    (root / "optical").mkdir(parents=True)
    for number in range(patches):
        pixels = random.integers(0, 65_536, (4, 24, 24), np.uint16)
        geotiff(root / "optical" / f"p{number}.tif", pixels, **options)
    return root


def described(root: Path, text: str) -> Path:
    path = root / "ponds.toml"
    path.write_text(HEAD + text)
    return path


def bands_of(source: Path, name: str) -> dict[str, Array]:
    """What rasterio reads of the bands of a patch."""
    found: dict[str, Array] = {}
    for file, (bands, _) in IN_FILES.items():
        array, _ = by_rasterio(source / "optical" / name / f"{name}_{file}.tif")
        found |= zip(bands, array, strict=True)
    return {band: found[band] for band in BANDS}


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("written", WRITTEN)
def test_bands_of_several_files_are_those_that_rasterio_reads(
    tmp_path: Path, written: str, layout: Layout
) -> None:
    source = write_several(tmp_path / "raw", **WRITTEN[written])
    description = described(tmp_path, SEVERAL)
    convert(description, source, tmp_path / "store", layout=layout, workers=0)
    store = open_store(tmp_path / "store")
    assert store.keys("optical") == [f"p{number}" for number in range(5)]
    for number, name in enumerate(store.keys("optical")):
        expected = bands_of(source, name)
        found = store.read_bands(name)
        assert list(found) == BANDS
        for band, array in expected.items():
            stacked = array.repeat(24 // len(array), 0).repeat(24 // len(array), 1)
            wanted = array if layout == Layout.native else stacked
            np.testing.assert_array_equal(found[band], wanted)
            np.testing.assert_array_equal(store.read(name, [band])[0], stacked)
        row = store.table(columns=["name", "left", "epsg"]).to_pylist()[number]
        assert (row["left"], row["epsg"]) == (600_000 + 240 * number, 32633)
    assert verify(tmp_path / "store", source, dataset=description, workers=0).good


@pytest.mark.parametrize("layout", Layout)
def test_an_archive_gives_the_bytes_of_the_folders(tmp_path: Path, layout: Layout) -> None:
    source = write_several(tmp_path / "raw", interleave="pixel")
    description = described(tmp_path, SEVERAL)
    convert(description, source, tmp_path / "store", layout=layout, workers=0)
    convert(description, packed(source), tmp_path / "other", layout=layout, workers=0)
    for name in ("data.mdb", "metadata.parquet"):
        assert (tmp_path / "store" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


@pytest.mark.parametrize("size", [Size.crop, Size.resize])
def test_bands_of_several_files_are_brought_to_one_size(tmp_path: Path, size: Size) -> None:
    source = write_several(tmp_path / "raw")
    path = source / "optical/p1/p1_20m.tif"
    larger = np.random.default_rng(5).integers(0, 9999, (2, 13, 12), np.uint16)
    pixel = 20 if size is Size.crop else 240 / 13  # of the same ground
    transform = Affine(20, 0, 600_240, 0, -pixel, 5_400_000)
    geotiff(path, larger, crs="EPSG:32633", transform=transform)
    description = described(tmp_path, SEVERAL)
    with pytest.raises(PatchError, match="p1_20m.tif has 13 x 12 pixels, not 12 x 12"):
        convert(description, source, tmp_path / "refused", workers=0)
    convert(description, source, tmp_path / "store", workers=0, size=size)
    found = open_store(tmp_path / "store").read_bands("p1")
    if size is Size.crop:
        np.testing.assert_array_equal(found["B05"][::2, ::2], larger[1, :12])
    np.testing.assert_array_equal(found["B08"], bands_of(source, "p1")["B08"])
    assert verify(tmp_path / "store", source, dataset=description, workers=0).good


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("written", ["planar", "pixel"])
def test_one_file_may_have_another_order_and_bands_that_are_not_stored(
    tmp_path: Path, written: str, layout: Layout
) -> None:
    source = write_one(tmp_path / "raw", **WRITTEN[written])
    description = described(tmp_path, ONE)
    convert(description, source, tmp_path / "store", layout=layout, workers=0)
    store = open_store(tmp_path / "store")
    for name in store.keys("optical"):
        blue, _, red, green = by_rasterio(source / "optical" / f"{name}.tif")[0]
        np.testing.assert_array_equal(store.read(name), [red, green, blue])
    assert verify(tmp_path / "store", source, dataset=description, workers=0).good


def test_sizes_of_their_own_are_kept(tmp_path: Path) -> None:
    source = write_one(tmp_path / "raw")
    geotiff(source / "optical/p1.tif", np.arange(4 * 30 * 20, dtype=np.uint16).reshape(4, 30, 20))
    description = described(tmp_path, ONE.replace("bands = [\n", "any_size = true\nbands = [\n", 1))
    convert(description, source, tmp_path / "store", layout="native", workers=0)
    red = open_store(tmp_path / "store").read_bands("p1")["Red"]
    np.testing.assert_array_equal(red, by_rasterio(source / "optical/p1.tif")[0][2])
    assert verify(tmp_path / "store", source, dataset=description, workers=0).good


def test_more_buffers_than_the_system_takes_at_once(tmp_path: Path) -> None:
    """Native tensors lie in the order of their names, so that hardly two bands meet."""
    count = 1100
    bands = '{ name = "B", gsd = 1, dtype = "uint8", shape = [2, 3], count = 1100 }'
    text = f'path = "{{name}}.tif"\nbands = [{bands}]\n[modalities.optical.fields]\nname = "p."'
    source, random = tmp_path / "raw", np.random.default_rng(3)
    (source / "optical").mkdir(parents=True)
    for number in range(3):
        pixels = random.integers(0, 256, (count, 2, 3), np.uint8)
        geotiff(source / "optical" / f"p{number}.tif", pixels, interleave="band")
    convert(described(tmp_path, text), source, tmp_path / "store", layout="native", workers=0)
    store = open_store(tmp_path / "store")
    for name in store.keys("optical"):
        np.testing.assert_array_equal(
            store.read(name), by_rasterio(source / "optical" / f"{name}.tif")[0]
        )


# What is done to the files of p2 -> what the error says.
BROKEN: dict[str, tuple[Any, str]] = {
    "a file is missing": (lambda folder: (folder / "p2_20m.tif").unlink(), "p2_20m.tif is missing"),
    "a band too few": (
        lambda folder: geotiff(folder / "p2_20m.tif", np.ones((1, 12, 12), np.uint16)),
        "p2_20m.tif has 1 bands, not 2"),
    "a band too many": (
        lambda folder: geotiff(folder / "p2_10m_IR.tif", np.ones((2, 24, 24), np.uint16)),
        "p2_10m_IR.tif has 2 bands, not 1"),
    "another dtype": (
        lambda folder: geotiff(folder / "p2_60m.tif", np.ones((2, 4, 4), np.int16)),
        "p2_60m.tif is int16, not uint16"),
    "other ground": (
        lambda folder: geotiff(
            folder / "p2_20m.tif", np.ones((2, 12, 12), np.uint16),
            crs="EPSG:32633", transform=Affine(20, 0, 0, 0, -20, 5_400_000)),
        "p2_20m.tif covers EPSG:32633 0 "),
    "a file too many": (
        lambda folder: geotiff(folder / "p2_10m_X.tif", np.ones((1, 12, 12), np.uint16)),
        "p2_10m_X.tif is a file of bands that the description does not have"),
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN)
def test_files_that_are_not_as_described_are_named(tmp_path: Path, broken: str) -> None:
    source = write_several(tmp_path / "raw")
    breaks, sentence = BROKEN[broken]
    breaks(source / "optical/p2")
    description = described(tmp_path, SEVERAL)
    for number, form in enumerate((source, packed(source))):
        with pytest.raises(PatchError) as refused:
            convert(description, form, tmp_path / f"store{number}", workers=0)
        assert sentence in str(refused.value)
        assert "\n" not in str(refused.value)


# Mistake -> (text, text that replaces it, what the error says).
MISTAKES = {
    "a band in no file": (
        '"B04", "B03", "B02"', '"B04", "B03", "B2"', "files' have no band 'B02', which bands has"),
    "a band in two files": (
        '["B08"]', '["B08", "B02"]', "files[1].bands' names 'B02', which is in the file '10m_RGB'"),
    "a band twice in a file": ('["B08"]', '["B08", "B08"]', "files[1].bands' names 'B08' twice"),
    "a file of nothing stored": (
        '["B08"]', '["B10"]', "files[1].bands' has none of the bands: leave the file out"),
    "bands of two shapes": (
        '"B02"]', '"B02", "B12"]', "but bands of one file have one shape"),
    "a file twice": ('name = "20m"', 'name = "60m"', "files' names the file '60m' twice"),
    "a file without a name": ('name = "20m", ', "", "files[2].name' is missing"),
    "a path without files": (
        "_{file}.tif", ".tif", "path' has no {file}, but there are 4 files"),
    "a path of bands": ("_{file}.tif", "_{band}.tif", "write {file} instead"),
    "both": ("_{file}.tif", "_{file}_{band}.tif", "write {file} instead"),
    "a file in folders": (
        "{name}/{name}_{file}", "{file}/{name}_{file}", "may have {file} in the file's name only"),
    "twice": ("_{file}.tif", "_{file}_{file}.tif", "has {file} twice in the file's name"),
    "nothing after it": ("_{file}.tif", "_{file}", "must have text after {file}"),
    "unknown key": ('name = "20m", ', 'name = "20m", gsd = 3, ', "files[2].gsd' is unknown"),
    "no files": (SEVERAL[SEVERAL.index("files = [") : SEVERAL.index("[modalities.")],
                 "files = []\n", "files' must list at least one file"),
    "only some paths": (
        'path = "{name}/{name}_{file}.tif"', 'path = ["{name}/{name}_{file}.tif", "{name}.tif"]',
        "must have {file} in all paths, or in none"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_about_files_is_one_sentence(mistake: str) -> None:
    old, new, named = MISTAKES[mistake]
    text = HEAD + SEVERAL
    parse_description(text, "ponds.toml")
    assert text.count(old) == 1
    with pytest.raises(DescriptionError) as refused:
        parse_description(text.replace(old, new), "ponds.toml")
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_name_without_a_place_in_the_path_is_refused() -> None:
    text = (HEAD + ONE).replace("files = [{ ", 'files = [{ name = "all", ')
    with pytest.raises(DescriptionError, match=r"files\[0\].name' is of no use"):
        parse_description(text, "ponds.toml")


def test_a_field_of_ones_own_may_be_called_file() -> None:
    text = (HEAD + ONE).replace("{name}", "{file}").replace("name = 'p", "file = 'p")
    description = parse_description(text.replace("files = [{", "#"), "ponds.toml")
    assert description.identity == "file"
