"""`Plan`: how the wanted bands get from a record into an array, worked out once a header."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, product
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from patchpress.readers.format.modality import Modality
from patchpress.readers.format.stack import repeat_into

Array = npt.NDArray[Any]
Parts = Sequence[tuple[int, int]]
"""First byte and end of each part of a record."""
BUFFERS = 1_000  # that one preadv may fill; the kernel takes 1,024 (IOV_MAX)


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes that lie together in the record and in the array, so that one copy takes them."""

    record_offset: int
    array_offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class CoarseBands:
    """Bands whose pixels are repeated onto the finest grid.

    They have one size, and lie one after the other in the record and in the array.
    """

    record_offset: int
    nbytes: int
    """Of all of them."""
    shape: tuple[int, int]
    """(height, width) of each."""
    first: int
    """Which band of the array the first of them becomes, counted over all its steps."""
    count: int = 1


class Group(NamedTuple):
    """Coarse bands of one size, which lie together in the scratch buffer."""

    offset: int
    """The first byte there."""
    nbytes: int
    shape: tuple[int, int]
    """(height, width) of each."""
    targets: tuple[tuple[slice, slice], ...]
    """Which of these bands become which bands of the array."""


class Part(NamedTuple):
    """Bytes of one request, and into which memory they are read."""

    in_array: bool
    """Into the array if true, else into the scratch buffer."""
    offset: int
    """The first byte there."""
    nbytes: int


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes that lie together in the record, read from the file at once."""

    record_offset: int
    nbytes: int
    parts: tuple[Part, ...]
    """Where they go, in the record's order; together `nbytes`."""


@dataclass(frozen=True)
class Plan:
    """Where the wanted bands lie in all records that begin with one header."""

    modality: Modality
    header: bytes
    size: int
    """Bytes of a whole uncompressed record."""
    shape: tuple[int, ...]
    """(bands, height, width) of the array, or (steps, bands, height, width)."""
    dtype: np.dtype[Any]
    runs: tuple[Run, ...]
    coarse: tuple[CoarseBands, ...]

    @cached_property
    def nbytes(self) -> int:
        """Bytes of one patch in the array."""
        return prod(self.shape) * self.dtype.itemsize

    @cached_property
    def copies(self) -> tuple[tuple[int, int, int, int], ...]:
        """The runs as (first byte in the record, end, first byte in the array, end).

        Plain tuples: the loops over the patches of a batch unpack them fastest.
        """
        return tuple(
            (
                run.record_offset,
                run.record_offset + run.nbytes,
                run.array_offset,
                run.array_offset + run.nbytes,
            )
            for run in self.runs
        )

    @cached_property
    def parts(self) -> Parts | None:
        """First byte and end of what is needed of a record: its header, and the wanted bands.

        None if that is all of it.
        """
        parts = [(0, len(self.header)), *((start, end) for start, end, _, _ in self.copies)]
        parts += [(band.record_offset, band.record_offset + band.nbytes) for band in self.coarse]
        return None if sum(end - start for start, end in parts) == self.size else tuple(parts)

    @cached_property
    def requests(self) -> tuple[Request, ...]:
        """The fewest requests that read the wanted bands, and nothing twice.

        A request that begins at the first pixel reads the header, too: it lies just before, so it
        costs nothing, and it shows whether the record is the expected one. The header goes to the
        start of the scratch buffer, the coarse bands follow it there.
        """
        wanted = [(run.record_offset, Part(True, run.array_offset, run.nbytes))
                  for run in self.runs]  # fmt: skip
        for band, offset in zip(self._gathered, self._scratch_offsets, strict=True):
            wanted.append((band.record_offset, Part(False, offset, band.nbytes)))
        requests: list[Request] = []
        for start, part in sorted(wanted):
            last = requests[-1] if requests else None
            if start == len(self.header):
                header = Part(False, 0, start)
                requests.append(Request(0, start + part.nbytes, (header, part)))
            elif last and last.record_offset + last.nbytes == start and len(last.parts) < BUFFERS:
                nbytes = last.nbytes + part.nbytes
                requests[-1] = Request(last.record_offset, nbytes, (*last.parts, part))
            else:
                requests.append(Request(start, part.nbytes, (part,)))
        return tuple(requests)

    @cached_property
    def scratch_size(self) -> int:
        """Bytes of the scratch buffer that `requests` need."""
        return len(self.header) + sum(band.nbytes for band in self.coarse)

    @cached_property
    def _gathered(self) -> tuple[CoarseBands, ...]:
        """The coarse bands as they lie in the scratch buffer: size by size, then as in a record."""
        return tuple(sorted(self.coarse, key=lambda bands: (bands.shape, bands.record_offset)))

    @cached_property
    def _scratch_offsets(self) -> tuple[int, ...]:
        """The first byte of each of `_gathered` there; the header is before them."""
        ends = accumulate((bands.nbytes for bands in self._gathered), initial=len(self.header))
        return tuple(ends)[:-1]

    @cached_property
    def gathers(self) -> tuple[tuple[int, int, int, int], ...]:
        """The coarse bands as (first byte in the record, end, first byte in the scratch, end)."""
        found: list[tuple[int, int, int, int]] = []
        for bands, offset in zip(self._gathered, self._scratch_offsets, strict=True):
            start, target, nbytes = bands.record_offset, offset, bands.nbytes
            if found and found[-1][1] == start:
                before = found.pop()
                start, target, nbytes = before[0], before[2], nbytes + before[1] - before[0]
            found.append((start, start + nbytes, target, target + nbytes))
        return tuple(found)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The coarse bands in the scratch buffer, size by size."""
        groups: list[Group] = []
        for bands, offset in zip(self._gathered, self._scratch_offsets, strict=True):
            count, nbytes = 0, 0
            targets: tuple[tuple[slice, slice], ...] = ()
            if groups and groups[-1].shape == bands.shape:
                offset, nbytes, _, targets = groups.pop()
                count = targets[-1][0].stop
            target = (
                slice(count, count + bands.count),
                slice(bands.first, bands.first + bands.count),
            )
            groups.append(Group(offset, nbytes + bands.nbytes, bands.shape, (*targets, target)))
        return tuple(groups)

    def _repeat(self, record: memoryview, out: Array) -> None:
        height, width = self.shape[-2:]
        out = out.reshape(-1, height, width)  # of a time axis band after band, step after step
        for bands in self.coarse:
            rows, columns = bands.shape
            rows *= bands.count
            pixels = np.frombuffer(record, self.dtype, rows * columns, bands.record_offset)
            grids = out[bands.first : bands.first + bands.count]
            repeat_into(pixels.reshape(rows, columns), grids.reshape(-1, width))

    def fill(self, record: memoryview, out: Array) -> None:
        """Copy all wanted bands of a record into `out`, of the plan's shape."""
        flat = out.reshape(-1).view(np.uint8)
        for start, end, target, target_end in self.copies:
            flat[target:target_end] = np.frombuffer(record[start:end], np.uint8)
        self._repeat(record, out)


