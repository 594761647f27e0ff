"""Decodes any GeoTIFF: its pixels as an array, and its georeference.

A plain TIFF (see `tiff.plain_strips`) is decoded here. Others are decoded by imagecodecs, and those
that imagecodecs refuses by rasterio, that is by GDAL. `bandreader` is faster for plain files that
are alike.
"""

import re
from dataclasses import dataclass

import numpy as np

from patchpress.converter.encoding.tiff import (
    BITS,
    GEO_KEYS,
    PLANAR,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    TILE_COUNTS,
    TILE_OFFSETS,
    Array,
    Directory,
    Georeference,
    georeference_of,
    plain_dtype,
    plain_strips,
    read_directory,
    shape_of,
)
from patchpress.readers.errors import PatchError

LARGEST_RATIO = 4_000  # bytes of pixels to bytes of file: DEFLATE reaches 1,032, others less


@dataclass(frozen=True, slots=True)
class Raster:
    """Decoded bands, (bands, height, width) in the dtype of the file, and their georeference."""

    array: Array
    georeference: Georeference | None


def decode(data: bytes) -> Raster:
    """Decode all bands of a TIFF's first image.

    Raises:
        PatchError: no decoder takes it. Put the name of the file before its sentence.
    """
    directory = read_directory(data)
    strips = plain_strips(directory, len(data)) if directory else None
    if directory is not None and strips is None:
        _refuse_hollow(directory, len(data))
    if directory is None or (georeference := _known_georeference(directory)) is _ASK:
        return decode_rasterio(data)
    if strips is None:
        return Raster(decode_imagecodecs(data, directory), georeference)
    pixels = b"".join(data[offset : offset + count] for offset, count in strips)
    bands, height, width = shape_of(directory)
    flat = np.frombuffer(pixels, plain_dtype(directory))
    if directory.first(PLANAR, 1) == 1 and bands > 1:
        return Raster(flat.reshape(height, width, bands).transpose(2, 0, 1), georeference)
    return Raster(flat.reshape(bands, height, width), georeference)


def _refuse_hollow(directory: Directory, length: int) -> None:
    """Refuse a file that lacks pixels, or that promises more than its bytes can hold.

    Decoders would fill in zeros, or take the memory for all that is promised.
    """
    tiles = TILE_OFFSETS in directory.tags
    offsets = directory.tags.get(TILE_OFFSETS if tiles else STRIP_OFFSETS, ())
    counts = directory.tags.get(TILE_COUNTS if tiles else STRIP_COUNTS, ())
    # If both are zero, GDAL wrote so that all pixels of a block are zero.
    if not offsets or any(n and not at for at, n in zip(offsets, counts, strict=False)):
        raise PatchError("has no pixels for a part of its image")
    bands, height, width = shape_of(directory)
    size = bands * height * width * max(directory.first(BITS, 8), 8) // 8
    if size > max(LARGEST_RATIO * length, 1 << 20):
        raise PatchError(
            f"promises {bands} x {height} x {width} pixels, which {length:,} bytes cannot hold"
        )


_ASK = Georeference(-1, (0.0,) * 6)


def _known_georeference(directory: Directory) -> Georeference | None:
    """The georeference, or `_ASK` if only GDAL can tell the EPSG code."""
    georeference = georeference_of(directory)
    if georeference is not None and georeference.epsg is None and GEO_KEYS in directory.tags:
        return _ASK
    return georeference


def decode_imagecodecs(data: bytes, directory: Directory | None = None) -> Array:
    """All bands, (bands, height, width), by imagecodecs, or by rasterio if that refuses.

    Raises:
        PatchError: neither takes the file.
    """
    import imagecodecs

    directory = directory or read_directory(data)
    if directory is None:
        return decode_rasterio(data).array
    try:
        array = imagecodecs.tiff_decode(data, index=0)
    except Exception:  # a damaged file makes it raise almost anything; GDAL has the last word
        return decode_rasterio(data).array
    bands, height, width = shape_of(directory)
    if array.shape == (height, width, bands) and directory.first(PLANAR, 1) == 1:
        return np.asarray(array.transpose(2, 0, 1))
    if array.size != bands * height * width:
        return decode_rasterio(data).array
    return np.asarray(array.reshape(bands, height, width))


def decode_rasterio(data: bytes) -> Raster:
    """All bands and the georeference, by GDAL.

    Raises:
        PatchError: GDAL refuses the file.
    """
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.MemoryFile(data) as memory, memory.open(driver="GTiff") as source:
                array = source.read()
                epsg = source.crs.to_epsg() if source.crs else None
                known = not source.transform.is_identity
                transform = tuple(source.transform[:6])
    except Exception as error:  # not all errors of GDAL are a RasterioError
        cause = error.__cause__ or error
        # GDAL gives a file in memory another name each time.
        reason = re.sub(r"(/vsimem/)?[0-9a-f-]{36}(/[0-9a-f-]{36})?(\.tif)?(, )?", "", str(cause))
        raise PatchError(f"is no TIFF that can be read ({reason})") from None
    return Raster(array, Georeference(epsg, transform) if known else None)
