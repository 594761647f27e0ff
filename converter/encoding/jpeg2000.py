"""Decodes JPEG 2000, plain codestreams and those in boxes (``.jp2``)."""

import struct
from typing import NamedTuple

import numpy as np

from patchpress.converter.encoding.promises import Expected, check_image
from patchpress.converter.encoding.tiff import Array
from patchpress.readers.errors import PatchError

BOXES = b"\0\0\0\x0cjP  \r\n\x87\n"
CODESTREAM = b"\xff\x4f\xff\x51"  # its start, and the marker of its size
GEOREFERENCE = (
    bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03"),  # a GeoTIFF in a box
    b"gml:",
)
"""One of them is in a file that has a georeference of its own."""
_SIZE = struct.Struct(">HH8IH")  # length, kind; image, its offset, tile, its offset; components
_MOST_TILES = 4096


class _Size(NamedTuple):
    dtype: "np.dtype[np.generic]"
    bands: int
    height: int
    width: int


def decode_jpeg2000(data: bytes, expected: Expected) -> Array:
    """The bands of a JPEG 2000, (bands, height, width), of 8 or 16 bits.

    Raises:
        PatchError: it is no JPEG 2000, or it is not as expected.
        OtherSize: only its size is not as expected.
    """
    import imagecodecs

    size = checked_size(data, expected)
    try:
        array = np.asarray(imagecodecs.jpeg2k_decode(data))
    except Exception as error:  # a damaged file makes it raise almost anything
        raise PatchError(f"is no JPEG 2000 that can be read ({error})") from None
    if array.dtype != size.dtype or array.size != size.bands * size.height * size.width:
        raise PatchError(f"is {array.dtype} of {array.shape}, other than it says")
    return array.reshape(size.height, size.width, size.bands).transpose(2, 0, 1)


def checked_size(data: bytes, expected: Expected) -> _Size:
    """What the header of a file says, if that is as expected.

    Raises:
        PatchError, OtherSize: as `decode_jpeg2000`.
    """
    if not data.startswith((BOXES, CODESTREAM)):
        raise PatchError("is no JPEG 2000")
    at = data.find(CODESTREAM) + len(CODESTREAM)
    try:
        _, _, *numbers, count = _SIZE.unpack_from(data, at)
        parts = set(struct.iter_unpack(">3B", data[at + _SIZE.size :][: 3 * count]))
    except struct.error:
        raise PatchError("is no JPEG 2000 that can be read: it is cut in its header") from None
    right, bottom, left, top, tile_width, tile_height, *_ = numbers
    if len(parts) != 1:
        raise PatchError("has bands of several kinds or sizes, which are not read")
    ((sign_and_bits, across, down),) = parts
    bits = (sign_and_bits & 0x7F) + 1
    if (across, down) != (1, 1) or bits > 16 or not tile_width or not tile_height:
        raise PatchError(f"has samples of {bits} bits, or smaller bands, which are not read")
    kind = "i" if sign_and_bits & 0x80 else "u"
    dtype = np.dtype(f"{kind}{1 if bits <= 8 else 2}")
    height, width = bottom - top, right - left
    check_image(expected, dtype, count, height, width)
    if -(-right // tile_width) * -(-bottom // tile_height) > _MOST_TILES:
        raise PatchError(f"has tiles of {tile_height} x {tile_width} pixels")
    return _Size(dtype, count, height, width)
