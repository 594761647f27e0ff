"""Many alike plain TIFFs, as fast as the file system gives them.

The files of one band differ in their pixels and in one tie point: 16 bytes of their first few
hundred. The first file is taken apart in full (`raster`), and what stands before its pixels is kept
as a `_Head`; each next file is read by one `readv`, which puts the pixels where they belong, and
its head compared byte for byte. A file that differs anywhere goes the full way.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

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
from patchpress.converter.sources.files import PatchFiles
from patchpress.readers.errors import PatchError

HEADS_KEPT = 64  # one a coordinate reference system; more would be files that are not alike
_XY = struct.Struct("<2d")


@dataclass(frozen=True, slots=True)
class _Head:
    """What files of one form have before their pixels, but for x and y of the tie point."""

    size: int
    tie: int
    """Where x and y (two doubles) stand; the head's end where there is no tie point."""
    around: bytes
    epsg: int | None
    offset: tuple[float, float]
    """Left and top edge relative to x and y: zero but for tie points inside the image."""
    extent: tuple[float, float] | None
    """Width and height on the ground; None without georeference."""

    def ground(self, head: bytearray) -> Ground | None:
        if self.extent is None:
            return None
        x, y = _XY.unpack_from(head, self.tie)
        left, top = x + self.offset[0], y + self.offset[1]
        return Ground(self.epsg, left, top - self.extent[1], left + self.extent[0], top)


class BandReader:
    """Reads the files of one band, or of all, into memory given by the caller.

    One per process and band.
    """

    def __init__(self, dtype: str, shape: tuple[int, int], bands: int = 1) -> None:
        self.dtype = np.dtype(dtype)
        self.shape = shape
        self.bands = bands
        self.nbytes = self.dtype.itemsize * shape[0] * shape[1] * bands
        self._heads: dict[bytes, _Head] = {}
        self._size = 0
        self._tie = slice(0, 0)
        self._head = bytearray()
        self._spare = bytearray(1)  # takes the byte that a longer file would have

    def read_into(self, name: str, files: PatchFiles, out: memoryview) -> Ground | None:
        """Fill `out` (the band's bytes, row by row) from the file `name`.

        Returns the ground that the file covers, None without georeference.

        Raises:
            PatchError: the file is absent, truncated, no TIFF, or of another dtype or size.
        """
        if self._size:
            got = files.readv(name, (self._head, out, self._spare))
            if got == self._size + self.nbytes:
                tie = self._tie
                around = bytes(self._head[: tie.start] + self._head[tie.stop :])
                head = self._heads.get(around)
                if head is not None:
                    return head.ground(self._head)
        return self._read_whole(name, files, out)

    def _read_whole(self, name: str, files: PatchFiles, out: memoryview) -> Ground | None:
        data = files.read(name)
        raster = self._decode(files.path(name), data)
        if raster.array.shape[1:] != self.shape:
            _, height, width = raster.array.shape
            raise PatchError(
                f"{files.path(name)} has {height} x {width} pixels, not "
                f"{self.shape[0]} x {self.shape[1]}"
            )
        np.frombuffer(out, self.dtype).reshape(raster.array.shape)[...] = raster.array
        self._learn(data)
        return ground_of(raster.georeference, *self.shape)

    def read_any(self, name: str, files: PatchFiles) -> tuple[Array, Ground | None]:
        """All bands of a file, (bands, height, width) of whatever size, and their ground.

        Raises:
            PatchError: as `read_into`, but for the size.
        """
        raster = self._decode(files.path(name), files.read(name))
        return raster.array, ground_of(raster.georeference, *raster.array.shape[1:])

    def _decode(self, path: str, data: bytes) -> Raster:
        try:
            raster = decode(data)
        except PatchError as error:
            raise PatchError(f"{path} {error}") from None
        if raster.array.dtype != self.dtype:
            raise PatchError(f"{path} is {raster.array.dtype}, not {self.dtype}")
        if len(raster.array) != self.bands:
            raise PatchError(f"{path} has {len(raster.array)} bands, not {self.bands}")
        return raster

    def _learn(self, data: bytes) -> None:
        """Keep the head of a plain file whose pixels lie in one piece at its end."""
        directory = read_directory(data)
        strips = plain_strips(directory, len(data)) if directory else None
        if directory is None or strips is None or len(self._heads) >= HEADS_KEPT:
            return
        start = strips[0][0]
        # Tags among the pixels would change with them, and no head would show it.
        if directory.end > start:
            return
        in_order = all(a + n == b for (a, n), (b, _) in pairwise(strips))
        if not in_order or start + self.nbytes != len(data):
            return
        # Bands that lie pixel by pixel need another order, not only a place.
        if self.bands > 1 and directory.first(PLANAR, 1) == 1:
            return
        head = _head(directory, data[:start], (self.bands, *self.shape))
        if head is None:
            return
        if (head.size, head.tie) != (self._size, self._tie.start):
            self._heads.clear()
            self._size, self._head = head.size, bytearray(head.size)
            self._tie = slice(head.tie, head.tie + (_XY.size if head.extent else 0))
        self._heads[head.around] = head


def _head(directory: Directory, data: bytes, shape: tuple[int, int, int]) -> _Head | None:
    georeference = georeference_of(directory)
    if shape_of(directory) != shape or directory.first(PLANAR, 1) not in (1, 2):
        return None
    if georeference is None:
        if GEO_KEYS in directory.tags:
            return None
        return _Head(len(data), len(data), data, None, (0.0, 0.0), None)
    place = directory.places.get(TIEPOINT)
    known = georeference.epsg is not None
    if place is None or len(directory.tags[TIEPOINT]) != 6 or not known:
        return None
    tie = place + 3 * 8  # six doubles: column, row, depth, then x, y, z
    if tie + _XY.size > len(data):
        return None
    ground = ground_of(georeference, *shape[1:])
    if ground is None or georeference.transform[1] or georeference.transform[3]:
        return None
    x, y = directory.tags[TIEPOINT][3:5]
    return _Head(
        size=len(data),
        tie=tie,
        around=data[:tie] + data[tie + _XY.size :],
        epsg=georeference.epsg,
        offset=(ground.left - x, ground.top - y),
        extent=(ground.right - ground.left, ground.top - ground.bottom),
    )
