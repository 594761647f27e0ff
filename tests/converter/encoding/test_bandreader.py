"""Files of a band that are alike are read the fast way, and others are decoded in full."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import patchpress.converter.encoding.bandreader
from patchpress.converter.encoding.bandreader import HEADERS_KEPT, BandReader
from patchpress.converter.encoding.promises import Expected
from patchpress.converter.encoding.raster import Raster, decode
from patchpress.converter.encoding.tiff import Ground, ground_of
from patchpress.converter.sources.files import DiskFiles
from patchpress.readers.errors import PatchError
from tests.support.helpers import UTM, Array, by_rasterio, geotiff
from tests.support.synthetic import tiff

SIZE = 20
Outcome = tuple[Array, Ground | None] | None


def pixels(seed: int = 0, dtype: str = "uint16") -> Array:
    return np.random.default_rng(seed).integers(1, 14_000, (SIZE, SIZE)).astype(dtype)


def published(seed: int, epsg: int = 32633, x: int = 300_000, y: int = 5_400_000) -> bytes:
    return tiff(pixels(seed), epsg, x, y)


class Folder:
    """A folder of files, and reading them by a `BandReader`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened = DiskFiles(str(path))

    def read(self, reader: BandReader, data: bytes | None, name: str = "band.tif") -> Outcome:
        """Pixels and ground of a file with these bytes; None if it is refused."""
        if data is not None:
            (self.path / name).write_bytes(data)
        out = np.full((SIZE, SIZE), 7, reader.dtype)
        try:
            ground = reader.read_into(name, self.opened, [out.data.cast("B")])
        except PatchError as refused:
            assert name in str(refused)
            return None
        return out, ground


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path)
    yield folder
    folder.opened.close()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the files that were decoded in full."""
    sizes: list[int] = []

    def counted(data: bytes, expected: Expected) -> Raster:
        sizes.append(len(data))
        return decode(data, expected)

    monkeypatch.setattr(patchpress.converter.encoding.bandreader, "decode", counted)
    return sizes


def learned(folder: Folder, data: bytes) -> BandReader:
    reader = BandReader("uint16", (SIZE, SIZE))
    assert folder.read(reader, data) is not None
    return reader


def same(one: Outcome, other: Outcome) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one[0], other[0]) and repr(one[1]) == repr(other[1])


def test_of_alike_files_only_the_first_is_decoded_in_full(
    folder: Folder, decoded: list[int]
) -> None:
    reader = BandReader("uint16", (SIZE, SIZE))
    for seed in range(9):
        read = folder.read(reader, published(seed, x=300_000 + 1200 * seed))
        assert read is not None
        np.testing.assert_array_equal(read[0], pixels(seed))
        left = 300_000 + 1200 * seed
        assert read[1] == (32633, left, 5_398_800, left + 1200, 5_400_000)
    assert len(decoded) == 1


def test_the_ground_follows_a_tie_point_inside_the_image(
    folder: Folder, decoded: list[int]
) -> None:
    reader = BandReader("uint16", (SIZE, SIZE))
    for seed in range(3):
        corner = struct.pack("<5d", 0, 0, 0, 300_000 + 1200 * seed, 5_400_000)
        inside = struct.pack("<5d", 2, 5, 0, *struct.unpack("<5d", corner)[3:])
        whole = published(seed, x=300_000 + 1200 * seed)
        read = folder.read(reader, whole.replace(corner, inside))
        _, georeference = by_rasterio(folder.path / "band.tif")
        assert read is not None
        assert read[1] == ground_of(georeference, SIZE, SIZE)
    assert len(decoded) == 1


def test_each_reference_system_is_learned_once(folder: Folder, decoded: list[int]) -> None:
    reader = BandReader("uint16", (SIZE, SIZE))
    for seed, epsg in enumerate([32633, 32629, 32635] * 3):
        read = folder.read(reader, published(seed, epsg))
        assert read is not None
        np.testing.assert_array_equal(read[0], pixels(seed))
        assert read[1] is not None
        assert read[1].epsg == epsg
    assert len(decoded) == 3


TIFFS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one row a strip": {"blockysize": 1},
    "nodata": {"nodata": 0},
    "no georeference": {"crs": None, "transform": None},
    "pixel is point": {"point": True},
}


@pytest.mark.parametrize("kind", TIFFS)
def test_files_of_gdal_take_the_fast_way_and_are_right(
    folder: Folder, decoded: list[int], kind: str
) -> None:
    reader = BandReader("uint16", (SIZE, SIZE))
    for seed in range(4):
        path = geotiff(folder.path / "band.tif", pixels(seed)[None], **(UTM | TIFFS[kind]))
        read = folder.read(reader, None)
        array, georeference = by_rasterio(path)
        assert read is not None
        np.testing.assert_array_equal(read[0], array[0])
        assert read[1] == ground_of(georeference, SIZE, SIZE)
    assert len(decoded) == 1


@pytest.mark.parametrize(
    "options", [{"compress": "deflate"}, {"ENDIANNESS": "BIG"}, {"BIGTIFF": "YES"}], ids=str
)
def test_other_tiffs_are_decoded_in_full_and_are_right(
    folder: Folder, decoded: list[int], options: dict[str, Any]
) -> None:
    reader = learned(folder, published(0))
    for seed in range(3):
        geotiff(folder.path / "band.tif", pixels(seed)[None], **UTM, **options)
        read = folder.read(reader, None)
        assert read is not None
        np.testing.assert_array_equal(read[0], pixels(seed))
    assert len(decoded) == 4


def test_a_difference_anywhere_in_the_header_is_seen(folder: Folder) -> None:
    reader = learned(folder, published(0))
    whole = published(1)
    for offset in range(len(whole) - 2 * SIZE * SIZE):
        damaged = bytearray(whole)
        damaged[offset] ^= 1
        fresh = folder.read(BandReader("uint16", (SIZE, SIZE)), bytes(damaged))
        assert same(folder.read(reader, None), fresh), offset


@pytest.mark.parametrize("change", range(-40, 41, 8))
def test_a_file_of_another_length_is_refused_or_right(folder: Folder, change: int) -> None:
    reader = learned(folder, published(0))
    whole = published(1)
    data = whole + bytes(change) if change > 0 else whole[: len(whole) + change]
    read = folder.read(reader, data)
    if change < 0:
        assert read is None
    else:
        assert read is not None
        np.testing.assert_array_equal(read[0], pixels(1))


def test_a_truncated_file_is_refused_at_every_length(folder: Folder) -> None:
    reader = learned(folder, published(0))
    whole = published(1)
    for length in range(0, len(whole), 7):
        assert folder.read(reader, whole[:length]) is None, length


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(tiff(pixels(1).astype("float32"), 32633, 0, 0), "float32", id="dtype"),
        pytest.param(tiff(pixels(1)[:-1], 32633, 0, 0), "19 x 20", id="height"),
        pytest.param(b"no TIFF", "no TIFF", id="no TIFF"),
        pytest.param(published(1)[:-1], "truncated", id="truncated"),
    ],
)
def test_what_a_band_is_not(folder: Folder, data: bytes, reason: str) -> None:
    for reader in (BandReader("uint16", (SIZE, SIZE)), learned(folder, published(0))):
        (folder.path / "other.tif").write_bytes(data)
        out = np.empty((SIZE, SIZE), np.uint16)
        with pytest.raises(PatchError, match=f"other.tif .*{reason}"):
            reader.read_into("other.tif", folder.opened, [out.data.cast("B")])


def test_two_bands_in_a_file_are_refused(folder: Folder) -> None:
    geotiff(folder.path / "two.tif", np.stack([pixels(1), pixels(2)]), **UTM)
    with pytest.raises(PatchError, match=r"two.tif has 2 bands"):
        out = pixels().data.cast("B")
        learned(folder, published(0)).read_into("two.tif", folder.opened, [out])


@pytest.mark.parametrize("kind", ["absent", "folder"])
def test_what_is_no_file_is_refused(folder: Folder, kind: str) -> None:
    if kind == "folder":
        (folder.path / "odd.tif").mkdir()
    for reader in (BandReader("uint16", (SIZE, SIZE)), learned(folder, published(0))):
        assert folder.read(reader, None, "odd.tif") is None


def test_more_headers_than_are_kept_stay_right(folder: Folder) -> None:
    reader = BandReader("uint16", (SIZE, SIZE))
    for turn in range(2):
        for number in range(HEADERS_KEPT + 5):
            read = folder.read(reader, published(turn, 32601 + number))
            assert read is not None
            np.testing.assert_array_equal(read[0], pixels(turn))
            assert read[1] is not None
            assert read[1].epsg == 32601 + number


def test_tags_among_the_pixels_are_not_taken_for_a_header(folder: Folder) -> None:
    def odd(width: int) -> bytes:
        """A file whose tags lie inside its own pixels, with a width of choice."""
        tags = [(256, width), (257, SIZE), (258, 16), (259, 1), (273, 8), (278, SIZE)]
        tags += [(279, 2 * SIZE * SIZE)]
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        head = struct.pack("<2sHI", b"II", 42, 100)
        inside = struct.pack("<H", len(tags)) + entries + bytes(4)
        return (head + bytes(92) + inside).ljust(8 + 2 * SIZE * SIZE, b"\1")

    reader = BandReader("uint16", (SIZE, SIZE))
    assert folder.read(reader, odd(SIZE)) is not None
    assert folder.read(reader, odd(SIZE - 1)) is None


def test_every_file_of_a_tree_is_right(tree: Path, decoded: list[int]) -> None:
    reader = BandReader("uint16", (60, 60))
    systems = set()
    for path in sorted(tree.glob("BigEarthNet-S2/*/*/*_B05.tif")):
        out = np.empty((60, 60), np.uint16)
        opened = DiskFiles(str(path.parent))
        ground = reader.read_into(path.name, opened, [out.data.cast("B")])
        opened.close()
        array, georeference = by_rasterio(path)
        np.testing.assert_array_equal(out, array[0])
        assert ground == ground_of(georeference, 60, 60)
        systems.add(georeference.epsg if georeference else None)
    assert len(decoded) == len(systems)
