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
from patchpress.readers.normalize import normalize
from patchpress.readers.partial_records import AnyRecords, PartialRecords
from patchpress.readers.statistics import Statistics

Array = npt.NDArray[Any]
IMAGE = "image"
CAST_AT_ONCE = 8  # patches cast at a time: few enough to stay in the processor's cache
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
    parts: tuple[AnyRecords, ...]
    statistics: tuple[Statistics, ...] = ()
    """Of each part, by which it is normalised as it is read; empty if it is not."""
    how: str = "standard"
    """As `normalize` has it."""

    @property
    def told(self) -> list[str]:
        """By what it is normalised, in words."""
        by = [f"{part.modality}, {part.split}" for part in self.statistics[:1]]
        return [f"normalised by {text}" for text in by]

    @property
    def channels(self) -> dict[str, slice]:
        """Modality -> its channels."""
        ends = np.cumsum([part.shape[-3] for part in self.parts]).tolist()
        return {
            modality.name: slice(end - part.shape[-3], end)
            for modality, part, end in zip(self.modalities, self.parts, ends, strict=True)
        }

    def subset(self, indices: Array) -> "Image":
        """Some of its samples."""
        return replace(self, parts=tuple(part.subset(indices) for part in self.parts))

    def as_float(self) -> "Image":
        """The same in float32, or in float64 if only that holds every stored value."""
        dtype = np.result_type(self.field.dtype, np.float32)
        return replace(self, field=replace(self.field, dtype=dtype))

    def normalized(self, statistics: Statistics | None, how: str) -> "Image":
        """The same in float32, and normalised if there are statistics of its channels.

        Raises:
            OptionError: no such `how`, or images that are normalised already.
        """
        if self.statistics:
            raise OptionError("these samples are normalised already: leave the statistics out")
        found = replace(self, field=replace(self.field, dtype=np.dtype(np.float32)))
        if statistics is None:
            return found
        statistics.constants(how, 1, 99, device=None, move=np.asarray)  # raises before reading
        each = tuple(
            replace(statistics, bands=statistics.bands[part]) for part in self.channels.values()
        )
        return replace(found, statistics=each, how=how)

    def read(self, indices: Array, out: Array) -> None:
        """Fill `out` (N, bands, height, width): straight from the records, cast, or normalised.

        With a time axis it is (N, steps, bands, height, width).
        """
        as_stored = len(self.parts) == 1 and self.parts[0].dtype == out.dtype
        if as_stored and not self.statistics:
            self.parts[0].read(indices, out)
            return
        for begin in range(0, len(indices), CAST_AT_ONCE):
            some = indices[begin : begin + CAST_AT_ONCE]
            channel = 0
            for number, part in enumerate(self.parts):
                pixels = part.read(some, _chunk(number, part)[: len(some)])
                bands = pixels.shape[-3]
                target = out[begin : begin + CAST_AT_ONCE, ..., channel : channel + bands, :, :]
                if self.statistics:
                    normalize(pixels, self.statistics[number], out=target, how=self.how)
                    if isinstance(part, PartialRecords):  # what is not there is 0 here, too
                        target[part.absent(some)] = 0
                else:
                    target[...] = pixels
                channel += bands

    def announce(self, indices: Sequence[int] | Array) -> None:
        """Tell the kernel that these will be read soon."""
        for part in self.parts:
            part.announce(indices)


def join(
    name: str, modalities: Sequence[Modality], parts: Sequence[AnyRecords], dtype: str | None
) -> Image:
    """Records of modalities as one image, in a dtype that holds every stored value.

    Raises:
        OptionError: records of different sizes, or a dtype that does not hold every stored value.
    """
    times = {part.shape[:-3] for part in parts}
    if len(times) > 1:
        there = ", ".join(f"{m.name} {m.steps or 'no'}" for m in modalities)
        raise OptionError(f"these have different numbers of dates ({there}): give joined=False")
    sizes = {part.shape[-2:] for part in parts}
    if len(sizes) > 1:
        there = ", ".join(
            f"{m.name} {part.shape[-2]} x {part.shape[-1]}"
            for m, part in zip(modalities, parts, strict=True)
        )
        raise OptionError(f"{there} pixels do not fit on one grid: give joined=False")
    stored = {part.dtype for part in parts}
    kind = np.result_type(*stored) if dtype is None else image_dtype(dtype, stored)
    count = sum(part.shape[-3] for part in parts)
    shape = (*times.pop(), count, *sizes.pop())
    return Image(Field(name, shape, kind), tuple(modalities), tuple(parts))


def _chunk(number: int, part: AnyRecords) -> Array:
    """An array of this thread for the stored pixels of a few patches; used again at each call."""
    arrays: dict[Any, Array] = _scratch.__dict__
    name = f"{number} {part.shape} {part.dtype}"
    found = arrays.get(name)
    if found is None:
        found = arrays[name] = np.empty((CAST_AT_ONCE, *part.shape), part.dtype)
    return found
