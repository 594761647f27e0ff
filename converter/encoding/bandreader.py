"""Reads the files of a band, or of several: plain TIFFs that are alike, as fast as files are given.

The plain TIFFs of one band differ in their pixels and in their tie point, which is 16 bytes of the
few hundred before the pixels. The first file is decoded in full (`raster`), and the bytes before
its pixels are kept as a `_FileHeader`. Every other file is read by one system call that puts its
pixels into the record at once; then the bytes before them are compared with those that are kept. A
file that differs in any other byte is decoded in full, too.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from patchpress.converter.encoding.file_formats import Decoder
from patchpress.converter.encoding.promises import Expected
from patchpress.converter.encoding.raster import Raster, decode
from patchpress.converter.encoding.tiff import (
    GEO_KEYS,
    PLANAR,
    TIEPOINT,
    Array,
    Directory,
    Ground,
    georeference_of,
    ground_of,
    plain_strips,
    read_directory,
    shape_of,
)
from patchpress.converter.sources.files import LARGEST, PatchFiles
from patchpress.readers.errors import PatchError

HEADERS_KEPT = 64  # one for each coordinate reference system; files with more are not alike
_XY = struct.Struct("<2d")  # x and y of a tie point


@dataclass(frozen=True, slots=True)
class _FileHeader:
    """The bytes before the pixels that alike files share, but for x and y of their tie point."""

    size: int
    tie: int
    """Offset of x and y (two doubles); `size` if there is no tie point."""
    around: bytes
    """The header without these two."""
    epsg: int | None
    shift: tuple[float, float]
    """From x and y to the left and top edge: zero unless the tie point lies inside the image."""
    extent: tuple[float, float] | None
    """Width and height on the ground; None without georeference."""

    def ground(self, header: bytearray) -> Ground | None:
        """The ground of the file that has this header, with its own tie point."""
        if self.extent is None:
            return None
        x, y = _XY.unpack_from(header, self.tie)
        left, top = x + self.shift[0], y + self.shift[1]
        return Ground(self.epsg, left, top - self.extent[1], left + self.extent[0], top)


@dataclass(frozen=True, slots=True)
class _FileHeaders:
    """Headers of one size, with their tie point at one place."""

    size: int
    tie: slice
    known: dict[bytes, _FileHeader] = field(default_factory=dict)
    """By their bytes without those of the tie point."""


@dataclass(slots=True)
class Learnt:
    """What is known of the headers of a band's files; its readers in several threads share it."""

    headers: _FileHeaders = field(default_factory=lambda: _FileHeaders(0, slice(0, 0)))


