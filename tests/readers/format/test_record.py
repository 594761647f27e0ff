"""Records against safetensors itself: its bytes, its reader, every array that NumPy can hold."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from patchpress.readers.format.compression import Decompressor
from patchpress.readers.format.record import (
    SAFETENSORS_DTYPES,
    decode,
    decode_with_safetensors,
    encode,
    form_in,
    form_of,
    header_of,
    parse_header,
)
from patchpress.readers.format.zstd_frame import FrameCompressor

Array = npt.NDArray[Any]

GOLDEN = (
    b"\x60\x00\x00\x00\x00\x00\x00\x00"
    b'{"__metadata__":{"bands":"VV"},"s1":{"dtype":"F32","shape":[1,1,2],"data_offsets":[0,8]}}'
    b"       "
    b"\x00\x00\x80\x3f\x00\x00\xc0\xff"
)


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    """Any dtype, any shape down to none at all, any bits: NaN payloads and -0.0 among them."""
    dtype = np.dtype(draw(st.sampled_from(list(SAFETENSORS_DTYPES))))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    nbytes = math.prod(shape) * dtype.itemsize
    bits = draw(st.binary(min_size=nbytes, max_size=nbytes))
    if dtype == np.bool_:
        bits = bytes(bit & 1 for bit in bits)
    return np.frombuffer(bits, dtype).reshape(shape)


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6).filter(
    lambda name: name != "__metadata__"
)
records = st.dictionaries(names, arrays(), max_size=4)
metadata = st.dictionaries(st.text(max_size=6), st.text(max_size=6), max_size=1)


def same(one: Array, other: Array) -> bool:
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


@given(records, metadata)
def test_a_record_comes_back_bit_for_bit(content: dict[str, Array], notes: dict[str, str]) -> None:
    record = encode(content, notes)
    back = decode(record)
    assert back.keys() == content.keys()
    assert all(same(back[name], array) for name, array in content.items())
    assert form_in(record).metadata == notes


@given(records, metadata)
def test_the_bytes_are_those_of_safetensors(
    content: dict[str, Array], notes: dict[str, str]
) -> None:
    assert encode(content, notes) == safetensors.numpy.save(content, notes or None)


@given(records)
def test_safetensors_reads_a_record(content: dict[str, Array]) -> None:
    back = safetensors.numpy.load(encode(content))
    assert back.keys() == content.keys()
    assert all(same(back[name], array) for name, array in content.items())


@given(records, metadata)
def test_both_ways_to_decode_give_the_same(
    content: dict[str, Array], notes: dict[str, str]
) -> None:
    record = encode(content, notes)
    ours, theirs = decode(record), decode_with_safetensors(memoryview(record))
    assert ours.keys() == theirs.keys()
    assert all(same(ours[name], array) for name, array in theirs.items())


@given(records)
def test_a_record_of_safetensors_is_read(content: dict[str, Array]) -> None:
    back = decode(safetensors.numpy.save(content))
    assert all(same(back[name], array) for name, array in content.items())


def in_other_memory(array: Array) -> list[Array]:
    """The same values, laid out in every way that is not C-contiguous little-endian."""
    if array.ndim == 0:
        return [array.byteswap().view(array.dtype.newbyteorder())]
    return [
        array.byteswap().view(array.dtype.newbyteorder()),
        np.asfortranarray(array),
        np.repeat(array, 2, axis=-1)[..., ::2],
        np.ascontiguousarray(array[::-1])[::-1],
    ]


@given(arrays())
def test_layout_in_memory_and_byte_order_do_not_matter(array: Array) -> None:
    for other in in_other_memory(array):
        assert encode({"a": other}) == encode({"a": array})


def test_golden_bytes() -> None:
    array = np.frombuffer(GOLDEN[-8:], "<f4").reshape(1, 1, 2)
    assert np.isnan(array[0, 0, 1])
    assert encode({"s1": array}, {"bands": "VV"}) == GOLDEN
    assert same(decode(GOLDEN)["s1"], array)


def test_tensors_are_views_that_do_not_change_the_record() -> None:
    record = encode({"a": np.arange(6, dtype=np.uint16)})
    array = decode(record)["a"]
    assert np.shares_memory(array, np.frombuffer(record, np.uint8))
    assert not array.flags.writeable


def test_many_notes_are_read_back_whatever_their_order() -> None:
    notes = {"bands": "B01,B02", "a": "é", "line": "one\ntwo"}
    record = encode({"x": np.zeros(1, np.uint8)}, notes)
    assert form_in(record).metadata == notes
    assert form_in(safetensors.numpy.save({"x": np.zeros(1, np.uint8)}, notes)).metadata == notes


def test_a_form_knows_where_its_tensors_lie() -> None:
    form = form_of([("B02", "uint16", (120, 120)), ("B01", "uint16", (20, 20))])
    assert [(tensor.name, tensor.offset) for tensor in form.tensors] == [("B01", 0), ("B02", 800)]
    assert form.size == len(form.header) + 800 + 28_800
    assert form.tensor("B03") is None
    assert parse_header(form.header) == form


def test_a_header_is_padded_to_eight_bytes() -> None:
    for length in range(1, 10):
        assert len(header_of(encode({"n" * length: np.zeros(0, np.uint8)}))) % 8 == 0


@pytest.mark.parametrize("level", [1, 3, 19])
def test_a_frame_gives_its_record_back(level: int) -> None:
    random = np.random.default_rng(level)
    record = encode({"a": random.integers(0, 4000, (2, 120, 120), np.uint16)})
    frame = FrameCompressor(level)(record)
    assert len(frame) < len(record)
    assert bytes(Decompressor()(frame)) == record


@pytest.mark.parametrize("length", [0, 1, 100_000])
def test_values_of_any_length_go_through_a_frame(length: int) -> None:
    value = bytes(length)
    assert bytes(Decompressor()(FrameCompressor(1)(value))) == value


def test_frames_of_any_size_follow_each_other() -> None:
    compress, decompress = FrameCompressor(3), Decompressor()
    for size in (10, 100_000, 1, 0, 70_000):
        record = encode({"a": np.full(size, 7, np.uint8)})
        assert bytes(decompress(compress(record))) == record
