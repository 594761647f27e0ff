"""Files that are compared go to libtiff at once if a file that begins like them was checked."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from patchpress.converter.encoding.apart import HEADERS_KEPT, ApartReader
from patchpress.converter.encoding.promises import Expected
from patchpress.converter.sources.files import DiskFiles
from patchpress.readers.errors import PatchError
from tests.support.helpers import Array, geotiff
from tests.support.synthetic import tiff

SIZE = 20


def pixels(seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(1, 14_000, (SIZE, SIZE)).astype(np.uint16)


def published(seed: int, epsg: int = 32633, x: int = 300_000, y: int = 5_400_000) -> bytes:
    return tiff(pixels(seed), epsg, x, y)


class Reading(DiskFiles):
    """A folder of files that counts those that were read in full, and so checked."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder, self.checked = folder, 0
        self.reader = ApartReader(Expected(np.dtype(np.uint16), 1, None))

    def read(self, name: str, most: int | None = None) -> bytes:
        """All bytes, counted."""
        self.checked += 1
        return super().read(name, most)

    def pixels(self, data: bytes) -> Array:
        """The pixels of a file with these bytes."""
        (self.folder / "band.tif").write_bytes(data)
        (band,) = self.reader.read("band.tif", self)
        return np.asarray(band)


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[Reading]:
    files = Reading(tmp_path)
    yield files
    files.close()


def test_files_that_are_alike_are_checked_once(reading: Reading) -> None:
    for seed in range(5):
        found = reading.pixels(published(seed, x=300_000 + 1200 * seed))
        assert np.array_equal(found, pixels(seed))
    assert reading.checked == 1


def test_each_coordinate_system_is_checked_once(reading: Reading) -> None:
    for seed in range(6):
        found = reading.pixels(published(seed, epsg=32633 + seed % 2))
        assert np.array_equal(found, pixels(seed))
    assert reading.checked == 2


def test_no_more_are_kept_than_may_be(reading: Reading) -> None:
    for seed in range(HEADERS_KEPT + 3):
        reading.pixels(published(0, epsg=32601 + seed))
    checked = reading.checked
    reading.pixels(published(0, epsg=32601 + HEADERS_KEPT + 1))
    assert reading.checked == checked + 1


@pytest.mark.parametrize("at", range(0, 200, 3))
def test_a_file_with_any_other_byte_before_its_pixels_is_checked(reading: Reading, at: int) -> None:
    """The decoder that has checked everything decides, whatever the byte means."""
    reading.pixels(published(1))
    data = bytearray(published(2))
    start = data.index(pixels(2).tobytes())
    data[at % start] ^= 0x01
    other = ApartReader(Expected(np.dtype(np.uint16), 1, None))
    (reading.folder / "band.tif").write_bytes(data)
    outcomes: list[object] = []
    for reader in (reading.reader, other):
        try:
            outcomes.append(reader.read("band.tif", reading).tobytes())
        except PatchError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


def test_a_truncated_and_a_longer_file_are_checked(reading: Reading) -> None:
    reading.pixels(published(1))
    with pytest.raises(PatchError, match="band.tif"):
        reading.pixels(published(2)[:-1])
    assert np.array_equal(reading.pixels(published(3) + b"\0"), pixels(3))
    assert reading.checked == 3


def test_files_of_another_length_come_between(reading: Reading, tmp_path: Path) -> None:
    """Then those of the new length are alike."""
    reading.pixels(published(1))
    path = geotiff(tmp_path / "other.tif", pixels(5)[np.newaxis])
    for _ in range(3):
        assert np.array_equal(reading.pixels(path.read_bytes()), pixels(5))
    assert reading.checked == 2
    assert np.array_equal(reading.pixels(published(6)), pixels(6))


def test_compressed_files_are_each_checked(reading: Reading, tmp_path: Path) -> None:
    path = geotiff(tmp_path / "other.tif", pixels(5)[np.newaxis], compress="deflate")
    for _ in range(3):
        assert np.array_equal(reading.pixels(path.read_bytes()), pixels(5))
    assert reading.checked == 3


def test_a_tie_point_that_lies_on_the_directory_is_not_left_out(reading: Reading) -> None:
    """Else a file could say anything of its size where x and y should be."""
    data = bytearray(published(1))
    (begin,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, begin)
    for entry in range(begin + 2, begin + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry)[0] == 33922:
            struct.pack_into("<I", data, entry + 8, begin + 2)
    for _ in range(3):
        reading.pixels(bytes(data))
    assert reading.checked == 3
