"""Where the pixels of a file lie in it, so that a reader takes them from there.

Of a TIFF its directory tells. Pixels that lie there as they are, in whatever strips and with other
bands between them or not, need no decoding; deflated ones need zlib, which readers have.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from patchpress.converter.encoding.tiff import (
    COMPRESSION,
    PLANAR,
    PREDICTOR,
    ROWS_PER_STRIP,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    TILE_WIDTH,
    Directory,
    has_plain_samples,
    plain_dtype,
    plain_strips,
    read_directory,
    shape_of,
)
from patchpress.readers.errors import PatchError
from patchpress.readers.format.placement import Packed, PlainPiece

_DEFLATED = (8, 32946)
_NAMES = {
    5: "LZW",
    6: "JPEG",
    7: "JPEG",
    32773: "PackBits",
    34712: "JPEG 2000",
    34887: "LERC",
    34925: "LZMA",
    50000: "zstd",
    50001: "WebP",
}
WAY_OUT = "`patchpress convert` makes a store of it"


class PackedPiece(NamedTuple):
    """A deflated strip."""

    packed: Packed
    offset: int
    nbytes: int


BandPieces = list[PlainPiece] | list[PackedPiece]
"""Those of one band, from its first row to its last."""


def pieces_of(data: bytes) -> list[BandPieces]:
    """Where the pixels of each band of a file lie in it.

    Args:
        data: the file, whose pixels were decoded without an error.

    Raises:
        PatchError: they cannot be read in their place; the sentence is without the file's name.
    """
    try:
        directory = read_directory(data)
        found = None if directory is None else _of_tiff(data, directory)
    except (struct.error, PatchError):
        found = None
    if found is None:
        raise PatchError(f"{_why(data)}, so it cannot be read in its place: {WAY_OUT}")
    return found


def _why(data: bytes) -> str:
    """Why the pixels of a file cannot be read in their place, in a few words."""
    try:
        directory = read_directory(data)
    except struct.error:
        directory = None
    if directory is None:
        return "is no TIFF"
    if directory.byteorder == ">":
        return "has its pixels big-endian"
    compression = directory.first(COMPRESSION, 1)
    if compression in _DEFLATED:
        return "is deflated in tiles, together with other bands or by an odd predictor"
    if compression != 1:
        return f"is compressed by {_NAMES.get(compression, f'method {compression}')}"
    if TILE_WIDTH in directory.tags:
        return "has its pixels in tiles"
    return "has its pixels in an odd way"


def _of_tiff(data: bytes, directory: Directory) -> list[BandPieces] | None:
    """As `pieces_of`; None if they cannot be read in their place."""
    strips = plain_strips(directory, len(data))
    if strips is not None:
        return _plain(directory, strips)
    if directory.first(COMPRESSION, 1) in _DEFLATED:
        return _deflated(directory)
    return None


def _plain(directory: Directory, strips: Sequence[tuple[int, int]]) -> list[BandPieces]:
    bands, _, _ = shape_of(directory)
    item = plain_dtype(directory).itemsize
    if bands > 1 and directory.first(PLANAR, 1) == 1:
        step = item * bands
        return [
            [PlainPiece(at + number * item, nbytes // bands, item, step) for at, nbytes in strips]
            for number in range(bands)
        ]
    each = len(strips) // bands
    return [
        [PlainPiece(at, nbytes, 1, 1) for at, nbytes in strips[number * each : (number + 1) * each]]
        for number in range(bands)
    ]


def _deflated(directory: Directory) -> list[BandPieces] | None:
    bands, height, width = shape_of(directory)
    dtype, predictor = plain_dtype(directory), directory.first(PREDICTOR, 1)
    is_possible = (
        directory.byteorder == "<"
        and TILE_WIDTH not in directory.tags
        and has_plain_samples(directory)
        and (bands == 1 or directory.first(PLANAR, 1) == 2)
        and predictor in (1, 2)
    )
    if not is_possible:
        return None
    rows = min(directory.first(ROWS_PER_STRIP, height) or height, height)
    offsets, counts = directory.tags[STRIP_OFFSETS], directory.tags[STRIP_COUNTS]
    each = -(-height // rows)
    if len(offsets) != each * bands or len(counts) != each * bands:
        return None
    found: list[BandPieces] = []
    for band in range(bands):
        pieces = []
        for number in range(each):
            lines, at = min(rows, height - number * rows), band * each + number
            row = width if predictor == 2 else 0
            packed = Packed(lines * width * dtype.itemsize, dtype.itemsize, row)
            pieces.append(PackedPiece(packed, offsets[at], counts[at]))
        found.append(pieces)
    return found


def moved(pieces: Sequence[PlainPiece], by: int) -> list[PlainPiece]:
    """The same pieces counted from another byte; those that follow each other become one."""
    found: list[PlainPiece] = []
    for offset, nbytes, item, step in pieces:
        last = found[-1] if found else None
        if (
            last is not None
            and item == step == last.item == last.step
            and (last.offset + last.nbytes == offset + by)
        ):
            found[-1] = last._replace(nbytes=last.nbytes + nbytes)
        else:
            found.append(PlainPiece(offset + by, nbytes, item, step))
    return found