class BandReader:
    """Reads files into memory that the caller gives: those of one band, or files with all bands.

    Not safe between threads: each has its own, one for each band. But they may share what they
    have learnt of the files.
    """

    def __init__(
        self, dtype: str, shape: tuple[int, int], bands: int = 1, decoder: Decoder | None = None
    ) -> None:
        """`decoder` is of the files' format; those of TIFFs without it."""
        self._decoder = decoder
        self.dtype = np.dtype(dtype)
        self.shape = shape
        self.bands = bands
        self.nbytes = self.dtype.itemsize * shape[0] * shape[1] * bands
        self.most = max(LARGEST, 2 * self.nbytes)
        """Bytes that a file may have, or the pixels of one that may have any size."""
        self.learnt = Learnt()
        self._header = bytearray()
        self._spare = bytearray(1)  # is read into only if a file is longer than the others

    def read_into(self, name: str, files: PatchFiles, into: Sequence[memoryview]) -> Ground | None:
        """Fill `into` (the bytes of the bands one after the other, row by row) from a file.

        Each of them takes one band or more. Returns the ground that the file covers, None without
        georeference.

        Raises:
            PatchError: the file is absent, truncated, no TIFF, or of another dtype.
            OtherSize: it is of another size.
        """
        headers = self.learnt.headers  # another thread may put others there meanwhile
        if headers.size:
            header = self._header
            if len(header) != headers.size:
                header = self._header = bytearray(headers.size)
            got = files.readv(name, (header, *into, self._spare))
            if got == headers.size + self.nbytes:
                tie = headers.tie
                known = headers.known.get(bytes(header[: tie.start] + header[tie.stop :]))
                if known is not None:
                    return known.ground(header)
        return self._read_whole(name, files, into)

    def _read_whole(
        self, name: str, files: PatchFiles, into: Sequence[memoryview]
    ) -> Ground | None:
        data = files.read(name, self.most)
        raster = self._decode(files.path(name), data, self.shape)
        at, nbytes = 0, self.nbytes // self.bands
        for buffer in into:
            count = len(buffer) // nbytes
            out = np.frombuffer(buffer, self.dtype).reshape(count, *self.shape)
            out[...] = raster.array[at : at + count]
            at += count
        self._learn(data)
        return ground_of(raster.georeference, *self.shape)

    def read_any(self, name: str, files: PatchFiles) -> tuple[Array, Ground | None]:
        """All bands of a file of any size, as an array (bands, height, width), and their ground.

        Raises:
            PatchError: as `read_into`, but for the size.
        """
        raster = self._decode(files.path(name), files.read(name, self.most), None)
        return raster.array, ground_of(raster.georeference, *raster.array.shape[1:])

    def _decode(self, path: str, data: bytes, shape: tuple[int, int] | None) -> Raster:
        try:
            expected = Expected(self.dtype, self.bands, shape, self.most)
            if self._decoder is not None:
                return self._decoder.decode(data, expected)
            return decode(data, expected)
        except PatchError as error:
            raise type(error)(f"{path} {error}") from None

    def _learn(self, data: bytes) -> None:
        """Keep the header of a plain file if its pixels are its last bytes, in one piece."""
        if self._decoder is not None:
            start = self._decoder.plain_start(data)
            if start and len(self.learnt.headers.known) < HEADERS_KEPT:
                self._keep(_without_ground(data[:start]))
            return
        directory = read_directory(data)
        strips = plain_strips(directory, len(data)) if directory else None
        if directory is None or strips is None or len(self.learnt.headers.known) >= HEADERS_KEPT:
            return
        start = strips[0][0]
        # Tags after the first pixel would not be compared.
        if directory.end > start:
            return
        in_order = all(a + n == b for (a, n), (b, _) in pairwise(strips))
        if not in_order or start + self.nbytes != len(data):
            return
        # If all bands of a pixel lie together, the bytes have another order than in a record.
        if self.bands > 1 and directory.first(PLANAR, 1) == 1:
            return
        header = _file_header(directory, data[:start], (self.bands, *self.shape))
        if header is not None:
            self._keep(header)

    def _keep(self, header: _FileHeader) -> None:
        headers = self.learnt.headers
        if (header.size, header.tie) != (headers.size, headers.tie.start):
            tie = slice(header.tie, header.tie + (_XY.size if header.extent else 0))
            headers = self.learnt.headers = _FileHeaders(header.size, tie)
        headers.known[header.around] = header


def _without_ground(data: bytes) -> _FileHeader:
    """The header with these bytes, of files without georeference."""
    return _FileHeader(
        size=len(data), tie=len(data), around=data, epsg=None, shift=(0.0, 0.0), extent=None
    )


def _file_header(
    directory: Directory, data: bytes, shape: tuple[int, int, int]
) -> _FileHeader | None:
    """The header with these bytes, of images (bands, height, width); None if it tells too little.

    That is if only GDAL can tell the georeference, or if more than the tie point would change it.
    """
    georeference = georeference_of(directory)
    if shape_of(directory) != shape or directory.first(PLANAR, 1) not in (1, 2):
        return None
    if georeference is None:
        if GEO_KEYS in directory.tags or TIEPOINT in directory.tags:
            return None
        return _without_ground(data)
    offset = directory.offsets.get(TIEPOINT)
    known = georeference.epsg is not None
    if offset is None or len(directory.tags[TIEPOINT]) != 6 or not known:
        return None
    tie = offset + 3 * 8  # six doubles: column, row, depth, then x, y, z
    if tie + _XY.size > len(data):
        return None
    ground = ground_of(georeference, *shape[1:])
    if ground is None or georeference.transform[1] or georeference.transform[3]:
        return None
    x, y = directory.tags[TIEPOINT][3:5]
    return _FileHeader(
        size=len(data),
        tie=tie,
        around=data[:tie] + data[tie + _XY.size :],
        epsg=georeference.epsg,
        shift=(ground.left - x, ground.top - y),
        extent=(ground.right - ground.left, ground.top - ground.bottom),
    )
