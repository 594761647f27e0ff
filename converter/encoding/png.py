"""Decodes PNG: its header says what is in it, before anything is decoded."""

import struct
from typing import Any, NamedTuple

import numpy as np

from patchpress.converter.encoding.gdal_images import by_gdal
from patchpress.converter.encoding.promises import Expected, check_image
from patchpress.converter.encoding.tiff import Array
from patchpress.readers.errors import PatchError

START = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">4sIIBBBBB")  # IHDR, its width, height, bits, colour type and three others
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_BANDS = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGB_ALPHA: 4}


class _Header(NamedTuple):
    height: int
    width: int
    bits: int
    colours: int


def decode_png(data: bytes, expected: Expected) -> Array:
    """The bands of a PNG, (bands, height, width).

    One band of a palette is the numbers of its colours; three are the colours. Samples of less than
    8 bits are as they are. A single transparent colour is no band.

    Raises:
        PatchError: it is no PNG, or it is not as expected.
        OtherSize: only its size is not as expected.
    """
    import imagecodecs

    header, as_colours = _checked(data, expected)
    if (header.colours == _PALETTE and not as_colours) or header.bits < 8:
        return by_gdal(data, "PNG", expected)
    try:
        array = np.asarray(imagecodecs.png_decode(data))
    except Exception as error:  # a damaged file makes it raise almost anything
        raise PatchError(f"is no PNG that can be read ({error})") from None
    array = array.reshape(header.height, header.width, -1)
    bands = 3 if as_colours else _BANDS[header.colours]
    return array.transpose(2, 0, 1)[:bands]  # a transparent colour becomes a band more


def decode_png_apart(data: bytes, expected: Expected) -> Array:
    """As `decode_png`, by GDAL if that gives the same."""
    _, as_colours = _checked(data, expected)
    return decode_png(data, expected) if as_colours else by_gdal(data, "PNG", expected)


def _checked(data: bytes, expected: Expected) -> tuple[_Header, bool]:
    """What a file has that is as expected, and whether its palette is to become colours."""
    if not data.startswith(START) or len(data) < len(START) + 4 + _HEADER.size:
        raise PatchError("is no PNG")
    kind, width, height, bits, colours, *_ = _HEADER.unpack_from(data, len(START) + 4)
    if kind != b"IHDR" or colours not in _BANDS or bits not in (1, 2, 4, 8, 16):
        raise PatchError("is no PNG that can be read: its header is damaged")
    as_colours = colours == _PALETTE and expected.bands == 3
    dtype: np.dtype[Any] = np.dtype(np.uint16 if bits == 16 else np.uint8)
    check_image(expected, dtype, 3 if as_colours else _BANDS[colours], height, width)
    return _Header(height, width, bits, colours), as_colours
