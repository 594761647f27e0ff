"""One record: arrays to bytes and back, by pure functions.

A record is one patch of one modality as safetensors (a length, a JSON header, then the pixels); how
it is compressed says `compression`. All records of a modality share their header, so it is built
once, as a `Form`. To write a record is then to put pixels after the header, and to read one is to
compare the header and take the pixels at known offsets. safetensors itself would build and parse a
header for every record; `decode_with_safetensors` uses it, to check the fast way.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import StoreDamaged

# Names of https://github.com/huggingface/safetensors#format, as far as NumPy has such dtypes, in
# the order of that library's own list: it sorts tensors by that list, backwards.
SAFETENSORS_DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "uint16": "U16",
    "float16": "F16",
    "int32": "I32",
    "uint32": "U32",
    "float32": "F32",
    "float64": "F64",
    "int64": "I64",
    "uint64": "U64",
}
_RANKS = {name: rank for rank, name in enumerate(SAFETENSORS_DTYPES)}
NUMPY_DTYPES = {name: np.dtype(dtype) for dtype, name in SAFETENSORS_DTYPES.items()}
NDIM_LIMIT, DIMENSION_LIMIT = 32, 1 << 40  # what NumPy can still describe
RECORD_LIMIT = 1 << 30  # bytes of one record; the largest known data set has 30 MB
HEADER_LIMIT = 1 << 20  # a longer header is no record of ours: 12 bands take 824 bytes


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a record."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    offset: int
    """Its first byte, counted from the end of the header."""

    @property
    def count(self) -> int:
        """How many elements it has."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes it has."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True)
class Form:
    """The header and tensor positions that records share."""

    header: bytes
    tensors: tuple[Tensor, ...]
    metadata: Mapping[str, str]

    @cached_property
    def size(self) -> int:
        """Bytes of a whole uncompressed record."""
        return len(self.header) + sum(t.nbytes for t in self.tensors)

    def tensor(self, name: str) -> Tensor | None:
        """The tensor of that name, or None."""
        return next((t for t in self.tensors if t.name == name), None)

    def array(self, record: memoryview | bytes, tensor: Tensor) -> npt.NDArray[np.generic]:
        """A view of one tensor inside a record's bytes; read-only if the bytes are."""
        start = len(self.header) + tensor.offset
        if not tensor.count:
            return np.empty(tensor.shape, tensor.dtype)
        return np.frombuffer(record, tensor.dtype, tensor.count, start).reshape(tensor.shape)


def form_of(
    tensors: Sequence[tuple[str, str, tuple[int, ...]]], metadata: Mapping[str, str] | None = None
) -> Form:
    """Build the form of records with these tensors, each (name, NumPy dtype name, shape).

    The header's bytes are those of `safetensors.serialize`: tensors sorted by dtype (see
    `SAFETENSORS_DTYPES`), then by name; compact JSON; padded with spaces to a multiple of 8. They
    are made here, because several entries of metadata have no fixed order in that library.
    """
    ordered = sorted(tensors, key=lambda t: (-_RANKS[np.dtype(t[1]).name], t[0]))
    placed, offset = [], 0
    for name, dtype, shape in ordered:
        tensor = Tensor(name, np.dtype(dtype).newbyteorder("<"), tuple(shape), offset)
        placed.append(tensor)
        offset += tensor.nbytes
    content: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    for tensor in placed:
        content[tensor.name] = {
            "dtype": SAFETENSORS_DTYPES[tensor.dtype.name],
            "shape": list(tensor.shape),
            "data_offsets": [tensor.offset, tensor.offset + tensor.nbytes],
        }
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return Form(len(text).to_bytes(8, "little") + text, tuple(placed), dict(metadata or {}))


def header_of(record: memoryview | bytes) -> bytes:
    """The header's bytes, its length included.

    Raises:
        StoreDamaged: the record is shorter than its header says.
    """
    length = int.from_bytes(record[:8], "little")
    if len(record) < 8 or length > HEADER_LIMIT or length + 8 > len(record):
        raise StoreDamaged(
            f"a record of {len(record)} bytes is no safetensors: run `patchpress verify`"
        )
    return bytes(record[: 8 + length])


