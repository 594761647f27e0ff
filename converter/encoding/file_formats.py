"""Which decoder takes the files of a modality, by the format that its description names."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from patchpress.converter.descriptions.formats import (
    JPEG,
    JPEG2000,
    NPY,
    PNG,
    TIFF,
    FileFormat,
)
from patchpress.converter.encoding.gdal_images import by_gdal, georeference_by_gdal
from patchpress.converter.encoding.jpeg import decode_jpeg
from patchpress.converter.encoding.jpeg2000 import GEOREFERENCE, checked_size, decode_jpeg2000
from patchpress.converter.encoding.npy import decode_npy, decode_npy_apart, plain_start
from patchpress.converter.encoding.png import decode_png, decode_png_apart
from patchpress.converter.encoding.promises import Expected
from patchpress.converter.encoding.raster import Raster, decode, decode_apart
from patchpress.converter.encoding.tiff import Array
from patchpress.converter.sources.contents import START, content
from patchpress.readers.errors import PatchError

ApartDecoder = Callable[[bytes, Expected], Array]


class Decoder(NamedTuple):
    """What decodes the files of a format that is no TIFF."""

    decode: Callable[[bytes, Expected], Raster]
    """All bands, and the georeference that the file itself has."""
    plain_start: Callable[[bytes], int]
    """The byte where the pixels begin of a file that has them as a record does; else 0."""


class _Image(NamedTuple):
    """How a format that is no TIFF is decoded."""

    decode: ApartDecoder
    apart: ApartDecoder
    """By other code, if there is such that gives the same pixels."""
    driver: str
    """That of GDAL; empty if it has no georeference."""


def _jpeg2000_by_gdal(data: bytes, expected: Expected) -> Array:
    checked_size(data, expected)
    return by_gdal(data, DRIVERS[JPEG2000], expected)


DRIVERS = {TIFF: "GTiff", PNG: "PNG", JPEG: "JPEG", JPEG2000: "JP2OpenJPEG", NPY: ""}
"""Format -> GDAL's name of it; empty if files beside it tell no georeference."""


def decoder_of(file_format: FileFormat) -> Decoder | None:
    """What decodes files of a format; None of TIFFs of the dtype that is described."""
    if file_format.name == TIFF and not file_format.widen:
        return None
    if file_format.widen:
        own = decode if file_format.name == TIFF else partial(_decode, _image(file_format))
        return Decoder(partial(_decode_wider, own), _never_plain)
    start = partial(plain_start, axes=file_format.axes) if file_format.name == NPY else _never_plain
    return Decoder(partial(_decode, _image(file_format)), start)


def _never_plain(_: bytes) -> int:
    return 0


def apart_decoder_of(file_format: FileFormat) -> ApartDecoder:
    """What decodes files of a format for a comparison.

    It is another decoder but for JPEG: two that do right may differ by a level there.
    """
    own: ApartDecoder = decode_apart
    if file_format.name != TIFF:
        own = partial(_decode_apart, _image(file_format))
    return partial(_decode_apart_wider, own) if file_format.widen else own


def _image(file_format: FileFormat) -> _Image:
    name, axes = file_format.name, file_format.axes
    if name == PNG:
        return _Image(decode_png, decode_png_apart, DRIVERS[name])
    if name == JPEG:
        return _Image(decode_jpeg, decode_jpeg, DRIVERS[name])
    if name == JPEG2000:
        return _Image(decode_jpeg2000, _jpeg2000_by_gdal, DRIVERS[name])
    return _Image(partial(decode_npy, axes=axes), partial(decode_npy_apart, axes=axes), "")


def _decode(image: _Image, data: bytes, expected: Expected) -> Raster:
    try:
        array = image.decode(data, expected)
    except PatchError as error:
        raise _named(error, data) from None
    own = image.driver == DRIVERS[JPEG2000] and any(mark in data for mark in GEOREFERENCE)
    return Raster(array, georeference_by_gdal(data, image.driver) if own else None)


def _decode_apart(image: _Image, data: bytes, expected: Expected) -> Array:
    try:
        return image.apart(data, expected)
    except PatchError as error:
        raise _named(error, data) from None


def _decode_wider(
    own: Callable[[bytes, Expected], Raster], data: bytes, expected: Expected
) -> Raster:
    found = own(data, expected._replace(dtype=None))
    return Raster(_wider(found.array, expected), found.georeference)


def _decode_apart_wider(own: ApartDecoder, data: bytes, expected: Expected) -> Array:
    return _wider(own(data, expected._replace(dtype=None)), expected)


def _wider(array: Array, expected: Expected) -> Array:
    """The same numbers in the dtype that is expected.

    Raises:
        PatchError: it does not have all values of the other.
    """
    dtype = expected.dtype
    if dtype is None or array.dtype == dtype:
        return array
    if not np.can_cast(array.dtype, dtype, "safe"):
        raise PatchError(f"is {array.dtype}, whose values do not all fit {dtype}")
    return array.astype(dtype)


def _named(error: PatchError, data: bytes) -> PatchError:
    """The error; if the file is of another format, with what it is."""
    sentence = str(error)
    found = content(data[:START])
    if found is not None and sentence.startswith("is no ") and "(" not in sentence:
        sentence = f"{sentence} but {found.name}"
    return type(error)(sentence)
