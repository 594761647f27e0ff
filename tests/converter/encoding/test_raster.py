"""Every kind of TIFF against rasterio: pixels, EPSG code and transform."""

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.control
import rasterio.errors
from affine import Affine

from patchpress.converter.encoding.raster import decode, decode_apart, decode_rasterio
from patchpress.converter.encoding.tiff import Georeference, ground_of, plain_strips, read_directory
from patchpress.readers.errors import PatchError
from tests.support.helpers import UTM, Array, by_rasterio, geotiff

TILED: dict[str, Any] = {"tiled": True, "blockxsize": 16, "blockysize": 16}
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
TIFFS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one row a strip": {"blockysize": 1},
    "deflate": {"compress": "deflate"},
    "deflate, predictor 2": {"compress": "deflate", "predictor": 2},
    "lzw": {"compress": "lzw"},
    "lzw, predictor 2": {"compress": "lzw", "predictor": 2},
    "packbits": {"compress": "packbits"},
    "zstd": {"compress": "zstd"},
    "lzma": {"compress": "lzma"},
    "tiled": TILED,
    "tiled, deflate": TILED | {"compress": "deflate"},
    "BigTIFF": {"BIGTIFF": "YES"},
    "BigTIFF, deflate": {"BIGTIFF": "YES", "compress": "deflate"},
    "big-endian": {"ENDIANNESS": "BIG"},
    "big-endian, deflate, predictor 2": {
        "ENDIANNESS": "BIG",
        "compress": "deflate",
        "predictor": 2,
    },
    "big-endian BigTIFF": {"ENDIANNESS": "BIG", "BIGTIFF": "YES"},
    "12 bits": {"NBITS": 12},
    "sparse": {"SPARSE_OK": True},
}


def pixels(dtype: str, count: int = 1, height: int = 33, width: int = 40) -> Array:
    random = np.random.default_rng(count)
    if np.dtype(dtype).kind == "f":
        return random.normal(-11, 5, (count, height, width)).astype(dtype)
    limits = np.iinfo(dtype)
    high = min(int(limits.max), 4095)
    return random.integers(limits.min, high, (count, height, width), dtype, endpoint=True)


def assert_as_rasterio(path: Path) -> None:
    raster = decode(path.read_bytes())
    array, georeference = by_rasterio(path)
    assert raster.array.dtype == array.dtype
    np.testing.assert_array_equal(raster.array, array)
    assert raster.georeference == georeference


@pytest.mark.parametrize("kind", TIFFS)
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_kinds_of_tiffs(tmp_path: Path, kind: str, count: int, interleave: str) -> None:
    options = UTM | TIFFS[kind] | {"interleave": interleave, "photometric": "MINISBLACK"}
    path = geotiff(tmp_path / "image.tif", pixels("uint16", count), **options)
    assert_as_rasterio(path)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["plain", "deflate", "tiled", "big-endian"])
