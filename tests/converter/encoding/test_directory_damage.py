"""A damaged directory of tags is refused: GDAL passes over it, and then gives any pixels."""

import struct
from pathlib import Path

import numpy as np
import pytest

from patchpress.converter.encoding.raster import decode
from patchpress.readers.errors import PatchError
from tests.support.helpers import geotiff

COUNTS, PHOTOMETRIC, TILE_HEIGHT = 279, 262, 323


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
