"""Decodes arrays that NumPy saved (``.npy``). Nothing is ever unpickled."""

import io
from typing import NamedTuple

import numpy as np
from numpy.lib import format as npy

from patchpress.converter.descriptions.formats import CHW, HWC
from patchpress.converter.encoding.promises import Expected, check_image
from patchpress.converter.encoding.tiff import Array
from patchpress.readers.errors import PatchError

_LONGEST_HEADER = 64 << 10  # bytes; usual ones have 128


class NpyHeader(NamedTuple):
    """What stands before the numbers of an array."""

    start: int
    """The byte where the numbers begin."""
    shape: tuple[int, ...]
    fortran: bool
    """Whether the first axis is the fastest one."""
    dtype: "np.dtype[np.generic]"

    def as_in_record(self, axes: str) -> bool:
        """Whether the bytes of the numbers are those of bands one after the other."""
        plain = not self.fortran and self.dtype == self.dtype.newbyteorder("<")
        return plain and (axes != HWC or self.shape[-1] == 1)


def decode_npy(data: bytes, expected: Expected, axes: str) -> Array:
    """The bands of an array, (bands, height, width), in little-endian order.

    Args:
        data: the file.
        expected: what the description says of it.
        axes: one of `formats.AXES`.

    Raises:
        PatchError: it is no array of numbers, is cut, or is not as expected.
        OtherSize: only its size is not as expected.
    """
    header = checked_header(data, expected, axes)
    flat: Array = np.frombuffer(data, header.dtype, offset=header.start)
    array = flat.reshape(header.shape, order="F" if header.fortran else "C")
    array = array.astype(header.dtype.newbyteorder("<"), copy=False)
    if axes == HWC:
        return array.transpose(2, 0, 1)
    return array if axes == CHW else array[None]


def decode_npy_apart(data: bytes, expected: Expected, axes: str) -> Array:
    """As `decode_npy`, by ``numpy.load``."""
    checked_header(data, expected, axes)
    array = np.load(io.BytesIO(data), allow_pickle=False)
    array = np.moveaxis(array, -1, 0) if axes == HWC else array
    return np.ascontiguousarray(array.reshape(-1, *array.shape[-2:]), array.dtype.newbyteorder("<"))


def plain_start(data: bytes, axes: str) -> int:
    """Where the numbers of an array begin that lie as in a record; 0 if they do not."""
    header = _header(data)
    return header.start if header.as_in_record(axes) else 0


def checked_header(data: bytes, expected: Expected, axes: str) -> NpyHeader:
    """The header of a file that is as expected, and as long as it must be.

    Raises:
        PatchError, OtherSize: as `decode_npy`.
    """
    header = _header(data)
    if header.dtype.hasobject or header.dtype.kind not in "buif":
        raise PatchError(f"is an array of {header.dtype}, not of numbers")
    if len(header.shape) != len(axes):
        raise PatchError(
            f"has the shape {header.shape}, which has not the {len(axes)} axes {axes!r}"
        )
    at = dict(zip(axes, header.shape, strict=True))
    dtype = header.dtype.newbyteorder("<")
    check_image(expected, dtype, at.get("c", 1), at["h"], at["w"])
    needed = header.start + header.dtype.itemsize * int(np.prod(header.shape, dtype=object))
    if len(data) < needed:
        raise PatchError(f"is cut: it has {len(data):,} bytes, and needs {needed:,}")
    if len(data) > needed:
        raise PatchError(f"has {len(data):,} bytes, {len(data) - needed:,} more than its array")
    return header


def _header(data: bytes) -> NpyHeader:
    file = io.BytesIO(data[:_LONGEST_HEADER])
    try:
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise PatchError(f"is NPY of version {version[0]}.{version[1]}, which is not read")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except PatchError:
        raise
    except Exception as error:  # it parses text of a file that may come from anybody
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PatchError(f"is no array of NumPy that can be read ({reason[:120]})") from None
    if any(type(size) is not int or size < 0 for size in shape):
        raise PatchError(f"has the shape {str(shape)[:80]}")
    return NpyHeader(file.tell(), shape, fortran, dtype)
