"""Georeference beside a TIFF counts as GDAL has it; other files beside it change nothing."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from patchpress import convert, open_store
from patchpress.readers.errors import PatchError
from tests.support.helpers import UTM, by_rasterio, geotiff
from tests.support.published_forms import TREES

OTHER = Affine(10, 0, 500_000, 0, -10, 4_000_000)
WORLD = "10\n0\n0\n-10\n500005\n3999995\n"


def auxiliary(path: Path) -> None:
    """Let GDAL write another georeference beside a file that has one."""
    inside, pixels = path.read_bytes(), by_rasterio(path)[0]
    geotiff(path, pixels, crs="EPSG:32719", transform=OTHER, PROFILE="BASELINE")
    path.write_bytes(inside)


def statistics(path: Path) -> None:
    text = '<PAMDataset><PAMRasterBand band="1"><Metadata><MDI key="STATISTICS_MEAN">1</MDI>'
    path.with_name(f"{path.name}.aux.xml").write_text(
        f"{text}</Metadata></PAMRasterBand></PAMDataset>"
    )


BESIDE: dict[str, Any] = {
    "aux.xml": auxiliary,
    "statistics": statistics,
    "tfw": lambda path: path.with_suffix(".tfw").write_text(WORLD),
    "wld": lambda path: path.with_suffix(".wld").write_text(WORLD),
    "ovr": lambda path: path.with_name(f"{path.name}.ovr").write_bytes(b"no overview"),
    "msk": lambda path: geotiff(
        path.with_name(f"{path.name}.msk"), np.zeros((1, 64, 64), np.uint8)
    ),
}


def rows(name: str, source: Path, store: Path, **options: Any) -> list[dict[str, Any]]:
    convert(name, source, store, workers=0, **options)
    found: list[dict[str, Any]] = open_store(store).table().to_pylist()
    return found


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("referenced", [True, False])
def test_a_file_of_all_bands(tmp_path: Path, beside: str, referenced: bool) -> None:
    file = tmp_path / "raw" / "Forest" / "Forest_1.tif"
    file.parent.mkdir(parents=True)
    bands = np.random.default_rng(1).integers(0, 9999, (13, 64, 64)).astype(np.uint16)
    geotiff(file, bands, **(UTM if referenced else {}))
    BESIDE[beside](file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(file) as raster:
            bounds = None if raster.transform.is_identity else raster.bounds
            epsg = raster.crs.to_epsg() if raster.crs else None
            expected = raster.read()
    (row,) = rows("eurosat", tmp_path / "raw", tmp_path / "store")
    np.testing.assert_array_equal(open_store(tmp_path / "store").read("Forest_1"), expected)
    found = tuple(row[name] for name in ("left", "bottom", "right", "top"))
    assert found == (tuple(bounds) if bounds else (None,) * 4)
    assert row["epsg"] == (epsg if bounds else None)


@pytest.mark.parametrize("beside", ["aux.xml", "statistics", "tfw"])
def test_a_file_of_one_band(tmp_path: Path, beside: str) -> None:
    """If only one band has another ground beside it, the bands no longer cover the same."""
    tree = TREES["ssl4eo-s12"]
    source = tree.write(tmp_path / "raw", [tree.records[0]])
    files = sorted(source.rglob("*.tif"))
    BESIDE[beside](files[3])
    options: Any = {"modalities": (tree.records[0].modality,)}
    if beside == "aux.xml":
        with pytest.raises(PatchError, match=rf"{files[3].name} covers EPSG:32719"):
            rows("ssl4eo-s12", source, tmp_path / "store", **options)
    else:  # a world file does not count if the file has a georeference
        assert rows("ssl4eo-s12", source, tmp_path / "store", **options)


def test_a_file_beside_that_is_far_too_large_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "raw" / "Forest" / "Forest_1.tif"
    file.parent.mkdir(parents=True)
    geotiff(file, np.ones((13, 64, 64), np.uint16), **UTM)
    (file.parent / "Forest_1.tif.aux.xml").write_bytes(b" " * (2 << 20))
    with pytest.raises(PatchError, match=r"Forest_1\.tif\.aux\.xml is no file of a georeference"):
        rows("eurosat", tmp_path / "raw", tmp_path / "store")
