"""Resampling gives what GDAL gives when it reads a band into an array of a finer shape."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning

from patchpress import convert, open_store
from patchpress.converter.encoding.resample import resample_into
from patchpress.converter.options import Resampling as Method
from tests.support.helpers import Array, first_band, geotiff, patches, tiny_dataset
from tests.support.synthetic import Row, sentinel2

METHODS = ["bilinear", "cubic"]


def by_gdal(path: Path, size: int, method: str) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            array: Array = file.read(1, out_shape=(size, size), resampling=Resampling[method])
            return array


def resampled(band: Array, size: int, method: str) -> Array:
    out = np.empty((size, size), band.dtype)
    resample_into(band, out, method)
    return out


def difference(one: Array, other: Array) -> float:
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())


@pytest.mark.parametrize("method", METHODS)
def test_smooth_bands_are_gdals_within_one(tmp_path: Path, method: str) -> None:
    bands = sentinel2(np.random.default_rng(1))
    for name in ("B01", "B05"):
        file = geotiff(tmp_path / f"{name}.tif", bands[name][None])
        assert difference(resampled(bands[name], 120, method), by_gdal(file, 120, method)) <= 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
@pytest.mark.parametrize("factor", [2, 3, 6])
def test_extremes_of_integers_are_gdals_within_one(
    tmp_path: Path, method: str, dtype: str, factor: int
) -> None:
    limits = np.iinfo(dtype)
    random = np.random.default_rng(factor)
    band = np.where(random.random((10, 10)) < 0.5, limits.min, limits.max).astype(dtype)
    file = geotiff(tmp_path / "band.tif", band[None])
    ours = resampled(band, 10 * factor, method)
    assert difference(ours, by_gdal(file, 10 * factor, method)) <= 1
    assert (ours.min(), ours.max()) == (limits.min, limits.max)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_are_gdals(tmp_path: Path, method: str, dtype: str) -> None:
    band = np.random.default_rng(3).normal(-11, 4, (20, 20)).astype(dtype)
    file = geotiff(tmp_path / "band.tif", band[None])
    np.testing.assert_allclose(
        resampled(band, 120, method), by_gdal(file, 120, method), rtol=0, atol=1e-4
    )


def test_cubic_would_overshoot_what_is_clipped() -> None:
    band = np.zeros((6, 6), np.float64)
    band[:, 3:] = 255
    free = resampled(band, 12, "cubic")
    assert free.min() < 0
    assert free.max() > 255
    kept = resampled(band.astype(np.uint8), 12, "cubic")
    np.testing.assert_array_equal(kept, np.clip(np.rint(free), 0, 255))


@pytest.mark.parametrize("method", ["nearest", *METHODS])
def test_a_band_on_the_finest_grid_is_copied(method: str) -> None:
    band = np.random.default_rng(4).integers(0, 65_536, (8, 8), np.uint16)
    np.testing.assert_array_equal(resampled(band, 8, method), band)


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_band_stays_constant_to_its_edges(method: str) -> None:
    assert (resampled(np.full((5, 5), 4711, np.uint16), 30, method) == 4711).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_store_holds_what_gdal_would_read(
    tree: Path, rows: list[Row], tmp_path: Path, method: str
) -> None:
    convert(
        "bigearthnet-v2",
        tree,
        tmp_path / "store",
        workers=0,
        resampling=Method(method),
        modalities=("s2",),
        limit=3,
    )
    store = open_store(tmp_path / "store")
    names = store.manifest.modalities["s2"].band_names
    for row in rows[:3]:
        stored = store.read(row["patch_id"])
        (folder,) = tree.glob(f"BigEarthNet-S2/*/{row['patch_id']}")
        for name, band in zip(names, stored, strict=True):
            file = folder / f"{row['patch_id']}_{name}.tif"
            assert difference(band, by_gdal(file, 120, method)) <= 1


@pytest.mark.parametrize("method", METHODS)
def test_a_map_is_never_interpolated(tmp_path: Path, method: str) -> None:
    description = tiny_dataset(tmp_path, {"g": ["p1"]}, kind="classes")
    resampling = Method(method)
    convert(description, tmp_path / "raw", tmp_path / "store", workers=0, resampling=resampling)
    store = open_store(tmp_path / "store")
    coarse = first_band(tmp_path / "raw/A/g/p1/p1_coarse.tif")
    np.testing.assert_array_equal(store.read("p1")[1], np.kron(coarse, np.ones((2, 2), np.uint16)))
    assert store.manifest.modalities["a"].resampling == "nearest"


@pytest.mark.parametrize("method", METHODS)
def test_real_bands_are_gdals_within_one(shared_data: Path, method: str) -> None:
    source = shared_data / "bigearthnet-v2" / "sample"
    for name in patches(source, "s2")[:6]:
        (folder,) = source.glob(f"BigEarthNet-S2/*/{name}")
        for band in ("B01", "B05", "B09", "B12"):
            file = folder / f"{name}_{band}.tif"
            ours = resampled(first_band(file), 120, method)
            assert difference(ours, by_gdal(file, 120, method)) <= 1
