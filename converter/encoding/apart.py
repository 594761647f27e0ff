"""Reads files for a comparison, by another decoder than `bandreader` has: libtiff, or GDAL.

What a file promises is checked before it is decoded (`raster.decode_apart`), which takes longer
than to decode it. The plain TIFFs of one band differ in their pixels and in their tie point, so the
bytes before the pixels are kept, once they have been checked. A file of the same length that has
these bytes, too, goes to libtiff at once.
"""

import struct
from typing import NamedTuple

import numpy as np

from patchpress.converter.encoding.file_formats import ApartDecoder
from patchpress.converter.encoding.promises import Expected
from patchpress.converter.encoding.raster import decode_apart
from patchpress.converter.encoding.tiff import (
    PLANAR,
    TIEPOINT,
    Array,
    Directory,
    plain_strips,
    read_directory,
)
from patchpress.converter.sources.files import PatchFiles
from patchpress.readers.errors import PatchError

HEADERS_KEPT = 64  # one for each coordinate reference system
_XY = 2 * 8  # bytes of x and y of a tie point


class _Alike(NamedTuple):
    """What files have in common whose checked bytes are kept."""

    nbytes: int
    """Of a file."""
    start: int
    """The first byte of the pixels."""
    tie: int
    """The first byte of x and y of the tie point; `start` if there is none."""


class ApartReader:
    """Reads the files of one band, or those that have all bands. Not safe between threads."""

    def __init__(self, expected: Expected, decoder: ApartDecoder = decode_apart) -> None:
        """`decoder` is of the files' format."""
        import imagecodecs

        self._decode = decoder

        self._expected, self._by_libtiff = expected, imagecodecs.tiff_decode
        self._alike = _Alike(0, 0, 0)
        self._shape: tuple[int, ...] = (0,)
        self._pixels_nbytes = 0
        self._known: set[bytes] = set()
        self._data = bytearray()
        self._spare = bytearray(1)  # is read into only if a file is longer than the others

    def read(self, name: str, files: PatchFiles) -> Array:
        """The pixels of a file (bands, height, width).

        Raises:
            PatchError: it is absent, damaged, or not as expected; the sentence names it.
        """
        if self._known and files.readv(name, (self._data, self._spare)) == self._alike.nbytes:
            pixels = self._decoded_at_once()
            if pixels is not None:
                return pixels
        data = files.read(name, self._expected.most)
        try:
            pixels = self._decode(data, self._expected)
        except PatchError as error:
            raise PatchError(f"{files.path(name)} {error}") from None
        self._learn(data, pixels)
        return pixels

    def _decoded_at_once(self) -> Array | None:
        """The pixels of the file that was just read, if the bytes before them are known."""
        data, (_, start, tie) = self._data, self._alike
        if bytes(data[:tie] + data[tie + _XY : start]) not in self._known:
            return None
        try:
            pixels = np.asarray(self._by_libtiff(data, index=0))
        except Exception:  # as in `decode_apart`, which has the last word
            return None
        if pixels.nbytes != self._pixels_nbytes:
            return None
        return pixels.reshape(self._shape)

    def _learn(self, data: bytes, pixels: Array) -> None:
        """Keep the bytes before the pixels of a plain file, if nothing that tells of it follows."""
        directory = read_directory(data)
        strips = plain_strips(directory, len(data)) if directory else None
        if directory is None or strips is None or len(self._known) >= HEADERS_KEPT:
            return
        start = min(offset for offset, _ in strips)
        if directory.end > start or directory.next:
            return
        if len(pixels) > 1 and directory.first(PLANAR, 1) == 1:
            return  # libtiff gives the bands of a pixel together
        tie = _tie_of(data, directory)
        if tie is None:
            return
        alike = _Alike(len(data), start, min(tie, start))
        if alike != self._alike:
            self._alike, self._data = alike, bytearray(len(data))
            self._known.clear()
            self._shape, self._pixels_nbytes = pixels.shape, pixels.nbytes
        self._known.add(data[: alike.tie] + data[alike.tie + _XY : start])


def _tie_of(data: bytes, directory: Directory) -> int | None:
    """Where x and y of the tie point begin, the end of the file without one; None if unclear.

    It is unclear in a file whose tie point lies on its directory.
    """
    offset = directory.offsets.get(TIEPOINT)
    if offset is None:
        return len(data)
    tie = offset + 3 * 8  # six doubles: column, row, depth, then x, y, z
    if len(directory.tags[TIEPOINT]) != 6 or not directory.classic:
        return None
    (begin,) = struct.unpack_from(f"{directory.byteorder}I", data, 4)
    (count,) = struct.unpack_from(f"{directory.byteorder}H", data, begin)
    if tie < begin + 2 + 12 * count + 4 and begin < tie + _XY:
        return None
    return tie if tie >= 8 else None
