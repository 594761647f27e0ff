"""A damaged directory of tags is refused: GDAL passes over it, and then gives any pixels."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress.converter.encoding.raster import decode
from patchpress.readers.errors import PatchError
from tests.support.helpers import geotiff

OFFSETS, ROWS_PER_STRIP, COUNTS, PHOTOMETRIC = 273, 278, 279, 262
BITS = 258
TILE_WIDTH, TILE_HEIGHT = 322, 323


def entry(data: bytes, tag: int) -> int:
    """Where a tag of a little-endian classic TIFF lies in its directory."""
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    places = [start + 2 + 12 * number for number in range(count)]
    (found,) = [place for place in places if struct.unpack_from("<H", data, place) == (tag,)]
    return int(found)


def with_tag(
    data: bytes, tag: int, *, tag_to: int | None = None, value: int | None = None
) -> bytes:
    """The file with one tag called otherwise, or with another value (a short one)."""
    changed, place = bytearray(data), entry(data, tag)
    if tag_to is not None:
        struct.pack_into("<H", changed, place, tag_to)
    if value is not None:
        struct.pack_into("<HIHH", changed, place + 2, 3, 1, value, 0)
    return bytes(changed)


@pytest.fixture
def deflated(tmp_path: Path) -> bytes:
    pixels = np.arange(64, dtype=np.uint16).reshape(1, 8, 8)
    return geotiff(tmp_path / "a.tif", pixels, compress="deflate", predictor=2).read_bytes()


def damaged(data: bytes) -> bytes:
    """The same with its last byte flipped, which is of the checksum or of the pixels."""
    at = struct.unpack_from("<I", data, entry(data, 273) + 8)[0]
    length = struct.unpack_from("<I", data, entry(data, COUNTS) + 8)[0]
    return data[: at + length - 1] + bytes([data[at + length - 1] ^ 1]) + data[at + length :]


def test_deflated_pixels_without_their_lengths(deflated: bytes) -> None:
    with pytest.raises(PatchError, match="its tags do not fit its deflated pixels"):
        decode(with_tag(deflated, COUNTS, tag_to=65_000))


def test_a_kind_of_pixels_that_only_gdal_knows_has_its_checksum_compared(deflated: bytes) -> None:
    odd = with_tag(deflated, PHOTOMETRIC, value=65_535)
    with pytest.raises(PatchError, match="strip 1: its deflated data is damaged"):
        decode(damaged(odd))


def test_some_tags_of_tiles_are_no_tiles(tmp_path: Path) -> None:
    pixels = np.arange(64, dtype=np.uint16).reshape(1, 8, 8)
    plain = geotiff(tmp_path / "a.tif", pixels).read_bytes()
    with pytest.raises(PatchError, match="its directory is cut or damaged"):
        decode(with_tag(plain, 339, tag_to=TILE_HEIGHT))


def test_a_tag_of_no_known_type_is_passed_over(deflated: bytes) -> None:
    changed = bytearray(with_tag(deflated, 339, tag_to=65_001))
    struct.pack_into("<H", changed, entry(bytes(changed), 65_001) + 2, 0xF0CA)
    assert decode(bytes(changed)).array.ravel().tolist() == list(range(64))


def test_tiles_and_strips_in_one_image(tmp_path: Path) -> None:
    """GDAL takes the offsets that stand last."""
    pixels = np.arange(256, dtype=np.uint16).reshape(1, 16, 16)
    path = geotiff(tmp_path / "a.tif", pixels, tiled=True, blockxsize=16, blockysize=16)
    with pytest.raises(PatchError, match="its directory is cut or damaged"):
        decode(with_tag(path.read_bytes(), 339, tag_to=OFFSETS))


def test_a_tile_with_more_deflated_pixels_than_fit(tmp_path: Path) -> None:
    """The checksum is right, but a tag is not: GDAL reads other pixels in the last rows."""
    pixels = np.arange(64 * 9, dtype=np.uint16).reshape(1, 24, 24).repeat(3, 0)
    options: dict[str, Any] = {
        "tiled": True,
        "blockxsize": 16,
        "blockysize": 16,
        "compress": "deflate",
    }
    data = geotiff(tmp_path / "a.tif", pixels, **options).read_bytes()
    with pytest.raises(PatchError, match="tile 1: its deflated data has more pixels than fit"):
        decode(with_tag(data, TILE_WIDTH, value=14))


def test_strips_of_pixels_that_only_gdal_knows_are_counted(tmp_path: Path) -> None:
    """GDAL gives other pixels each time if there are too few strips of that predictor."""
    pixels = np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    options: dict[str, Any] = {"compress": "deflate", "predictor": 3, "blockysize": 4}
    data = geotiff(tmp_path / "a.tif", pixels, **options).read_bytes()
    odd = with_tag(with_tag(data, PHOTOMETRIC, value=5000), ROWS_PER_STRIP, value=2)
    with pytest.raises(PatchError, match="has no pixels for a part of its image"):
        decode(odd)


@pytest.mark.parametrize("dtype", ["complex64", "uint16"])
@pytest.mark.parametrize("tiled", [False, True])
def test_deflated_pixels_that_only_gdal_knows_fill_their_blocks(
    tmp_path: Path, dtype: str, tiled: bool
) -> None:
    """GDAL gives other pixels each time if a block has more of them."""
    pixels = np.arange(400).reshape(1, 20, 20).astype(dtype)
    options: dict[str, Any] = {"blockxsize": 16} if tiled else {}
    options |= {"nbits": 12} if dtype == "uint16" else {}
    path = geotiff(
        tmp_path / "a.tif", pixels, compress="deflate", tiled=tiled, blockysize=16, **options
    )
    data = path.read_bytes()
    assert np.array_equal(decode(data).array, pixels)
    for bits, how in ((9, "more"), (120, "fewer")):
        with pytest.raises(PatchError, match=f"its deflated data has {how} pixels than fit"):
            decode(with_tag(data, BITS, value=bits))


@pytest.mark.parametrize("bits", [129, 65_535, (1 << 64) - 1])
def test_samples_of_more_bits_than_there_are(tmp_path: Path, bits: int) -> None:
    """As many as that of a pixel would be unfolded before anything else is asked."""
    pixels = np.arange(64, dtype=np.uint16).reshape(1, 8, 8)
    path = geotiff(tmp_path / "a.tif", pixels, compress="deflate", bigtiff="yes")
    data = bytearray(path.read_bytes())
    short = struct.pack("<HHQHHI", BITS, 3, 1, 16, 0, 0)
    assert data.count(short) == 1
    long = struct.pack("<HHQQ", BITS, 16, 1, bits)
    with pytest.raises(PatchError, match=f"has samples of {bits:,} bits"):
        decode(bytes(data).replace(short, long))


def test_damaged_text_that_gdal_quotes_is_not_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pixels = np.arange(64, dtype=np.uint16).reshape(1, 8, 8)
    data = geotiff(tmp_path / "a.tif", pixels, compress="lerc").read_bytes()
    damaged = data.replace(b'domain="IMA', b"domain=\xff\xff\xff\xff")
    assert damaged != data
    assert np.array_equal(decode(damaged).array, pixels)
    assert capfd.readouterr().err == ""