def test_dtypes(tmp_path: Path, dtype: str, kind: str) -> None:
    assert_as_rasterio(geotiff(tmp_path / "image.tif", pixels(dtype), **UTM, **TIFFS[kind]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_floating_point_predictor(tmp_path: Path, dtype: str) -> None:
    options: dict[str, Any] = {"compress": "deflate", "predictor": 3}
    assert_as_rasterio(geotiff(tmp_path / "image.tif", pixels(dtype), **UTM, **options))


@pytest.mark.parametrize("photometric", ["MINISWHITE", "MINISBLACK", "RGB", "PALETTE"])
def test_photometric_interpretations_keep_the_numbers(tmp_path: Path, photometric: str) -> None:
    bands = pixels("uint8", 3 if photometric == "RGB" else 1)
    path = tmp_path / "image.tif"
    if photometric == "PALETTE":
        geotiff(path, bands, **UTM)
        with rasterio.open(path, "r+") as file:
            file.write_colormap(1, {value: (value, 0, 0, 255) for value in range(256)})
    else:
        geotiff(path, bands, photometric=photometric, **UTM)
    assert_as_rasterio(path)


def test_an_image_with_a_mask_and_overviews_gives_its_pixels(tmp_path: Path) -> None:
    path = geotiff(tmp_path / "image.tif", pixels("uint16", 1, 64, 64), **UTM)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.eye(64, dtype=bool))
        file.build_overviews([2])
    assert_as_rasterio(path)


def test_a_file_with_holes_gives_zeros_there(tmp_path: Path) -> None:
    bands = pixels("uint16", 1, 64, 64)
    bands[:, 16:48] = 0
    assert_as_rasterio(geotiff(tmp_path / "image.tif", bands, **UTM, **TILED, SPARSE_OK=True))


REFERENCES: dict[str, dict[str, Any]] = {
    "UTM": UTM,
    "southern UTM": {"crs": "EPSG:32719", "transform": Affine(20, 0, 5e5, 0, -20, 7e6)},
    "geographic": {"crs": "EPSG:4326", "transform": Affine(1e-4, 0, 13.4, 0, -1e-4, 52.5)},
    "LAEA Europe": {"crs": "EPSG:3035", "transform": Affine(10, 0, 4e6, 0, -10, 3e6)},
    "rotated": {"crs": "EPSG:32633", "transform": Affine(9, 2, 4e5, 3, -8, 5e6)},
    "rows upwards": {"crs": "EPSG:32633", "transform": Affine(10, 0, 4e5, 0, 10, 5e6)},
    "no code": {"crs": "+proj=tmerc +lat_0=1 +lon_0=2 +k=0.9 +ellps=WGS84",
                "transform": UTM["transform"]},
    "no system": {"transform": UTM["transform"]},
    "no transform": {"crs": "EPSG:32633"},
    "none": {},
}  # fmt: skip


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("kind", ["plain", "deflate", "tiled", "BigTIFF", "big-endian"])
@pytest.mark.parametrize("point", [False, True], ids=["area", "point"])
def test_georeferences(tmp_path: Path, reference: str, kind: str, point: bool) -> None:
    options = REFERENCES[reference] | TIFFS[kind]
    assert_as_rasterio(geotiff(tmp_path / "image.tif", pixels("uint16"), point=point, **options))


@pytest.mark.parametrize("reference", REFERENCES)
def test_the_parser_and_gdal_agree_on_georeferences(tmp_path: Path, reference: str) -> None:
    path = geotiff(tmp_path / "image.tif", pixels("uint16"), **REFERENCES[reference])
    data = path.read_bytes()
    assert decode_rasterio(data).georeference == decode(data).georeference


def test_a_tie_point_may_lie_inside_the_image(tmp_path: Path) -> None:
    for column, row in ((0, 0), (3, 0), (0, 5), (20, 16.5)):
        data = geotiff(tmp_path / "image.tif", pixels("uint16"), **UTM).read_bytes()
        tie = struct.pack("<5d", 0, 0, 0, 331_200, 5_331_600)
        assert data.count(tie) == 1
        inside = struct.pack("<5d", column, row, 0, 331_200, 5_331_600)
        (tmp_path / "image.tif").write_bytes(data.replace(tie, inside))
        assert_as_rasterio(tmp_path / "image.tif")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reference", ["UTM", "geographic", "rotated", "none"])
def test_plain_files_are_decoded_here(tmp_path: Path, dtype: str, reference: str) -> None:
    path = geotiff(tmp_path / "image.tif", pixels(dtype), **REFERENCES[reference])
    data = path.read_bytes()
    directory = read_directory(data)
    assert directory is not None
    assert plain_strips(directory, len(data))


@pytest.mark.parametrize("kind", [name for name in TIFFS if name not in ("plain", "sparse")])
def test_what_plain_files_are_not(tmp_path: Path, kind: str) -> None:
    path = geotiff(tmp_path / "image.tif", pixels("uint16"), **UTM, **TIFFS[kind])
    data = path.read_bytes()
    directory = read_directory(data)
    assert directory is not None
    strips = plain_strips(directory, len(data))
    assert bool(strips) == (kind == "one row a strip")


@pytest.mark.parametrize("kind", TIFFS)
def test_all_decoders_agree(tmp_path: Path, kind: str) -> None:
    bands = pixels("uint16", 2)
    path = geotiff(tmp_path / "image.tif", bands, **UTM, **TIFFS[kind])
    data = path.read_bytes()
    for array in (decode(data).array, decode_apart(data), decode_rasterio(data).array):
        np.testing.assert_array_equal(array, bands)


@pytest.fixture
def without_gdal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on rasterio cannot be imported, so that whoever asks GDAL fails."""
    return lambda: monkeypatch.setitem(sys.modules, "rasterio", None)


@pytest.mark.parametrize("kind", [name for name in TIFFS if name not in ("12 bits", "sparse")])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_usual_files_are_decoded_by_two_decoders_that_are_not_gdal(
    tmp_path: Path, kind: str, count: int, interleave: str, without_gdal: Callable[[], None]
) -> None:
    bands = pixels("uint16", count)
    options = UTM | TIFFS[kind] | {"interleave": interleave, "photometric": "MINISBLACK"}
    data = geotiff(tmp_path / "image.tif", bands, **options).read_bytes()
    without_gdal()
    raster = decode(data)
    np.testing.assert_array_equal(raster.array, bands)
    assert raster.georeference == Georeference(32633, UTM["transform"][:6])
    np.testing.assert_array_equal(decode_apart(data), bands)


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_a_cube_is_not_turned(tmp_path: Path, interleave: str) -> None:
    """As many bands as rows and columns: the shape does not tell which is which."""
    cube = np.arange(27, dtype=np.uint16).reshape(3, 3, 3)
    options: dict[str, Any] = {"photometric": "MINISBLACK", "interleave": interleave}
    for compress in ("none", "deflate"):
        path = geotiff(tmp_path / "image.tif", cube, compress=compress, **options)
        for array in (decode(path.read_bytes()).array, decode_apart(path.read_bytes())):
            np.testing.assert_array_equal(array, cube)


@pytest.mark.parametrize(
    ("shape", "tile", "taken"),
    [
        ((1, 8, 8), (2048, 3072), True),  # 12 MiB of an image that is small: below 16
        ((1, 8, 8), (2048, 4096), True),  # just 16 MiB
        ((1, 8, 8), (2064, 4096), False),
        ((3, 900, 1000), (3072, 3072), True),  # 18 MiB, not four times the image
        ((3, 900, 1000), (3072, 4096), False),
        ((1, 900, 1000), (3072, 3072), False),
    ],
)
def test_tiles_that_gdal_may_decode(
    tmp_path: Path, shape: tuple[int, ...], tile: tuple[int, int], taken: bool
) -> None:
    """GDAL takes the memory of a whole tile, even if all of it lies outside of the image."""
    tiled: dict[str, Any] = {"tiled": True, "blockysize": tile[0], "blockxsize": tile[1]}
    options: dict[str, Any] = {"SPARSE_OK": True, "interleave": "band", "photometric": "MINISBLACK"}
    path = geotiff(tmp_path / "image.tif", np.zeros(shape, np.uint16), **tiled, **options)
    data = path.read_bytes()
    if taken:
        np.testing.assert_array_equal(decode_rasterio(data).array, np.zeros(shape))
    else:
        with pytest.raises(PatchError, match=f"has tiles of {tile[0]} x {tile[1]} pixels"):
            decode_rasterio(data)


@pytest.mark.parametrize("data", [b"", b"II*\0", b"MM\0*", b"no TIFF at all" * 9, bytes(1000)])
def test_what_is_no_tiff_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(PatchError) as refused:
        decode(data)
    assert "\n" not in str(refused.value)


def test_the_ground_of_a_raster_are_its_bounds(tmp_path: Path) -> None:
    for options in (UTM, REFERENCES["rotated"], REFERENCES["rows upwards"]):
        path = geotiff(tmp_path / "image.tif", pixels("uint8"), **options)
        with rasterio.open(path) as file:
            a, b, c, d, e, f = file.transform[:6]
        corners = [(0, 0), (40, 0), (0, 33), (40, 33)]
        xs = [a * column + b * row + c for column, row in corners]
        ys = [d * column + e * row + f for column, row in corners]
        ground = ground_of(decode(path.read_bytes()).georeference, 33, 40)
        assert ground == (32633, min(xs), min(ys), max(xs), max(ys))


def test_no_georeference_covers_no_ground() -> None:
    assert ground_of(None, 1, 1) is None
    assert ground_of(Georeference(None, (1, 0, 0, 0, -1, 0)), 2, 3) == (None, 0, -2, 3, 0)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 31])
@pytest.mark.parametrize("count", [1, 3])
def test_samples_that_are_no_whole_bytes_have_gdals_dtype(
    tmp_path: Path, bits: int, count: int
) -> None:
    dtype = "uint8" if bits < 8 else "uint16" if bits < 16 else "uint32"
    random = np.random.default_rng(bits)
    bands = random.integers(0, 2**bits, (count, 33, 41)).astype(dtype)
    for options in ({}, {"compress": "deflate"}, TILED):
        path = geotiff(
            tmp_path / "image.tif", bands, NBITS=bits, photometric="MINISBLACK", **options
        )
        assert_as_rasterio(path)
        np.testing.assert_array_equal(decode(path.read_bytes()).array, bands)


@pytest.mark.parametrize("bits", [16, 24])
def test_short_floats_are_float32(tmp_path: Path, bits: int) -> None:
    bands = pixels("float32", 2)
    path = geotiff(tmp_path / "image.tif", bands, NBITS=bits, **UTM)
    raster, (array, georeference) = decode(path.read_bytes()), by_rasterio(path)
    assert raster.array.dtype == np.float32
    np.testing.assert_array_equal(raster.array, array)  # float16 from GDAL 3.11 on
    assert raster.georeference == georeference


@pytest.mark.parametrize("dtype", ["int64", "uint64", "complex64", "complex128"])
def test_further_dtypes(tmp_path: Path, dtype: str) -> None:
    bands = np.random.default_rng(1).integers(0, 99, (2, 33, 40)).astype(dtype)
    assert_as_rasterio(geotiff(tmp_path / "image.tif", bands, **UTM))


LOSSY: dict[str, dict[str, Any]] = {
    "JPEG, RGB": {"compress": "jpeg", "photometric": "RGB"},
    "JPEG, YCbCr": {"compress": "jpeg", "photometric": "YCBCR", "interleave": "pixel"},
    "JPEG, tiled": {"compress": "jpeg", "photometric": "YCBCR", "interleave": "pixel"} | TILED,
    "WebP": {"compress": "webp", "interleave": "pixel"},
    "LERC": {"compress": "lerc"},
    "LERC, deflate": {"compress": "lerc_deflate"},
    "LERC, zstd": {"compress": "lerc_zstd"},
    "JPEG XL": {"compress": "jxl", "interleave": "pixel"},
    "CIELAB": {"photometric": "CIELAB"},
    "ICC Lab": {"photometric": "ICCLAB"},
    "alpha": {"ALPHA": "YES"},
    "nodata and holes": {"SPARSE_OK": True, "nodata": 7} | TILED,
    "scale and offset": {"nodata": 3},
}


@pytest.mark.parametrize("kind", LOSSY)
def test_what_only_gdal_knows_is_as_gdal_has_it(tmp_path: Path, kind: str) -> None:
    smooth = np.cumsum(np.random.default_rng(3).normal(size=(3, 64, 64)), axis=2) * 5 + 120
    bands = np.clip(smooth, 0, 255).astype(np.uint8)
    if kind == "nodata and holes":
        bands[:, 16:48] = 7
    try:
        path = geotiff(tmp_path / "image.tif", bands, **UTM, **LOSSY[kind])
    except rasterio.errors.RasterioIOError as error:
        pytest.skip(f"this GDAL does not write it ({error})")
    if kind == "scale and offset":
        with rasterio.open(path, "r+") as file:
            file.scales, file.offsets = (0.1,) * 3, (5,) * 3
    assert_as_rasterio(path)
    array = by_rasterio(path)[0]
    np.testing.assert_array_equal(decode_apart(path.read_bytes()), array)


@pytest.mark.parametrize("system", ["EPSG:7415", "EPSG:4979", "EPSG:25832+5783", "EPSG:2263"])
def test_heights_and_feet_have_gdals_code(tmp_path: Path, system: str) -> None:
    path = geotiff(tmp_path / "i.tif", pixels("uint8"), crs=system, transform=UTM["transform"])
    assert_as_rasterio(path)


def test_control_points_are_as_gdal_has_them(tmp_path: Path) -> None:
    corners = [(0, 0, 4e5, 5e6), (0, 40, 4.004e5, 5e6), (33, 0, 4e5, 4.99967e6)]
    for count in (1, 3):
        points = [rasterio.control.GroundControlPoint(*corner) for corner in corners[:count]]
        path = geotiff(tmp_path / "image.tif", pixels("uint8"), crs="EPSG:32633", gcps=points)
        assert_as_rasterio(path)


def test_several_images_in_a_file_are_told(tmp_path: Path) -> None:
    """As tifffile's imwrite writes an array (bands, height, width)."""
    bands = pixels("uint16", 6)
    for number, band in enumerate(bands):
        options: dict[str, Any] = {"APPEND_SUBDATASET": "YES"} if number else {}
        geotiff(tmp_path / "pages.tif", band[None], **options)
    with pytest.raises(PatchError, match=r"6 images \(pages\) of 1 x 33 x 40, of which only the"):
        decode((tmp_path / "pages.tif").read_bytes())


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is no TIFF but empty"),
        (b"<!DOCTYPE html><html>404</html>", "is no TIFF but a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4\n", "but a Git LFS pointer"),
        (b'{"error": "not found"}', "is no TIFF but a JSON text"),
        (b"PK\x03\x04" + bytes(90), "is no TIFF but a zip archive"),
        (b"\x89PNG\r\n\x1a\n" + bytes(90), "is no TIFF"),
        (bytes(900), "is no TIFF but nothing but zeros"),
    ],
)
def test_what_stands_in_the_place_of_a_tiff_is_called_what_it_is(data: bytes, told: str) -> None:
    with pytest.raises(PatchError, match=told):
        decode(data)
