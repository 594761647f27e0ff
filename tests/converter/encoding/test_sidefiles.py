"""Georeference beside a TIFF counts as GDAL has it; other files beside it change nothing."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from patchpress import Report, convert, open_store
from patchpress.readers.errors import PatchError
from tests.support.helpers import UTM, by_rasterio, folder_bytes, geotiff
from tests.support.packing import members
from tests.support.published_forms import TREES
from tests.support.zipping import METHODS, zip_of

OTHER = Affine(10, 0, 500_000, 0, -10, 4_000_000)
WORLD = "10\n0\n0\n-10\n500005\n3999995\n"


def auxiliary(path: Path, metres: int = 0) -> None:
    """Let GDAL write another georeference beside a file that has one: of a side so long, or any."""
    inside, pixels = path.read_bytes(), by_rasterio(path)[0]
    transform = OTHER
    if metres:
        pixel = metres / pixels.shape[-1]
        transform = Affine(pixel, 0, 500_000, 0, -pixel, 4_000_000)
    geotiff(path, pixels, crs="EPSG:32719", transform=transform, PROFILE="BASELINE")
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


def zip_beside(source: Path, method: str = "stored") -> Path:
    """A source with a zip of all files of another, called as that."""
    files = {
        name: (source / name).read_bytes()
        for folder in sorted(source.iterdir())
        for name in members(source, folder.name)
    }
    out = source.with_name("packed")
    out.mkdir()
    (out / "all.zip").write_bytes(zip_of(files, method=method))
    return out


def told(report: Report) -> list[list[str]]:
    """The entries that are no patches, of a folder or of an archive."""
    every = (*report.passed_over.values(), *report.passed_over_in_archives.values())
    return [sorted(Path(name).name for name in one.names) for one in every]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("beside", ["aux.xml", "statistics", "tfw", "wld"])
@pytest.mark.parametrize("referenced", [True, False])
def test_a_zip_has_the_georeference_of_the_folder(
    tmp_path: Path, beside: str, referenced: bool, method: str
) -> None:
    """Of patches that are single files; beside only one of two."""
    folder = tmp_path / "raw" / "Forest"
    folder.mkdir(parents=True)
    bands = np.random.default_rng(1).integers(0, 9999, (13, 64, 64)).astype(np.uint16)
    for number in (1, 2):
        geotiff(folder / f"Forest_{number}.tif", bands, **(UTM if referenced else {}))
    BESIDE[beside](folder / "Forest_2.tif")
    packed = zip_beside(tmp_path / "raw", method)
    reports = [
        convert("eurosat", tmp_path / "raw", tmp_path / "a", workers=0),
        convert("eurosat", packed, tmp_path / "b", workers=0, paths={"s2": packed / "all.zip"}),
    ]
    assert folder_bytes(tmp_path / "a") == folder_bytes(tmp_path / "b")
    assert told(reports[0]) == told(reports[1])


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("every", [True, False])
def test_a_zip_of_patches_of_several_files_has_that_georeference(
    tmp_path: Path, beside: str, every: bool
) -> None:
    tree = TREES["ssl4eo-s12"]
    source = tree.write(tmp_path / "raw", [tree.records[0]])
    files = sorted(source.rglob("*.tif"))
    for file in files if every else files[3:4]:
        if every and beside == "aux.xml":
            auxiliary(file, metres=2640)
        else:
            BESIDE[beside](file)
    packed, modality = zip_beside(source), tree.records[0].modality
    found = []
    for name, options in (("raw", {}), ("zip", {"paths": {modality: packed / "all.zip"}})):
        path = source if name == "raw" else packed
        try:
            rows("ssl4eo-s12", path, tmp_path / f"{name}.store", modalities=(modality,), **options)
            found.append(("", folder_bytes(tmp_path / f"{name}.store")))
        except PatchError as error:
            found.append((str(error).split("/")[-1], {}))
    assert found[0] == found[1]
    assert bool(found[0][0]) == (beside == "aux.xml" and not every)


def test_a_file_beside_in_a_zip_that_is_damaged_or_too_large_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "raw" / "Forest"
    folder.mkdir(parents=True)
    file = folder / "Forest_1.tif"
    geotiff(file, np.ones((13, 64, 64), np.uint16), **UTM)
    auxiliary(file)
    packed = zip_beside(tmp_path / "raw")
    data = (packed / "all.zip").read_bytes()
    (packed / "all.zip").write_bytes(data.replace(b"<SRS", b"<srs", 1))
    given: Any = {"paths": {"s2": packed / "all.zip"}}
    with pytest.raises(PatchError, match=r"all\.zip/Forest/Forest_1\.tif\.aux\.xml is damaged"):
        rows("eurosat", packed, tmp_path / "store", **given)
    names = {"Forest/Forest_1.tif": file.read_bytes()}
    for size in (2 << 20, 64 << 20):
        (packed / "all.zip").write_bytes(
            zip_of({**names, "Forest/Forest_1.tif.aux.xml": b" " * size}, method="deflate")
        )
        with pytest.raises(PatchError, match=r"all\.zip/Forest/Forest_1\.tif"):
            rows("eurosat", packed, tmp_path / f"store-{size}", **given)
