"""One image of a sample: records of one or more modalities, their channels one after another."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.choice import image_dtype
from patchpress.readers.errors import OptionError
from patchpress.readers.format.modality import Modality
from patchpress.readers.records import Records

Array = npt.NDArray[Any]
IMAGE = "image"
CHUNK = 8  # patches cast at a time: few enough to stay in the processor's cache
_scratch = threading.local()


@dataclass(frozen=True, slots=True)
class Field:
    """One array of a batch: its name, the shape of one sample, its dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of one sample."""
        return prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Image:
    """One image array, made of the records of one or more modalities."""

    field: Field
    modalities: tuple[Modality, ...]
    parts: tuple[Records, ...]

    def subset(self, indices: Array) -> "Image":
        """Some of its samples."""
        return replace(self, parts=tuple(part.subset(indices) for part in self.parts))

    def as_float(self) -> "Image":
        """The same in float32, or in float64 if only that holds every stored value."""
        dtype = np.result_type(self.field.dtype, np.float32)
        return replace(self, field=replace(self.field, dtype=dtype))

    def read(self, indices: Array, out: Array) -> None:
        """Fill `out` (N, bands, height, width): straight from the records, or cast."""
        if len(self.parts) == 1 and self.parts[0].dtype == out.dtype:
            self.parts[0].read(indices, out)
            return
        for begin in range(0, len(indices), CHUNK):
            some = indices[begin : begin + CHUNK]
            channel = 0
            for number, part in enumerate(self.parts):
                pixels = part.read(some, _chunk(number, part)[: len(some)])
                out[begin : begin + CHUNK, channel : channel + len(pixels[0])] = pixels
                channel += len(pixels[0])

    def announce(self, indices: Sequence[int] | Array) -> None:
        """Tell the kernel that these will be read soon."""
        for part in self.parts:
            part.announce(indices)


def join(
    name: str, modalities: Sequence[Modality], parts: Sequence[Records], dtype: str | None
) -> Image:
    """Records of modalities as one image, in a dtype that holds every stored value.

    Raises:
        OptionError: records of different sizes, or a dtype that does not hold every stored value.
    """
    sizes = {part.shape[1:] for part in parts}
    if len(sizes) > 1:
        there = ", ".join(
            f"{m.name} {part.shape[1]} x {part.shape[2]}"
            for m, part in zip(modalities, parts, strict=True)
        )
        raise OptionError(f"{there} pixels do not fit on one grid: give joined=False")
    stored = {part.dtype for part in parts}
    kind = np.result_type(*stored) if dtype is None else image_dtype(dtype, stored)
    count = sum(part.shape[0] for part in parts)
    return Image(Field(name, (count, *sizes.pop()), kind), tuple(modalities), tuple(parts))


def _chunk(number: int, part: Records) -> Array:
    """An array of this thread for the stored pixels of a few patches; used again at each call."""
    arrays: dict[Any, Array] = _scratch.__dict__
    name = f"{number} {part.shape} {part.dtype}"
    found = arrays.get(name)
    if found is None:
        found = arrays[name] = np.empty((CHUNK, *part.shape), part.dtype)
    return found
