"""Records as Blosc2 chunks: the same for everyone, and no damage that is not noticed."""

import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import xxhash
from safetensors.numpy import load

from patchpress.readers.errors import StoreDamaged
from patchpress.readers.format.blosc2_chunk import (
    BLOCK,
    LEAST,
    ChunkCompressor,
    ChunkDecompressor,
    is_chunk,
)
from patchpress.readers.format.record import RECORD_LIMIT, encode
from tests.support.helpers import Array

FORMAT = Path(__file__).parents[3] / "readers" / "FORMAT.md"
random = np.random.default_rng(0)
RECORDS: dict[str, tuple[int, bytes]] = {
    "land": (2, encode({"B02": np.cumsum(random.integers(-3, 4, (6, 120, 120)), 2).astype("u2")})),
    "noise": (4, encode({"VV": random.standard_normal((120, 120)).astype(np.float32)})),
    "bytes of noise": (1, encode({"a": random.integers(0, 256, 100_000, np.uint8)})),
    "one class": (2, encode({"Data": np.full((120, 120), 312, np.uint16)})),
    "doubles": (8, encode({"a": np.linspace(0, 1, 9_001)})),
    "small": (2, encode({"a": np.arange(3, dtype=np.uint16)})),
    "just a block": (1, bytes(range(256)) * (BLOCK // 256)),
    "a block and one byte": (1, bytes(range(256)) * (BLOCK // 256) + b"x"),
}
LAND = RECORDS["land"][1]
VALUE = bytes(ChunkCompressor(2)(LAND))


def sealed(value: bytes) -> bytes:
    """The value with the checksum that is right for its other bytes."""
    return value[:-8] + struct.pack("<Q", xxhash.xxh3_64_intdigest(value[:-8]))


def with_field(at: int, number: int, size: int = 4) -> bytes:
    """A value with another number in its header, and the right checksum."""
    return sealed(VALUE[:at] + number.to_bytes(size, "little") + VALUE[at + size :])


@pytest.mark.parametrize("name", RECORDS)
def test_a_value_gives_its_record_back(name: str) -> None:
    item_size, record = RECORDS[name]
    value = bytes(ChunkCompressor(item_size)(record))
    assert is_chunk(value)
    assert not is_chunk(record)
    assert len(value) >= LEAST
    assert bytes(ChunkDecompressor(len(record))(value)) == record
    assert bytes(imagecodecs.blosc2_decode(value)) == record  # what others do


def test_records_of_several_sizes_follow_each_other() -> None:
    compress, decompress = ChunkCompressor(2), ChunkDecompressor(RECORD_LIMIT)
    records = [record for _, record in RECORDS.values()]
    for record in (*records, *records[::-1]):
        assert bytes(decompress(bytes(compress(record)))) == record


def test_the_same_record_gives_the_same_bytes() -> None:
    assert {bytes(ChunkCompressor(2)(LAND)) for _ in range(3)} == {VALUE}
    compress = ChunkCompressor(2)
    compress(RECORDS["noise"][1])
    compress(RECORDS["small"][1])
    assert bytes(compress(memoryview(LAND))) == VALUE


@pytest.mark.parametrize("name", RECORDS)
def test_parts_of_a_record_are_those_of_the_whole(name: str) -> None:
    item_size, record = RECORDS[name]
    value, decompress = bytes(ChunkCompressor(item_size)(record)), ChunkDecompressor(RECORD_LIMIT)
    end = len(record)
    parts: list[list[tuple[int, int]]] = [
        [(0, 8)],
        [(0, 1), (end - 1, end)],
        [(end - 1, end)],
        [(0, end)],
        [],
        [(end // 2, end // 2 + 9), (0, 4)],
        [(BLOCK, BLOCK + 1)] if end > BLOCK else [(0, 2)],
        [(0, 2 * BLOCK), (2 * BLOCK, 3 * BLOCK), (5, 6)] if end > 3 * BLOCK else [(3, 7)],
    ]
    for wanted in parts:
        found = decompress(value, wanted)
        assert len(found) == end
        for start, stop in wanted:
            assert bytes(found[start:stop]) == record[start:stop], wanted


def test_only_the_blocks_of_a_part_are_decoded() -> None:
    decompress = ChunkDecompressor(RECORD_LIMIT)
    decompress(bytes(ChunkCompressor(1)(b"\7" * len(LAND))))
    found = bytes(decompress(VALUE, [(BLOCK, BLOCK + 8)]))
    assert found[BLOCK : 2 * BLOCK] == LAND[BLOCK : 2 * BLOCK]
    assert set(found[:BLOCK] + found[2 * BLOCK :]) == {7}


@pytest.mark.parametrize("name", RECORDS)
def test_any_flipped_bit_is_damage(name: str) -> None:
    item_size, record = RECORDS[name]
    value = bytearray(ChunkCompressor(item_size)(record))
    decompress = ChunkDecompressor(RECORD_LIMIT)
    for bit in [*range(0, 8 * len(value), 997), *range(8 * 40), *range(8 * len(value) - 64, 8)]:
        value[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StoreDamaged, match="no whole Blosc2 chunk"):
            decompress(bytes(value))
        value[bit // 8] ^= 1 << bit % 8
    assert bytes(decompress(bytes(value))) == record


def test_a_value_that_is_cut_or_longer_is_damage() -> None:
    decompress = ChunkDecompressor(RECORD_LIMIT)
    for length in [*range(0, len(VALUE), 101), len(VALUE) - 8, len(VALUE) - 1]:
        with pytest.raises(StoreDamaged, match="no whole Blosc2 chunk"):
            decompress(VALUE[:length])
    with pytest.raises(StoreDamaged, match="its sizes do not fit"):
        decompress(VALUE + bytes(8))


# A value whose checksum is right, and what is said of it. Bytes of the header as c-blosc2 has them.
WRONG: dict[str, tuple[bytes, str]] = {
    "a later format": (with_field(0, 6, 1), "not of the kind"),
    "another codec": (with_field(2, 0x85, 1), "not of the kind"),
    "a plugin of a codec": (with_field(22, 200, 1), "not of the kind"),
    "a plugin of a filter": (with_field(21, 200, 1), "not of the kind"),
    "a dictionary, or read later": (with_field(31, 0x08, 1), "not of the kind"),
    "pixels of three bytes": (with_field(3, 3, 1), "not of the kind"),
    "no bytes": (with_field(4, 0), "sizes do not fit"),
    "no blocks": (with_field(8, 0), "sizes do not fit"),
    "a block larger than all": (with_field(8, len(LAND) + 1), "sizes do not fit"),
    "more bytes than there are": (with_field(12, 1 << 31), "sizes do not fit"),
    "fewer bytes than there are": (with_field(12, 40), "sizes do not fit"),
    "as it is, but shorter": (with_field(2, 0x27, 1), "sizes do not fit"),
    "more blocks than have room": (with_field(8, 1), "blocks lie outside"),
    "a block before all": (with_field(32, 0), "blocks lie outside"),
    "a block after all": (with_field(36, len(VALUE)), "blocks lie outside"),
    "a block in the middle of another": (with_field(36, 200), "no whole Blosc2 chunk"),
    "more than a record has": (with_field(4, 1 << 30), "no whole Blosc2 chunk"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_header_that_is_not_ours_is_damage_whatever_its_checksum(what: str) -> None:
    value, said = WRONG[what]
    with pytest.raises(StoreDamaged, match=said):
        ChunkDecompressor(len(LAND))(value)


def test_a_promise_of_more_than_the_manifest_allows_takes_no_memory() -> None:
    """In a process with little memory, so that taking it would fail."""
    script = """
import resource, struct, sys, xxhash
from patchpress.readers.errors import StoreDamaged
from patchpress.readers.format.blosc2_chunk import ChunkDecompressor, ChunkCompressor
value = bytearray(bytes(ChunkCompressor(2)(bytes(range(100)) * 99)))
struct.pack_into("<I", value, 4, 1 << 30)
struct.pack_into("<I", value, 8, 1 << 30)
struct.pack_into("<Q", value, len(value) - 8, xxhash.xxh3_64_intdigest(bytes(value[:-8])))
here = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (here + (256 << 20),) * 2)
try:
    ChunkDecompressor(1 << 20)(bytes(value))
except StoreDamaged as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "it promises 1,073,741,824 bytes, not 1,048,576" in ended.stdout, ended.stderr


def test_the_three_lines_of_the_format_read_a_value() -> None:
    """As FORMAT.md shows them."""
    (lines,) = re.findall(r"```python\n(import imagecodecs\n.*?)```", FORMAT.read_text(), re.DOTALL)
    names: dict[str, Any] = {"value": VALUE}
    exec(lines, names)  # noqa: S102 -- the text of our own document
    arrays: dict[str, Array] = names["arrays"]
    assert {name: array.tobytes() for name, array in arrays.items()} == {
        name: array.tobytes() for name, array in load(LAND).items()
    }


@pytest.mark.parametrize("item_size", [1, 2, 4, 8])
def test_a_record_of_any_length_comes_back(item_size: int) -> None:
    """Also from a c-blosc2 that loses the items that are no whole group of eight."""
    compress = ChunkCompressor(item_size)
    block = BLOCK // item_size
    for items in (80, 81, 87, 95, 500, 2_049, 5_003, block - 1, block + 3, 3 * block + 7):
        record = bytes(i * i % 251 for i in range(items * item_size))
        value = bytes(compress(record))
        assert value[3] == (item_size if item_size > 1 else 8)  # bits are shuffled between so many
        assert bytes(ChunkDecompressor(len(record))(value)) == record
        assert bytes(imagecodecs.blosc2_decode(value)) == record


def test_a_library_that_loses_bytes_is_noticed_before_a_record_is_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compress = ChunkCompressor(2)

    def losing(record: memoryview, **options: Any) -> memoryview:
        return memoryview(imagecodecs.blosc2_encode(bytes(len(record) * 2 - 2) + b"x!", **options))

    monkeypatch.setattr(compress, "_library", compress._library._replace(encode=losing))
    with pytest.raises(StoreDamaged, match="the installed imagecodecs writes other Blosc2 chunks"):
        compress(bytes(20_000))


@pytest.mark.parametrize("item_size", [1, 2, 4, 8])
def test_bytes_do_not_depend_on_the_records_before(item_size: int) -> None:
    """Nor are they ever longer than the record with its header."""
    compress = ChunkCompressor(item_size)
    compress(bytes(range(250)) * 4_000)  # now it has memory for more
    for count in (300, 2_049, 4_097, 10_000):
        record = random.integers(0, 256, count * item_size, np.uint8).tobytes()
        value = bytes(compress(record))
        assert value == bytes(ChunkCompressor(item_size)(record))
        assert len(value) <= max(32 + len(record), LEAST - 8) + 8
