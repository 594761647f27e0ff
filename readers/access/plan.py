"""How the wanted bands of a modality get from a record's bytes into an array: worked out once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.format.manifest import Modality
from patchpress.readers.format.stack import repeat_into

Array = npt.NDArray[Any]
PARTS = 1_000  # buffers that one preadv fills; the kernel takes 1,024 (IOV_MAX)


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes that lie together in a record and in the array: where there, where here, how many."""

    start: int
    at: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Coarse:
    """A band that is repeated onto the grid: where in the record, its size, its place."""

    start: int
    nbytes: int
    shape: tuple[int, int]
    index: int


@dataclass(frozen=True, slots=True)
class Read:
    """Bytes of a record to be read at once, in its order.

    Each part is (True, place in the array, bytes) or (False, place in the scratch buffer, bytes).
    """

    start: int
    nbytes: int
    parts: tuple[tuple[bool, int, int], ...]


@dataclass(frozen=True)
class Plan:
    """Where the wanted bands of the records of one form lie."""

    modality: Modality
    header: bytes
    size: int
    """Bytes of a whole record."""
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    runs: tuple[Run, ...]
    coarse: tuple[Coarse, ...]

    @cached_property
    def nbytes(self) -> int:
        """Bytes of one patch in the array."""
        count, height, width = self.shape
        return count * height * width * self.dtype.itemsize

    @cached_property
    def reads(self) -> tuple[Read, ...]:
        """The least that has to be read, each stretch of the record once.

        Where a stretch begins at the first pixel, the header before it comes along, at the start of
        the scratch buffer, as it lies on the same page.
        """
        wanted = [(run.start, True, run.at, run.nbytes) for run in self.runs]
        at = len(self.header)
        for band in self.coarse:
            wanted.append((band.start, False, at, band.nbytes))
            at += band.nbytes
        reads: list[Read] = []
        for start, direct, place, nbytes in sorted(wanted):
            part = (direct, place, nbytes)
            if start == len(self.header):
                head = (False, 0, start)
                reads.append(Read(0, start + nbytes, (head, part)))
            elif (
                reads
                and reads[-1].start + reads[-1].nbytes == start
                and len(reads[-1].parts) < PARTS
            ):
                last = reads[-1]
                reads[-1] = Read(last.start, last.nbytes + nbytes, (*last.parts, part))
            else:
                reads.append(Read(start, nbytes, (part,)))
        return tuple(reads)

    @cached_property
    def scratch(self) -> int:
        """Bytes of the scratch buffer that `reads` need."""
        return len(self.header) + sum(band.nbytes for band in self.coarse)

    def expand(self, scratch: memoryview, out: Array) -> None:
        """Repeat the coarse bands in the scratch buffer into `out` (bands, height, width)."""
        at = len(self.header)
        for band in self.coarse:
            count = band.shape[0] * band.shape[1]
            pixels = np.frombuffer(scratch, self.dtype, count, at)
            repeat_into(pixels.reshape(band.shape), out[band.index])
            at += band.nbytes

    def fill(self, record: memoryview, out: Array) -> None:
        """Copy a record's wanted bands into `out` (bands, height, width), all by one copy."""
        flat = out.reshape(-1).view(np.uint8)
        for run in self.runs:
            part = record[run.start : run.start + run.nbytes]
            flat[run.at : run.at + run.nbytes] = np.frombuffer(part, np.uint8)
        self.repeat(record, out)

    def repeat(self, record: memoryview, out: Array) -> None:
        """Repeat the coarse bands of a record into `out` (bands, height, width)."""
        for band in self.coarse:
            pixels = np.frombuffer(record, self.dtype, band.shape[0] * band.shape[1], band.start)
            repeat_into(pixels.reshape(band.shape), out[band.index])


def plan_of(modality: Modality, bands: Sequence[str] | None) -> Plan:
    """The plan for some bands of a modality (all for None), in the order asked for.

    Raises:
        BandMissing: no such band.
    """
    indices = modality.indices(bands)
    form = modality.form
    _, height, width = modality.shape
    plane = height * width * modality.dtype.itemsize
    runs: list[Run] = []
    coarse: list[Coarse] = []
    for place, index in enumerate(indices):
        band = modality.bands[index]
        if modality.layout == "native":
            tensor = form.tensor(band.name)
            if tensor is None:
                raise ValueError(f"the form has no band {band.name}")
            start = len(form.header) + tensor.offset
            if tensor.nbytes != plane:
                coarse.append(Coarse(start, tensor.nbytes, band.shape, place))
                continue
        else:
            start = len(form.header) + index * plane
        last = runs[-1] if runs else None
        if last and (last.start + last.nbytes, last.at + last.nbytes) == (start, place * plane):
            runs[-1] = Run(last.start, last.at, last.nbytes + plane)
        else:
            runs.append(Run(start, place * plane, plane))
    return Plan(
        modality=modality,
        header=form.header,
        size=form.size,
        shape=(len(indices), height, width),
        dtype=modality.dtype,
        runs=tuple(runs),
        coarse=tuple(coarse),
    )
