"""One damaged patch: a `PatchError` that names the file, whatever is wrong with it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from patchpress import open_store
from patchpress.converter.encoding.grounds import same_ground
from patchpress.converter.encoding.tiff import Ground
from patchpress.readers.errors import PatchError
from tests.support.helpers import UTM, band_files, first_band, folder_bytes, geotiff, made, patches
from tests.support.synthetic import tiff

CORNER = (300_000, 5_400_000)
Files = dict[str, Path]


def rewritten(path: Path, *, epsg: int = 0, east: int = 0, north: int = 0) -> None:
    """Write a band again with another georeference."""
    import rasterio

    with rasterio.open(path) as file:
        pixels, system, corner = file.read(1), file.crs.to_epsg(), file.transform
    optical = "_B" in path.name
    data = tiff(
        pixels, epsg or system, int(corner.c) + east, int(corner.f) + north, optical=optical
    )
    path.write_bytes(data)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def extra_band(path: Path) -> None:
    path.with_name(path.name.replace("_B05", "_B10")).write_bytes(path.read_bytes())


def other_dtype(path: Path) -> None:
    path.write_bytes(tiff(first_band(path).astype(np.float32), 32633, *CORNER))


def other_size(path: Path) -> None:
    path.write_bytes(tiff(first_band(path)[:30, :30], 32633, *CORNER))


def two_bands(path: Path) -> None:
    pixels = first_band(path)
    geotiff(path, np.stack([pixels, pixels]), **UTM)


def no_tiff(path: Path) -> None:
    path.write_text("<html>404 Not Found</html>")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "B05.tif is missing"),
    "extra": (extra_band, "B10.tif is a band that the description does not have"),
    "truncated": (truncated, r"B05.tif is truncated"),
    "empty": (lambda path: path.write_bytes(b""), "B05.tif"),
    "no TIFF": (no_tiff, r"B05.tif is no TIFF"),
    "a folder": (a_folder, "B05.tif"),
    "dtype": (other_dtype, r"B05.tif is float32, not uint16"),
    "size": (other_size, r"B05.tif has 30 x 30 pixels, not 60 x 60"),
    "two bands": (two_bands, r"B05.tif has 2 bands"),
    "a pixel east": (lambda path: rewritten(path, east=20), r"B05.tif covers"),
    "a pixel north": (lambda path: rewritten(path, north=20), r"B05.tif covers"),
    "a fine pixel east": (lambda path: rewritten(path, east=10), r"B05.tif covers"),
    "another zone": (lambda path: rewritten(path, epsg=32632), r"B05.tif covers EPSG:32632"),
    "no georeference": (lambda path: geotiff(path, first_band(path)[None]), r"B05.tif covers"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("index", [0, -1], ids=["first patch", "last patch"])
def test_a_damaged_band_stops_with_its_file_named(
    raw: Path, tmp_path: Path, damage: str, index: int
) -> None:
    spoil, reason = DAMAGES[damage]
    name = patches(raw, "s2")[index]
    path = band_files(raw, "s2", name)["B05"]
    spoil(path)
    with pytest.raises(PatchError, match=f"^{path.parent}/{name}_{reason}") as refused:
        made(raw, tmp_path / "store")
    assert str(refused.value).count(str(path.parent)) == 1
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "store" / "manifest.json").exists()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_patch_is_skipped_and_the_others_are_right(
    raw: Path, tmp_path: Path, stores: dict[tuple[str, str], Path], damage: str
) -> None:
    spoil, _ = DAMAGES[damage]
    name = patches(raw, "s2")[2]
    spoil(band_files(raw, "s2", name)["B05"])
    report = made(raw, tmp_path / "store", on_error="skip")
    assert report.exit_code == 1
    assert len(report.skipped) == 1
    assert name in report.skipped[0]
    store = open_store(tmp_path / "store")
    assert store.keys("s2") == [other for other in patches(raw, "s2") if other != name]
    for key in store.keys("s2"):
        files = band_files(raw, "s2", key)
        np.testing.assert_array_equal(store.read(key, ["B04"])[0], first_band(files["B04"]))


@pytest.mark.parametrize("modality", ["s1", "map"])
def test_damage_of_other_modalities_is_named(raw: Path, tmp_path: Path, modality: str) -> None:
    name = patches(raw, modality)[1]
    path = list(band_files(raw, modality, name).values())[-1]
    truncated(path)
    with pytest.raises(PatchError, match=path.name):
        made(raw, tmp_path / "store")


def test_a_missing_map_is_named(raw: Path, tmp_path: Path) -> None:
    path = band_files(raw, "map", patches(raw, "map")[1])["Data"]
    path.unlink()
    with pytest.raises(PatchError, match=path.name):
        made(raw, tmp_path / "store")


def test_other_files_beside_the_bands_are_ignored(raw: Path, tmp_path: Path) -> None:
    for name in patches(raw, "s2"):
        path = band_files(raw, "s2", name)["B05"]
        path.with_name(f"{name}_labels_metadata.json").write_text("{}")
        path.with_name(f"{path.name}.aux.xml").write_text("<x/>")
    assert made(raw, tmp_path / "store").records["s2"] == 5


def test_a_folder_named_as_a_patch_that_is_a_file_is_refused(raw: Path, tmp_path: Path) -> None:
    product = next((raw / "BigEarthNet-S2").iterdir())
    path = product / f"{product.name}_90_90"
    path.write_bytes(b"")
    with pytest.raises(PatchError, match=path.name):
        made(raw, tmp_path / "store")


def test_bands_in_other_tiffs_give_the_same_store(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "plain")
    for modality in ("s2", "s1"):
        for name in patches(raw, modality):
            for path in band_files(raw, modality, name).values():
                import rasterio

                with rasterio.open(path) as file:
                    options = {"crs": file.crs, "transform": file.transform}
                    pixels = file.read()
                path.unlink()
                geotiff(
                    path, pixels, compress="deflate", predictor=2 + (modality == "s1"), **options
                )
    made(raw, tmp_path / "deflate")
    assert folder_bytes(tmp_path / "plain") == folder_bytes(tmp_path / "deflate")


def test_rounding_of_coordinates_is_no_other_ground() -> None:
    one, shape = Ground(32633, 0.0, 0.0, 1200.0, 1200.0), (120, 120)
    assert same_ground(one, one._replace(left=0.09), shape, 0.01)
    assert not same_ground(one, one._replace(left=0.11), shape, 0.01)
    assert not same_ground(one, one._replace(epsg=None), shape, 0.01)
    assert not same_ground(one, None, shape, 0.01)
    assert same_ground(None, None, shape, 0.01)
