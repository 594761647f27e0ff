"""Decodes any GeoTIFF: its pixels as an array, and its georeference.

What a file promises is compared with what is expected before anything is decoded. A plain TIFF (see
`tiff.plain_strips`) is decoded here, others by `blocks`, and what that does not know by rasterio,
that is by GDAL. `bandreader` is faster for plain files that are alike.
"""

import re
from dataclasses import dataclass

import numpy as np

from patchpress.converter.encoding.blocks import check_deflated, decode_blocks
from patchpress.converter.encoding.gdal import quiet_gdal
from patchpress.converter.encoding.promises import ANYTHING, Expected, check_blocks, check_image
from patchpress.converter.encoding.tiff import (
    GEO_KEYS,
    PLANAR,
    TIEPOINT,
    Array,
    Directory,
    Georeference,
    georeference_of,
    has_plain_samples,
    images_like,
    plain_dtype,
    plain_strips,
    read_directory,
    shape_of,
)
from patchpress.converter.sources.contents import START, content
from patchpress.readers.errors import PatchError

_TILE = 16 << 20  # bytes of a block that GDAL may take, unless four times the image are more
_TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True, slots=True)
class Raster:
    """Decoded bands, (bands, height, width) in the dtype of the file, and their georeference."""

    array: Array
    georeference: Georeference | None


def decode(data: bytes, expected: Expected = ANYTHING) -> Raster:
    """Decode all bands of a TIFF's first image.

    Raises:
        PatchError: no decoder takes it, or it is not as expected. Put the name of the file before
            its sentence.
        OtherSize: only its size is not as expected.
    """
    directory = _checked_directory(data, expected)
    if directory is None:
        return decode_rasterio(data, expected)
    strips = plain_strips(directory, len(data))
    array: Array | None
    if strips is not None:
        array = _plain(data, directory, strips)
    else:
        check_blocks(directory, len(data))
        array = decode_blocks(data, directory)
    if array is None:
        return decode_rasterio(data, expected)
    georeference = _known_georeference(directory)
    if georeference is _ASK:
        georeference = _read_by_gdal(data, expected, pixels=False).georeference
    return Raster(array, georeference)


def decode_apart(data: bytes, expected: Expected = ANYTHING) -> Array:
    """All bands, by another decoder than `decode` takes, if there is another: libtiff or GDAL.

    Raises:
        PatchError, OtherSize: as `decode`.
    """
    import imagecodecs

    directory = _checked_directory(data, expected)
    if directory is None:
        return decode_rasterio(data, expected).array
    plain_strips(directory, len(data))  # if the file is truncated, its error says so best
    check_blocks(directory, len(data))
    try:
        array = imagecodecs.tiff_decode(data, index=0)
    except Exception:  # a damaged file makes it raise almost anything; GDAL has the last word
        return decode_rasterio(data, expected).array
    bands, height, width = shape_of(directory)
    if array.shape == (height, width, bands) and directory.first(PLANAR, 1) == 1:
        return np.asarray(array.transpose(2, 0, 1))
    if array.size != bands * height * width:
        return decode_rasterio(data, expected).array
    return np.asarray(array.reshape(bands, height, width))


def _checked_directory(data: bytes, expected: Expected) -> Directory | None:
    """The directory of a file that is as expected; None if only GDAL can tell what is in it.

    Raises:
        PatchError, OtherSize: as `decode`.
    """
    if data[:4] not in _TIFFS:
        found = content(data[:START])
        raise PatchError(f"is no TIFF but {found.name}" if found else "is no TIFF")
    directory = read_directory(data)
    if directory is None:  # GDAL would pass over what is damaged, and give any pixels
        raise PatchError("is no TIFF that can be read: its directory is cut or damaged")
    count = images_like(data, directory) if directory.next else 1
    if count > 1:
        bands, height, width = shape_of(directory)
        raise PatchError(
            f"has {count} images (pages) of {bands} x {height} x {width}, of which only the first "
            "would be read: write all bands into one image"
        )
    if not has_plain_samples(directory):
        # GDAL tells their dtype, but takes seconds to open a file of a hundred thousand bands.
        least = np.dtype(np.uint8)
        check_image(expected._replace(dtype=None), least, *shape_of(directory))
        check_blocks(directory, len(data))
        check_deflated(data, directory)
        return None
    check_image(expected, plain_dtype(directory), *shape_of(directory))
    return directory


def _plain(data: bytes, directory: Directory, strips: list[tuple[int, int]]) -> Array:
    pixels = b"".join(data[offset : offset + count] for offset, count in strips)
    bands, height, width = shape_of(directory)
    flat = np.frombuffer(pixels, plain_dtype(directory))
    if directory.first(PLANAR, 1) == 1 and bands > 1:
        return flat.reshape(height, width, bands).transpose(2, 0, 1)
    return flat.reshape(bands, height, width)


_ASK = Georeference(-1, (0.0,) * 6)


def _known_georeference(directory: Directory) -> Georeference | None:
    """The georeference, or `_ASK` if only GDAL can tell the EPSG code."""
    georeference = georeference_of(directory)
    if georeference is None and TIEPOINT in directory.tags:
        return _ASK  # control points, of which GDAL makes a transform if they fit exactly
    if georeference is not None and georeference.epsg is None and GEO_KEYS in directory.tags:
        return _ASK
    return georeference


def decode_rasterio(data: bytes, expected: Expected = ANYTHING) -> Raster:
    """All bands and the georeference, by GDAL.

    Raises:
        PatchError: GDAL refuses the file, or it is not as expected.
        OtherSize: only its size is not as expected.
    """
    return _read_by_gdal(data, expected)


def _read_by_gdal(data: bytes, expected: Expected, *, pixels: bool = True) -> Raster:
    """What GDAL reads; without `pixels` an array of none.

    Raises:
        PatchError, OtherSize: as `decode_rasterio`.
    """
    import rasterio

    try:
        with (
            quiet_gdal(),
            rasterio.MemoryFile(data) as memory,
            memory.open(driver="GTiff") as source,
        ):
            dtype = np.dtype(source.dtypes[0])
            if dtype == np.float16:  # from GDAL 3.11 on; before, half floats came as float32
                dtype = np.dtype(np.float32)
            check_image(expected, dtype, source.count, source.height, source.width)
            rows, columns = source.block_shapes[0]
            image = source.count * source.height * source.width
            if rows * columns * dtype.itemsize > max(_TILE, 4 * image * dtype.itemsize):
                raise PatchError(f"has tiles of {rows} x {columns} pixels")
            array = source.read(out_dtype=dtype) if pixels else np.empty(0, dtype)
            epsg = source.crs.to_epsg() if source.crs else None
            known = not source.transform.is_identity
            transform = tuple(source.transform[:6])
    except PatchError:
        raise
    except Exception as error:  # not all errors of GDAL are a RasterioError
        cause = error.__cause__ or error
        # GDAL gives a file in memory another name each time.
        reason = re.sub(r"(/vsimem/)?[0-9a-f-]{36}(/[0-9a-f-]{36})?(\.tif)?(, )?", "", str(cause))
        raise PatchError(f"is no TIFF that can be read ({reason})") from None
    return Raster(array, Georeference(epsg, transform) if known else None)