@lru_cache(maxsize=256)
def parse_header(header: bytes) -> Form:
    """The form that a header's bytes describe (its length included), strictly checked.

    Raises:
        StoreDamaged: the header is no safetensors header, or its tensors overlap or leave gaps.
    """
    try:
        content = json.loads(header[8:])
        metadata = content.pop("__metadata__", {})
        tensors = [_tensor(name, entry) for name, entry in content.items()]
        _check_strings(metadata)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreDamaged(
            f"a record's header is no safetensors header ({type(error).__name__}: {error})"
        ) from None
    tensors.sort(key=lambda tensor: (tensor.offset, tensor.nbytes))
    end = 0
    for tensor in tensors:
        if tensor.offset != end:
            raise StoreDamaged(f"tensor {tensor.name!r} of a record does not follow the one before")
        end += tensor.nbytes
    return Form(header, tuple(tensors), metadata)


def _tensor(name: str, entry: Mapping[str, Any]) -> Tensor:
    """A tensor from its entry in a header; ValueError, KeyError or TypeError if it is none."""
    shape, (start, stop) = entry["shape"], entry["data_offsets"]
    if not all(type(n) is int and 0 <= n <= DIMENSION_LIMIT for n in (*shape, start, stop)):
        raise ValueError(f"tensor {name!r} has the shape {shape} at {start} to {stop}")
    if len(shape) > NDIM_LIMIT or prod(n for n in shape if n) > DIMENSION_LIMIT:
        raise ValueError(f"tensor {name!r} has the shape {shape}")
    tensor = Tensor(name, NUMPY_DTYPES[entry["dtype"]], tuple(shape), start)
    if tensor.nbytes != stop - start:
        raise ValueError(f"tensor {name!r} does not fill its bytes {start} to {stop}")
    return tensor


def _check_strings(metadata: Mapping[str, str]) -> None:
    if not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("__metadata__ must hold text only")


def form_in(record: memoryview | bytes) -> Form:
    """The form of an uncompressed record, its length checked against its header.

    Raises:
        StoreDamaged: the bytes are no record, too few, or too many.
    """
    return form_in_file(record, len(record))


def form_in_file(begin: memoryview | bytes, size: int) -> Form:
    """The form of an uncompressed record of `size` bytes, of which the first are there.

    Raises:
        StoreDamaged: as `form_in`.
    """
    form = parse_header(header_of(begin))
    if size != form.size:
        raise StoreDamaged(f"a record has {size} bytes where its header promises {form.size}")
    return form


def encode(
    arrays: Mapping[str, npt.NDArray[np.generic]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """Arrays to one uncompressed record, whatever their memory layout and byte order."""
    form = form_of([(name, a.dtype.name, a.shape) for name, a in arrays.items()], metadata)
    return b"".join([form.header, *(tensor_bytes(t, arrays[t.name]) for t in form.tensors)])


def tensor_bytes(tensor: Tensor, array: npt.NDArray[np.generic]) -> bytes:
    """The stored bytes of a tensor: little-endian, in C order.

    `safetensors.numpy.save` stores wrong bytes for an array that is not C-contiguous.
    """
    return np.ascontiguousarray(array, dtype=tensor.dtype).tobytes()


def decode(record: memoryview | bytes) -> dict[str, npt.NDArray[np.generic]]:
    """One uncompressed record to views of its tensors, in the order of the stored bytes.

    Raises:
        StoreDamaged: as `form_in`.
    """
    form = form_in(record)
    return {tensor.name: form.array(record, tensor) for tensor in form.tensors}


def decode_with_safetensors(
    record: memoryview | bytes,
) -> dict[str, npt.NDArray[np.generic]]:
    """One uncompressed record to copies of its tensors, by the library that owns the format.

    Raises:
        StoreDamaged: the library refuses the bytes.
    """
    import safetensors
    from safetensors.numpy import load

    try:
        arrays: dict[str, npt.NDArray[np.generic]] = load(bytes(record))
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise StoreDamaged(f"safetensors does not read a record ({error})") from None
    return arrays
