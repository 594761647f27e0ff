"""Decodes JPEG, as libjpeg-turbo does, to grey or to red, green and blue.

A JPEG that is cut has no end: a decoder would fill up what is missing with grey, without a word.
"""

import struct

import numpy as np

from patchpress.converter.encoding.promises import Expected, check_image
from patchpress.converter.encoding.tiff import Array
from patchpress.readers.errors import PatchError

START = b"\xff\xd8\xff"
_END, _SCAN = b"\xff\xd9", b"\xff\xda"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length
_MOST_SCANS = 200  # a usual progressive one has ten; each takes as long as the image


def decode_jpeg(data: bytes, expected: Expected) -> Array:
    """The bands of a JPEG, (bands, height, width): 1 or 3 of uint8.

    Raises:
        PatchError: it is no JPEG, is cut, or is not as expected.
        OtherSize: only its size is not as expected.
    """
    import imagecodecs

    bits, height, width, bands = _frame(data)
    if bits != 8:
        raise PatchError(f"has samples of {bits} bits: JPEG of 8 is read")
    check_image(expected, np.dtype(np.uint8), bands, height, width)
    if data.rfind(_END) < data.rfind(_SCAN):
        raise PatchError("is cut: it has no end of a JPEG")
    if data.count(_SCAN) > _MOST_SCANS:
        raise PatchError(f"has {data.count(_SCAN):,} scans, far more than a JPEG needs")
    try:
        array = np.asarray(imagecodecs.jpeg8_decode(data))
    except Exception as error:  # a damaged file makes it raise almost anything
        raise PatchError(f"is no JPEG that can be read ({error})") from None
    if array.shape[:2] != (height, width):
        raise PatchError(f"has {array.shape[0]} x {array.shape[1]} pixels, other than it says")
    return array.reshape(height, width, -1).transpose(2, 0, 1)


def _frame(data: bytes) -> tuple[int, int, int, int]:
    """(bits, height, width, bands) of the image.

    Raises:
        PatchError: it is no JPEG.
    """
    if not data.startswith(START):
        raise PatchError("is no JPEG")
    at = 2
    while at + 10 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes may stand before a marker
            at += 1
            continue
        if marker in _ALONE:
            at += 2
            continue
        if marker in _FRAMES:
            bits, height, width, bands = struct.unpack_from(">BHHB", data, at + 4)
            return bits, height, width, bands
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise PatchError("is no JPEG that can be read: it is cut or damaged before its image")
