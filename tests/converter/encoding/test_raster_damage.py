"""A damaged TIFF is refused or gives the right pixels: those written, or those that GDAL reads."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress.converter.encoding.promises import Expected
from patchpress.converter.encoding.raster import decode, decode_rasterio
from patchpress.converter.encoding.tiff import STRIP_OFFSETS, TILE_OFFSETS, read_directory
from patchpress.readers.errors import PatchError
from tests.support.helpers import UTM, Array, geotiff
from tests.support.synthetic import tiff

TIFFS: dict[str, dict[str, Any]] = {
    "deflate": {"compress": "deflate", "predictor": 2},
    "lzw": {"compress": "lzw"},
    "tiled": {"tiled": True, "blockxsize": 16, "blockysize": 16},
    "BigTIFF": {"BIGTIFF": "YES"},
    "big-endian": {"ENDIANNESS": "BIG"},
}
PIXELS = np.random.default_rng(5).integers(1, 14_000, (1, 8, 8), np.uint16)

EXPECTED = Expected(PIXELS.dtype, 1, (8, 8))


@pytest.fixture(params=TIFFS)
def data(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    options = UTM | TIFFS[request.param]
    return geotiff(tmp_path / "image.tif", PIXELS, nodata=0, **options).read_bytes()


def published(*, deflate: bool = False) -> bytes:
    return tiff(PIXELS[0], 32633, 331_200, 5_331_600, deflate=deflate)


def decoded(data: bytes) -> Array | None:
    """The pixels; None if the file is refused, or is another image than a band may be."""
    try:
        array = decode(data, EXPECTED).array
    except PatchError as refused:
        assert "\n" not in str(refused)
        return None
    return array if (array.dtype, array.shape) == (PIXELS.dtype, PIXELS.shape) else None


def right(array: Array | None, data: bytes) -> bool:
    """Whether pixels are those written, or those that GDAL reads from the damaged file."""
    if array is None or np.array_equal(array, PIXELS):
        return True
    try:
        return np.array_equal(array, decode_rasterio(data, EXPECTED).array)
    except PatchError:
        return False


def flipped(data: bytes, masks: tuple[int, ...], end: int) -> list[tuple[int, int, bytes]]:
    """The file with each byte before `end` damaged by each mask."""
    return [
        (offset, mask, data[:offset] + bytes([data[offset] ^ mask]) + data[offset + 1 :])
        for offset in range(end)
        for mask in masks
    ]


def test_truncated_files_are_refused_or_right(data: bytes) -> None:
    for length in range(len(data)):
        array = decoded(data[:length])
        assert array is None or np.array_equal(array, PIXELS), length


@pytest.mark.parametrize("deflate", [False, True])
def test_published_files_truncated_anywhere_are_refused(deflate: bool) -> None:
    whole = published(deflate=deflate)
    assert decoded(whole) is not None
    for length in range(len(whole)):
        assert decoded(whole[:length]) is None, length


def test_damaged_bytes_are_refused_or_right(data: bytes) -> None:
    wrong = []
    for offset, mask, damaged in flipped(data, (1, 4, 128), len(data) - PIXELS.nbytes):
        if not right(decoded(damaged), damaged):
            wrong.append((offset, mask))
    assert wrong == []


def test_damaged_bytes_of_published_headers_are_refused_or_right() -> None:
    wrong = []
    whole = published()
    for offset, mask, damaged in flipped(whole, (1, 2, 4, 8), len(whole) - PIXELS.nbytes):
        if not right(decoded(damaged), damaged):
            wrong.append((offset, mask))
    assert wrong == []


def test_an_empty_file_is_refused() -> None:
    assert decoded(b"") is None


def test_the_same_damage_gets_the_same_sentence() -> None:
    whole = published(deflate=True)
    damaged = whole[:-60] + bytes(60)
    sentences = set()
    for _ in range(2):
        with pytest.raises(PatchError) as refused:
            decode(damaged)
        sentences.add(str(refused.value))
    assert len(sentences) == 1


def test_a_file_without_strips_is_refused_and_not_zeros() -> None:
    whole = bytearray(published())
    entry = whole.index(b"\x11\x01\x04\x00\x01\x00\x00\x00")  # StripOffsets, LONG, one value
    whole[entry + 4] = 0
    assert decoded(bytes(whole)) is None


CODECS: dict[str, dict[str, Any]] = {
    "deflate": {"compress": "deflate"},
    "deflate, predictor": {"compress": "deflate", "predictor": 2},
    "deflate, tiled": {"compress": "deflate", "tiled": True, "blockxsize": 16, "blockysize": 16},
    "lzw": {"compress": "lzw", "predictor": 2},
    "packbits": {"compress": "packbits"},
    "zstd": {"compress": "zstd"},
    "lzma": {"compress": "lzma"},
}
# All samples of a pixel together: here a decoder once gave other pixels at each call.
COLOURS = np.random.default_rng(1).integers(900, 1100, (3, 16, 16), np.uint16)


def outcome(decoder: Any, data: bytes) -> bytes | None:
    try:
        return bytes(np.ascontiguousarray(decoder(data).array))
    except PatchError:
        return None


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_damaged_pixels_are_refused_or_what_gdal_reads(tmp_path: Path, codec: str) -> None:
    """Deflate has a checksum: no damage of it passes. The others are as GDAL has them."""
    options = UTM | {"interleave": "pixel", "photometric": "MINISBLACK"} | CODECS[codec]
    whole = geotiff(tmp_path / "image.tif", COLOURS, **options).read_bytes()
    directory = read_directory(whole)
    assert directory is not None
    start = min(directory.tags.get(STRIP_OFFSETS) or directory.tags[TILE_OFFSETS])
    right, passed = COLOURS.tobytes(), 0
    for offset in range(start, len(whole), 1 if "deflate" in codec else 7):
        for mask in (1, 255):
            damaged = bytearray(whole)
            damaged[offset] ^= mask
            found = outcome(decode, bytes(damaged))
            assert found == outcome(decode, bytes(damaged))
            if found is not None:
                assert found == outcome(decode_rasterio, bytes(damaged)), offset
                passed += found != right
    if "deflate" in codec:
        assert passed == 0


def test_the_strip_that_is_damaged_is_named() -> None:
    whole = published(deflate=True)
    with pytest.raises(PatchError, match=r"is damaged: strip 1: its deflated data is damaged, inc"):
        decode(whole[:-1] + bytes([whole[-1] ^ 1]))
