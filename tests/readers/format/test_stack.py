"""Repetition onto a finer grid, against NumPy's own, and back."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpress.readers.format.record import SAFETENSORS_DTYPES
from patchpress.readers.format.stack import repeat_into, repeat_many, unrepeat

Array = npt.NDArray[Any]
FACTORS = [1, 2, 3, 4, 6]


def bits(dtype: str, height: int, width: int, seed: int = 0) -> Array:
    """Every bit at random: NaN with payloads among floats."""
    kind = np.dtype(dtype)
    drawn = np.random.default_rng(seed).integers(0, 256, height * width * kind.itemsize, np.uint8)
    if dtype == "bool":
        drawn &= 1
    return drawn.view(kind).reshape(height, width)


def repeated(band: Array, down: int, across: int) -> Array:
    return np.repeat(np.repeat(band, down, axis=0), across, axis=1)


@pytest.mark.parametrize("dtype", SAFETENSORS_DTYPES)
@pytest.mark.parametrize("down", FACTORS)
@pytest.mark.parametrize("across", FACTORS)
def test_repetition_is_numpys_bit_for_bit(dtype: str, down: int, across: int) -> None:
    band = bits(dtype, 4, 5)
    out = np.zeros((4 * down, 5 * across), band.dtype)
    repeat_into(band, out)
    assert out.tobytes() == repeated(band, down, across).tobytes()
    assert unrepeat(out, band.shape).tobytes() == band.tobytes()


@pytest.mark.parametrize("size", [20, 60, 120])
def test_repetition_is_the_kronecker_product(size: int) -> None:
    band = bits("uint16", size, size)
    out = np.empty((120, 120), np.uint16)
    repeat_into(band, out)
    factor = 120 // size
    np.testing.assert_array_equal(out, np.kron(band, np.ones((factor, factor), np.uint16)))


@given(
    st.sampled_from(["uint8", "uint16", "float32", "float64"]),
    *[st.integers(1, 6) for _ in range(4)],
)
def test_any_shape_and_factors(dtype: str, height: int, width: int, down: int, across: int) -> None:
    band = bits(dtype, height, width, seed=height * width)
    out = np.zeros((height * down, width * across), dtype)
    repeat_into(band, out)
    assert out.tobytes() == repeated(band, down, across).tobytes()


@pytest.mark.parametrize("factor", FACTORS)
def test_a_band_may_lie_anyhow_in_memory(factor: int) -> None:
    band = bits("uint16", 6, 8)[::2, ::-1]
    out = np.zeros((3 * factor, 8 * factor), np.uint16)
    repeat_into(band, out)
    np.testing.assert_array_equal(out, repeated(band, factor, factor))


@pytest.mark.parametrize("factor", FACTORS)
def test_out_may_be_unaligned(factor: int) -> None:
    band = bits("uint16", 4, 4)
    memory = bytearray(1 + 2 * 16 * factor**2)
    out = np.frombuffer(memory, np.uint16, 16 * factor**2, offset=1).reshape(4 * factor, -1)
    repeat_into(band, out)
    np.testing.assert_array_equal(out, repeated(band, factor, factor))
    assert memory[0] == 0


def test_only_out_is_written() -> None:
    whole = np.zeros((3, 4, 4), np.uint16)
    repeat_into(np.full((2, 2), 9, np.uint16), whole[1])
    assert (whole[1] == 9).all()
    assert not whole[::2].any()


@pytest.mark.parametrize("dtype", SAFETENSORS_DTYPES)
@pytest.mark.parametrize("down", FACTORS)
@pytest.mark.parametrize("across", FACTORS)
@pytest.mark.parametrize("rows", [slice(1, 4), [4, 0, 2]])
def test_bands_of_several_patches_are_repeated_as_each_alone(
    dtype: str, down: int, across: int, rows: slice | list[int]
) -> None:
    # Patches that do not follow each other in memory, as they are gathered.
    bands = bits(dtype, 3, 7 * 4 * 5)[:, : 3 * 4 * 5].reshape(3, 3, 4, 5)
    out = np.zeros((5, 6, 4 * down, 5 * across), bands.dtype)
    expected = out.copy()
    targets = ((slice(0, 2), slice(1, 3)), (slice(2, 3), slice(5, 6)))
    numbers = range(1, 4) if isinstance(rows, slice) else rows
    for patch, row in zip(bands, numbers, strict=True):
        for band, channel in zip(patch, (1, 2, 5), strict=True):
            expected[row, channel] = repeated(band, down, across)
    repeat_many(bands, out, rows, targets)
    assert out.tobytes() == expected.tobytes()
