"""Damaged records are `StoreDamaged`, whatever the damage: no other exception, never a hang."""

import contextlib
import json

import numpy as np
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from patchpress.readers.errors import StoreDamaged
from patchpress.readers.format.record import (
    DIMENSION_LIMIT,
    HEADER_LIMIT,
    NDIM_LIMIT,
    RECORD_LIMIT,
    decode,
    decode_with_safetensors,
    encode,
    header_of,
    parse_header,
)
from patchpress.readers.format.zstd_frame import FrameCompressor, FrameDecompressor

RECORD = encode(
    {"B01": np.arange(4, dtype=np.uint16), "VV": np.ones((2, 3), np.float32)}, {"bands": "B01"}
)
FRAME = FrameCompressor(3)(RECORD)

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=4)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
sizes = st.integers(-4, 16) | st.sampled_from([2**31, 2**32, 2**62, 2**63, 2**64])
tensors = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["U8", "U16", "F32", "F64", "BOOL", "BF16"]) | values,
        "shape": st.lists(sizes, max_size=3) | values,
        "data_offsets": st.lists(sizes, min_size=2, max_size=2) | values,
    },
)
headers = st.dictionaries(st.text(max_size=4), tensors | values, max_size=3)
headers |= st.builds(lambda notes, rest: {"__metadata__": notes, **rest}, values, headers)


def written(text: bytes) -> bytes:
    """A header with its length before it."""
    return len(text).to_bytes(8, "little") + text


def decoded_or_damaged(record: bytes) -> None:
    try:
        decode(record)
    except StoreDamaged as error:
        assert str(error)


@given(st.binary(max_size=64))
def test_any_bytes_decode_or_are_damaged(data: bytes) -> None:
    decoded_or_damaged(data)
    decoded_or_damaged(written(data) + data)


@given(headers, st.binary(max_size=32))
@example({"a": {"dtype": "U8", "shape": [2**32, 2**32], "data_offsets": [0, 0]}}, b"")
@example({"a": {"dtype": "U8", "shape": [-1, -4], "data_offsets": [0, 4]}}, b"1234")
@example({"a": {"dtype": "U8", "shape": [4.0], "data_offsets": [0, 4]}}, b"1234")
@example({"a": {"dtype": "U8", "shape": "ab", "data_offsets": [0, 4]}}, b"1234")
@example({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4, 4]}}, b"1234")
def test_any_json_header_decodes_or_is_damaged(header: object, pixels: bytes) -> None:
    decoded_or_damaged(written(json.dumps(header).encode()) + pixels)


def test_a_deeply_nested_header_is_damaged() -> None:
    with pytest.raises(StoreDamaged):
        parse_header(written(b"[" * 500_000))


@pytest.mark.parametrize(
    ("shape", "offsets"),
    [
        pytest.param([4], [[0, 4], [2, 6]], id="overlap"),
        pytest.param([4], [[0, 4], [6, 10]], id="gap"),
        pytest.param([4], [[2, 6], [6, 10]], id="not from the start"),
        pytest.param([5], [[0, 4], [4, 8]], id="more than its bytes"),
        pytest.param([3], [[0, 4], [4, 8]], id="fewer than its bytes"),
    ],
)
def test_tensors_must_fill_their_bytes(shape: list[int], offsets: list[list[int]]) -> None:
    header = {
        name: {"dtype": "U8", "shape": shape, "data_offsets": own}
        for name, own in zip("ab", offsets, strict=True)
    }
    with pytest.raises(StoreDamaged):
        parse_header(written(json.dumps(header).encode()))


@pytest.mark.parametrize("length", range(len(RECORD)))
def test_a_truncated_record_is_damaged(length: int) -> None:
    with pytest.raises(StoreDamaged):
        decode(RECORD[:length])


def test_a_record_with_more_bytes_is_damaged() -> None:
    with pytest.raises(StoreDamaged, match="promises"):
        decode(RECORD + b"\0")


@given(headers, st.binary(max_size=32))
def test_what_safetensors_refuses_is_damaged(header: object, pixels: bytes) -> None:
    with contextlib.suppress(StoreDamaged):
        decode_with_safetensors(written(json.dumps(header).encode()) + pixels)
    for wrong in (RECORD[:-1], RECORD + b"\0", pixels):
        with pytest.raises(StoreDamaged):
            decode_with_safetensors(wrong)


def test_a_flipped_bit_decodes_or_is_damaged() -> None:
    for byte in range(len(RECORD)):
        for bit in range(8):
            damaged = bytearray(RECORD)
            damaged[byte] ^= 1 << bit
            decoded_or_damaged(bytes(damaged))


def test_a_length_beyond_any_header_is_damaged() -> None:
    for length in (2**20 + 1, 2**40, 2**64 - 1):
        with pytest.raises(StoreDamaged):
            header_of(length.to_bytes(8, "little") + bytes(100))


