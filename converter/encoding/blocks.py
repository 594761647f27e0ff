"""Decodes the strips or tiles of a TIFF one by one, each into no more bytes than it has pixels.

Deflate has a checksum, which is compared here: TIFF libraries stop when they have all pixels, and
do not come to it. LZW, PackBits, zstd and LZMA have none in the TIFFs that GDAL writes.
"""

import lzma
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.encoding.tiff import (
    BITS,
    COMPRESSION,
    PHOTOMETRIC,
    PLANAR,
    PREDICTOR,
    ROWS_PER_STRIP,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    TILE_COUNTS,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_WIDTH,
    Array,
    Directory,
    plain_dtype,
    shape_of,
)
from patchpress.readers.errors import PatchError

_LZMA_MEMORY = 64 << 20
_NO_FIT = "is damaged: its tags do not fit its deflated pixels"
_KINDS = ("strip", "tile")  # of blocks: without tiles, and with
_YCBCR = 6  # a value of the tag Photometric
_ZSTD_WINDOW = 1 << 27  # the largest that libtiff writes; only what is filled takes memory


def _stored(block: bytes, nbytes: int) -> bytes:
    return block[:nbytes]


def _inflate(block: bytes, nbytes: int) -> bytes:
    """The bytes of deflated data, all of which is decompressed: its checksum is at its end.

    Raises:
        PatchError: it is damaged, ends early, or has many more bytes.
    """
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(block, nbytes)
        if not stream.eof and stream.decompress(stream.unconsumed_tail, 1):
            # GDAL takes the first ones, but not each time the same.
            raise PatchError("its deflated data has more pixels than fit")
        if not stream.eof:
            raise PatchError("its deflated data ends early")
    except zlib.error as error:
        reason = str(error).partition(": ")[2] or str(error)
        raise PatchError(f"its deflated data is damaged, {reason}") from None
    return raw


def _lzw(block: bytes, nbytes: int) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.lzw_decode(block, out=nbytes))


def _packbits(block: bytes, nbytes: int) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.packbits_decode(block, out=nbytes))


def _lzma(block: bytes, nbytes: int) -> bytes:
    return lzma.LZMADecompressor(memlimit=_LZMA_MEMORY).decompress(block, nbytes)


def _zstd(block: bytes, nbytes: int) -> bytes:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    with decompressor.stream_reader(block) as stream:
        return stream.read(nbytes)


WITHOUT_PREDICTOR = (1, 32773)  # as TIFF libraries ignore it there
# Value of the tag Compression -> what decompresses a block to at most so many bytes.
_CODECS: dict[int, Callable[[bytes, int], bytes]] = {
    1: _stored,
    5: _lzw,
    8: _inflate,
    32946: _inflate,
    32773: _packbits,
    34925: _lzma,
    50000: _zstd,
}


def decode_blocks(data: bytes, directory: Directory) -> Array | None:
    """All bands, (bands, height, width) in native byte order; None if only GDAL can tell.

    Args:
        data: the file.
        directory: of an image whose size and blocks were compared with what is expected; its
            samples are whole bytes of one dtype.

    Raises:
        PatchError: deflated data is damaged.
    """
    compression = directory.first(COMPRESSION, 1)
    codec = _CODECS.get(compression)
    predictor, planar = directory.first(PREDICTOR, 1), directory.first(PLANAR, 1)
    little = plain_dtype(directory)
    dtype = little if directory.byteorder == "<" else little.newbyteorder(">")
    if compression in WITHOUT_PREDICTOR:
        predictor = 1
    predictors = (1, 2, 3) if dtype.kind == "f" else (1, 2)
    array = None
    if codec is not None and planar in (1, 2) and predictor in predictors:
        try:
            array = _assembled(data, directory, codec, dtype, predictor)
        except PatchError:
            raise
        except Exception:  # noqa: S110 -- a damaged file makes decoders raise almost anything
            pass
    if array is None and codec is _inflate:
        # GDAL compares no checksum, and of some such files gives other pixels each time.
        raise PatchError(_NO_FIT)
    return array


