"""What a TIFF promises, compared with what is expected of it, before a byte of it is decoded.

A file of some hundred bytes can promise gigabytes. Decoders believe it: they take the memory first.
"""

from typing import Any, NamedTuple

import numpy as np

from patchpress.converter.encoding.tiff import (
    BITS,
    HEIGHT,
    PLANAR,
    ROWS_PER_STRIP,
    SAMPLES,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    TILE_COUNTS,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    Directory,
    shape_of,
)
from patchpress.converter.sources.files import LARGEST
from patchpress.readers.errors import PatchError

_SPARE = 1 << 20  # bytes that blocks of a small image may take beyond its pixels
_TILE = 4 << 20  # bytes of one tile that a small image may have
_MOST_BITS = 128  # of a sample: a complex number of two float64


class OtherSize(PatchError):
    """A file of another size than the band has in the description; all else is as described."""


class Expected(NamedTuple):
    """What the description says of a file; None for what may be anything."""

    dtype: np.dtype[Any] | None = None
    bands: int | None = None
    shape: tuple[int, int] | None = None
    """(height, width)."""
    most: int = LARGEST
    """Bytes of pixels, if the shape may be any."""


ANYTHING = Expected()


def check_image(
    expected: Expected, dtype: np.dtype[Any], bands: int, height: int, width: int
) -> None:
    """Refuse an image that is not as expected.

    Raises:
        PatchError: it has another dtype or other bands, or more pixels than any patch.
        OtherSize: it has another size, and all else is as expected.
    """
    if expected.dtype is not None and dtype != expected.dtype:
        raise PatchError(f"is {dtype}, not {expected.dtype}")
    if expected.bands is not None and bands != expected.bands:
        raise PatchError(f"has {bands} bands, not {expected.bands}")
    if expected.shape is not None and (height, width) != expected.shape:
        raise OtherSize(
            f"has {height} x {width} pixels, not {expected.shape[0]} x {expected.shape[1]}"
        )
    if min(bands, height, width) < 1:
        raise PatchError(f"has {height} x {width} pixels in {bands} bands")
    nbytes = bands * height * width * dtype.itemsize
    if expected.shape is None and nbytes > expected.most:
        raise PatchError(
            f"has {bands} x {height} x {width} pixels, {nbytes:,} bytes: a patch may have "
            f"{expected.most:,}; give a larger shape in the description"
        )


def check_blocks(directory: Directory, length: int) -> None:
    """Refuse strips or tiles that cannot be those of the image, whose size is as expected.

    Raises:
        PatchError: there are too few or too many, or they are too large, or lie one over another.
    """
    bands, height, width = shape_of(directory)
    if not (bands and height and width):
        raise PatchError(f"has {height} x {width} pixels in {bands} bands")
    longest = max(directory.tags.get(BITS, ()), default=1)
    if longest > _MOST_BITS:
        raise PatchError(f"has samples of {longest:,} bits")
    pixels = bands * height * width * max(directory.first(BITS, 1), 8) // 8
    tiled = TILE_WIDTH in directory.tags or TILE_OFFSETS in directory.tags
    offsets = directory.tags.get(TILE_OFFSETS if tiled else STRIP_OFFSETS, ())
    counts = directory.tags.get(TILE_COUNTS if tiled else STRIP_COUNTS, ())
    what, needed = "strips", block_count(directory)
    if tiled:
        rows, columns = directory.first(TILE_HEIGHT, 0), directory.first(TILE_WIDTH, 0)
        together = bands if directory.first(PLANAR, 1) == 1 else 1
        nbytes = rows * columns * together * max(directory.first(BITS, 1), 8) // 8
        if not nbytes or nbytes > max(_TILE, 4 * pixels):
            raise PatchError(f"has tiles of {rows} x {columns} pixels")
        what = "tiles"
    # If offset and count are zero, GDAL wrote so that all pixels of a block are zero.
    if len(offsets) < needed or any(n and not at for at, n in zip(offsets, counts, strict=False)):
        raise PatchError("has no pixels for a part of its image")
    if len(offsets) > needed or len(counts) > needed:
        raise PatchError(f"has {len(offsets):,} {what}, but its size needs {needed:,}")
    if sum(counts) > max(length, 2 * pixels + _SPARE):
        raise PatchError(f"has {what} that lie one over another")


def block_count(directory: Directory) -> int:
    """How many strips or tiles an image of this size needs."""
    bands, height, width = (directory.first(tag, 1) for tag in (SAMPLES, HEIGHT, WIDTH))
    planes = 1 if directory.first(PLANAR, 1) == 1 else bands
    if TILE_WIDTH in directory.tags:
        rows, columns = directory.first(TILE_HEIGHT, 0), directory.first(TILE_WIDTH, 0)
        if not (rows and columns):
            return 0
        return planes * -(-height // rows) * -(-width // columns)
    rows = min(directory.first(ROWS_PER_STRIP, height) or height, height)
    return planes * -(-height // rows)