def test_a_truncated_frame_is_damaged() -> None:
    for length in range(len(FRAME)):
        with pytest.raises(StoreDamaged):
            FrameDecompressor(RECORD_LIMIT)(FRAME[:length])


@given(st.binary(max_size=40))
def test_bytes_behind_the_magic_number_are_a_frame_or_damaged(data: bytes) -> None:
    try:
        FrameDecompressor(RECORD_LIMIT)(b"\x28\xb5\x2f\xfd" + data)
    except StoreDamaged as error:
        assert str(error)


def test_a_frame_that_promises_more_than_memory_is_damaged() -> None:
    # RFC 8878, 3.1.1.1: an 8-byte content size in a single segment.
    promise = b"\x28\xb5\x2f\xfd" + b"\xe0" + (2**60).to_bytes(8, "little")
    with pytest.raises(StoreDamaged):
        FrameDecompressor(RECORD_LIMIT)(promise + bytes(8))


def test_a_frame_without_its_size_is_damaged() -> None:
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(RECORD)
    with pytest.raises(StoreDamaged):
        FrameDecompressor(RECORD_LIMIT)(frame)


def test_a_decompressor_works_after_damage() -> None:
    decompress = FrameDecompressor(RECORD_LIMIT)
    with pytest.raises(StoreDamaged):
        decompress(FRAME[:-1])
    assert bytes(decompress(FRAME)) == RECORD


def noise() -> bytes:
    """A record of noise, of which zstd stores most bytes as they are, and of a smooth part."""
    random = np.random.default_rng(3)
    pixels = random.integers(0, 4000, (3, 60, 60), np.uint16)
    pixels[1] = 7
    return encode({"s2": pixels})


@pytest.mark.parametrize("level", [1, 3, 19])
def test_any_flipped_bit_of_a_frame_is_damaged(level: int) -> None:
    """Or harmless, as in a reserved bit; never another record."""
    record, decompress = noise(), FrameDecompressor(RECORD_LIMIT)
    frame = bytearray(FrameCompressor(level)(record))
    refused = 0
    for bit in range(0, 8 * len(frame), 41):
        frame[bit // 8] ^= 1 << bit % 8
        try:
            assert bytes(decompress(bytes(frame))) == record, f"bit {bit} gives another record"
        except StoreDamaged:
            refused += 1
        frame[bit // 8] ^= 1 << bit % 8
    assert refused > 8 * len(frame) // 41 - 5
    for byte in range(len(frame) - 4, len(frame)):  # the checksum itself
        frame[byte] ^= 1
        with pytest.raises(StoreDamaged):
            decompress(bytes(frame))
        frame[byte] ^= 1
    assert bytes(decompress(bytes(frame))) == record


def test_a_frame_without_checksum_is_read() -> None:
    record = noise()
    frame = zstandard.ZstdCompressor(level=3).compress(record)
    assert bytes(FrameDecompressor(RECORD_LIMIT)(frame)) == record


def test_bytes_after_a_frame_are_damage() -> None:
    with pytest.raises(StoreDamaged, match="no whole zstd frame"):
        FrameDecompressor(RECORD_LIMIT)(FRAME + b"\0")


def test_a_header_may_be_as_long_as_the_limit_and_no_longer() -> None:
    content = {"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}
    for length, is_one in ((HEADER_LIMIT, True), (HEADER_LIMIT + 8, False)):
        record = written(json.dumps(content).encode().ljust(length)) + b"\7"
        if is_one:
            assert decode(record)["a"].tolist() == [7]
            continue
        with pytest.raises(StoreDamaged, match="is no safetensors"):
            decode(record)


def test_a_tensor_has_no_more_dimensions_than_numpy_can_describe() -> None:
    for count in (NDIM_LIMIT, NDIM_LIMIT + 1):
        entry = {"dtype": "U8", "shape": [1] * count, "data_offsets": [0, 1]}
        record = written(json.dumps({"a": entry}).encode()) + b"\7"
        if count == NDIM_LIMIT:
            assert decode(record)["a"].shape == (1,) * count
            continue
        with pytest.raises(StoreDamaged, match="has the shape"):
            decode(record)


def test_a_tensor_of_none_has_no_dimension_that_numpy_cannot_describe() -> None:
    entry = {"dtype": "U8", "shape": [0, DIMENSION_LIMIT + 1], "data_offsets": [0, 0]}
    with pytest.raises(StoreDamaged, match="has the shape"):
        decode(written(json.dumps({"a": entry}).encode()))


@pytest.mark.parametrize("name", ["n" * length for length in range(1, 17)])
def test_a_header_that_is_cut_is_none_even_if_only_blanks_lack(name: str) -> None:
    whole = encode({name: np.zeros(0, np.uint8)})
    assert header_of(whole) == whole
    for length in range(len(whole)):
        with pytest.raises(StoreDamaged, match=f"a record of {length} bytes is no safetensors"):
            header_of(whole[:length])