def _add(coarse: list[CoarseBands], bands: CoarseBands) -> None:
    """Add one more, which may lie after the last ones."""
    last = coarse[-1] if coarse else None
    if (
        last
        and last.shape == bands.shape
        and last.record_offset + last.nbytes == bands.record_offset
        and last.first + last.count == bands.first
    ):
        nbytes, count = last.nbytes + bands.nbytes, last.count + 1
        coarse[-1] = replace(last, nbytes=nbytes, count=count)
    else:
        coarse.append(bands)


def size_advice(plan: Plan) -> str:
    """What to do if records to be read together differ in size; empty if they should not."""
    if not plan.modality.any_size:
        return ""
    return (
        f", but patches of {plan.modality.name} differ in size in this store: convert with --size "
        "crop, pad or resize to train on them, or read them one by one"
    )


def plan_of(modality: Modality, bands: Sequence[str] | None) -> Plan:
    """The plan for some bands of a modality (all for None), in the order asked for.

    Raises:
        BandMissing: no such band.
    """
    indices = modality.indices(bands)
    form = modality.form
    _, height, width = modality.shape
    plane = height * width * modality.dtype.itemsize
    time = (modality.steps,) if modality.steps else ()
    runs: list[Run] = []
    coarse: list[CoarseBands] = []
    for position, (step, index) in enumerate(product(range(modality.steps or 1), indices)):
        band = modality.bands[index]
        start = len(form.header) + (step * len(modality.bands) + index) * plane
        target = position * plane
        if modality.layout == "native":
            tensor = form.tensor(band.name)
            if tensor is None:
                raise ValueError(f"the form has no band {band.name}")
            nbytes = tensor.nbytes // (modality.steps or 1)
            start = len(form.header) + tensor.offset + step * nbytes
            if nbytes != plane:
                _add(coarse, CoarseBands(start, nbytes, band.shape, position))
                continue
        last = runs[-1] if runs else None
        if (
            last
            and last.record_offset + last.nbytes == start
            and last.array_offset + last.nbytes == target
        ):
            runs[-1] = Run(last.record_offset, last.array_offset, last.nbytes + plane)
        else:
            runs.append(Run(start, target, plane))
    return Plan(
        modality=modality,
        header=form.header,
        size=form.size,
        shape=(*time, len(indices), height, width),
        dtype=modality.dtype,
        runs=tuple(runs),
        coarse=tuple(coarse),
    )
