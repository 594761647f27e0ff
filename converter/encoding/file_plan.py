"""Where the bands of each file of a patch go: to a plane of the record, or aside first.

A band of the record's own resolution is read into its plane at once, also if its file has other
bands beside it. Coarser bands of a stacked record, and bands that are not stored, are read aside.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from patchpress.converter.descriptions.band_files import BandFile
from patchpress.converter.encoding.bandreader import BandReader
from patchpress.converter.encoding.resample import resample_into
from patchpress.converter.encoding.tiff import Array
from patchpress.readers.format.modality import Band
from patchpress.readers.format.record import Form

Aside = Callable[[tuple[int, ...]], Array]
"""Gives memory of a shape, the same each time."""


class Plane(NamedTuple):
    """Where the pixels of one band lie in a record, and (height, width) of them there."""

    start: int
    shape: tuple[int, int]


def planes_of(form: Form, bands: tuple[Band, ...], *, native: bool, step: int = 0) -> list[Plane]:
    """The plane of each band, in that step of a time axis if there is one."""
    first = len(form.header)
    item = form.tensors[0].dtype.itemsize
    if native:
        offsets = {tensor.name: tensor.offset for tensor in form.tensors}
        sizes = [band.shape[0] * band.shape[1] * item for band in bands]
        return [
            Plane(first + offsets[band.name] + step * size, band.shape)
            for band, size in zip(bands, sizes, strict=True)
        ]
    (tensor,) = form.tensors
    height, width = tensor.shape[-2:]
    size, before = height * width * item, step * len(bands)
    return [Plane(first + (before + n) * size, (height, width)) for n in range(len(bands))]


class FilePlan:
    """One of the files that a patch has: its reader, and where each of its bands goes."""

    def __init__(
        self,
        file: BandFile,
        bands: tuple[Band, ...],
        planes: list[Plane],
        reader: BandReader,
        aside: Aside,
    ) -> None:
        """Plan it.

        Args:
            file: what is in it.
            bands: those of the modality, in the order of `planes`.
            planes: where they lie in a record.
            reader: of files like this one.
            aside: gives the memory for what is not read into a plane.
        """
        self.name, self.reader = file.name, reader
        numbers = {band.name: number for number, band in enumerate(bands)}
        self.kept = [(at, numbers[name]) for at, name in enumerate(file.bands) if name in numbers]
        """(number in the file, number in the record) of each band that is stored."""
        shape = reader.shape
        self._spans: list[slice | memoryview] = []
        self.coarse: list[tuple[Array, Plane]] = []
        """Bands that are read aside, and their planes in the record."""
        own = dict(self.kept)
        fine = all(planes[number].shape == shape for number in own.values())
        apart = None if fine and len(own) == len(file.bands) else aside((reader.bands, *shape))
        for at in range(len(file.bands)):
            plane = planes[own[at]] if at in own else None
            if plane is not None and plane.shape == shape:
                self._add(plane.start, plane.start + reader.nbytes // reader.bands)
                continue
            if apart is None:
                raise RuntimeError("a band goes aside that was to go into the record")
            self._spans.append(apart[at].data.cast("B"))
            if plane is not None:
                self.coarse.append((apart[at], plane))
        only = self._spans[0] if len(self._spans) == 1 else None
        self._only = only if isinstance(only, slice) else None
        aside_all = [span for span in self._spans if not isinstance(span, slice)]
        self.fixed = aside_all if len(aside_all) == len(self._spans) else None
        """The memory that its bands are read into, if none of it is in the record."""

    def _add(self, start: int, end: int) -> None:
        """A span of the record, together with the one before it if they meet."""
        last = self._spans[-1] if self._spans else None
        if isinstance(last, slice) and last.stop == start:
            self._spans[-1] = slice(last.start, end)
        else:
            self._spans.append(slice(start, end))

    def buffers(self, record: memoryview) -> list[memoryview]:
        """The memory that its bands are read into, one after the other."""
        if self._only is not None:
            return [record[self._only]]
        return [record[to] if isinstance(to, slice) else to for to in self._spans]

    def resample(self, record: memoryview, method: str) -> None:
        """Fill the planes of the bands that were read aside."""
        for coarse, (start, shape) in self.coarse:
            plane = np.frombuffer(record, coarse.dtype, shape[0] * shape[1], start)
            resample_into(coarse, plane.reshape(shape), method)

    def stored(self, pixels: Array) -> Iterator[tuple[int, Array]]:
        """(number in the record, pixels) of the bands that are stored, of all in the file."""
        return ((number, pixels[at]) for at, number in self.kept)
