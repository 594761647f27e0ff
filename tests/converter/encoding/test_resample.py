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
from tests.support.land import draw_land
from tests.support.synthetic import reference_map, sentinel2

METHODS = ["bilinear", "cubic"]
REAL = Path(__file__).parents[4] / "shared" / "data" / "bigearthnet-v2"


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


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int8", "int16"])
@pytest.mark.parametrize("factor", [2, 3, 6])
def test_bilinear_integers_are_gdals(tmp_path: Path, dtype: str, factor: int) -> None:
    """Halves included, which are many: they go away from zero."""
    least = -120 if dtype.startswith("int") else 0
    band = np.random.default_rng(factor).integers(least, 120, (20, 20)).astype(dtype)
    file = geotiff(tmp_path / "band.tif", band[None])
    ours = resampled(band, 20 * factor, "bilinear")
    np.testing.assert_array_equal(ours, by_gdal(file, 20 * factor, "bilinear"))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real samples are not beside the repository")
def test_real_coarse_bands_are_gdals() -> None:
    for file in sorted(REAL.glob("**/*_B*.tif")):
        band = first_band(file)
        ours = {method: resampled(band, 120, method) for method in METHODS}
        assert np.array_equal(ours["bilinear"], by_gdal(file, 120, "bilinear"))
        assert difference(ours["cubic"], by_gdal(file, 120, "cubic")) <= 1


@pytest.mark.parametrize("method", ["nearest", *METHODS])
@pytest.mark.parametrize("size", [(257, 256), (265, 264), (242, 256), (300, 256)])
def test_a_band_of_any_size_is_gdals(tmp_path: Path, method: str, size: tuple[int, int]) -> None:
    pixels, wanted = size
    band = np.random.default_rng(1).integers(0, 255, (pixels, pixels)).astype(np.uint8)
    file = geotiff(tmp_path / "band.tif", band[None])
    ours = resampled(band, wanted, method)
    theirs = by_gdal(file, wanted, method)
    assert difference(ours, theirs) <= (method != "nearest")
    assert (ours != theirs).mean() < 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_smooth_bands_are_gdals_within_one(tmp_path: Path, method: str) -> None:
    rng = np.random.default_rng(1)
    bands = sentinel2(rng, draw_land(rng, reference_map(rng)))
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
def test_a_store_holds_what_gdal_would_read(tree: Path, tmp_path: Path, method: str) -> None:
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
    for key in store.keys("s2"):
        stored = store.read(key)
        (folder,) = tree.glob(f"BigEarthNet-S2/*/{key}")
        for name, band in zip(names, stored, strict=True):
            file = folder / f"{key}_{name}.tif"
            assert difference(band, by_gdal(file, 120, method)) <= 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_no_number_spoils_its_neighbours_only(
    tmp_path: Path, method: str, value: float
) -> None:
    band = np.random.default_rng(3).normal(-11, 4, (20, 20)).astype(np.float32)
    band[5, 7] = value
    file = geotiff(tmp_path / "band.tif", band[None])
    ours, theirs = resampled(band, 60, method), by_gdal(file, 60, method)
    numbers = np.isfinite(theirs)  # GDAL spoils pixels, too, to which it comes with a weight of 0
    assert numbers.sum() > 3400
    assert np.isfinite(ours[numbers]).all()
    assert not np.isfinite(ours[16, 22])
    numbers[6:30, 12:36] = False  # beside infinity, GDAL's numbers differ from version to version
    np.testing.assert_allclose(ours[numbers], theirs[numbers], rtol=0, atol=1e-4)
    band[5, 8] = -value
    assert np.isfinite(resampled(band, 60, method)).sum() > 3000


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