def check_deflated(data: bytes, directory: Directory) -> None:
    """Compare checksums and sizes of an image whose pixels only GDAL can read: GDAL does not.

    Args:
        data: the file.
        directory: of an image whose size and blocks were compared with what is expected.

    Raises:
        PatchError: deflated data is damaged, or has not as many pixels as its block.
    """
    if _CODECS.get(directory.first(COMPRESSION, 1)) is not _inflate:
        return
    bands, height, width = shape_of(directory)
    tiled = TILE_WIDTH in directory.tags
    offsets = directory.tags.get(TILE_OFFSETS if tiled else STRIP_OFFSETS, ())
    counts = directory.tags.get(TILE_COUNTS if tiled else STRIP_COUNTS, ())
    if not offsets or len(offsets) != len(counts):
        raise PatchError(_NO_FIT)
    if tiled:
        rows, columns = directory.first(TILE_HEIGHT, height), directory.first(TILE_WIDTH, width)
    else:
        rows, columns = min(directory.first(ROWS_PER_STRIP, height) or height, height), width
    bits = directory.tags.get(BITS) or (1,)
    if directory.first(PLANAR, 1) == 1:
        row = sum(bits) if len(bits) == bands else bits[0] * bands
    else:
        row = max(bits)
    row = -(-row * columns // 8)
    strips = -(-height // rows)
    for number, (start, count) in enumerate(zip(offsets, counts, strict=True)):
        down = rows if tiled else min(rows, height - number % strips * rows)
        name = f"{_KINDS[tiled]} {number + 1}"
        raw = _decompressed(_inflate, data[start : start + count], row * down, name)
        # Colours may be of several pixels together.
        if len(raw) < row * down and directory.first(PHOTOMETRIC, 1) != _YCBCR:
            raise PatchError(f"is damaged: {name}: its deflated data has fewer pixels than fit")


def _decompressed(
    codec: Callable[[bytes, int], bytes], block: bytes, nbytes: int, name: str
) -> bytes:
    """A block's first bytes; `name` says which it is in the error of a damaged one."""
    try:
        return codec(block, nbytes)
    except PatchError as error:
        raise PatchError(f"is damaged: {name}: {error}") from None


def _assembled(
    data: bytes,
    directory: Directory,
    codec: Callable[[bytes, int], bytes],
    dtype: np.dtype[Any],
    predictor: int,
) -> Array | None:
    bands, height, width = shape_of(directory)
    together = bands if directory.first(PLANAR, 1) == 1 else 1
    tiled = TILE_WIDTH in directory.tags
    if tiled:
        rows, columns = directory.first(TILE_HEIGHT, 1), directory.first(TILE_WIDTH, 1)
    else:
        rows, columns = min(directory.first(ROWS_PER_STRIP, height) or height, height), width
    offsets = directory.tags[TILE_OFFSETS if tiled else STRIP_OFFSETS]
    counts = directory.tags[TILE_COUNTS if tiled else STRIP_COUNTS]
    out = np.empty((bands // together, height, width, together), dtype.newbyteorder("="))
    number = 0
    for plane in out:
        for top in range(0, height, rows):
            down = rows if tiled else min(rows, height - top)
            shape = (down, columns, together)
            for left in range(0, width, columns):
                start, count = offsets[number], counts[number]
                number += 1
                block = data[start : start + count]
                if not count or len(block) < count:
                    return None
                nbytes = down * columns * together * dtype.itemsize
                raw = _decompressed(codec, block, nbytes, f"{_KINDS[tiled]} {number}")
                pixels = _unpredicted(raw, dtype, shape, predictor)
                target = plane[top : top + down, left : left + columns]
                target[...] = pixels[: target.shape[0], : target.shape[1]]
    return out[0].transpose(2, 0, 1) if together == bands else out[..., 0]


def _unpredicted(
    raw: bytes, dtype: np.dtype[Any], shape: tuple[int, int, int], predictor: int
) -> npt.NDArray[Any]:
    """The pixels of a block, (rows, columns, samples that lie together).

    Raises:
        ValueError: there are too few.
    """
    rows, columns, together = shape
    if predictor == 3:
        return _floats(raw, dtype, shape)
    pixels = np.frombuffer(raw, dtype, rows * columns * together).reshape(shape)
    if predictor == 1:
        return pixels
    native = pixels.astype(dtype.newbyteorder("="), copy=False)
    whole = native.view(f"u{dtype.itemsize}")
    return np.cumsum(whole, axis=1, dtype=whole.dtype).view(native.dtype)


def _floats(raw: bytes, dtype: np.dtype[Any], shape: tuple[int, int, int]) -> npt.NDArray[Any]:
    """Undo the floating-point predictor: rows of all first bytes, all second ones and so on."""
    rows, columns, together = shape
    size, values = dtype.itemsize, columns * together
    differences = np.frombuffer(raw, np.uint8, rows * values * size).reshape(rows, -1, together)
    bytes_ = np.cumsum(differences, axis=1, dtype=np.uint8).reshape(rows, size, values)
    # The most significant byte comes first, whatever the byte order of the file.
    big = np.ascontiguousarray(bytes_.transpose(0, 2, 1))
    return big.view(f">f{size}").reshape(shape)
