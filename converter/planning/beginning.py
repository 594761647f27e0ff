"""The beginning of archives, read to estimate how many patches they have in all."""

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

from patchpress.converter.sources.archives import ArchiveStream
from patchpress.converter.sources.patch import Patch

BEGINNING = 64 << 20  # bytes of archives, compressed, that are read if no table names their patches
STRETCH = BEGINNING // 4  # bytes of archives that tell how many patches the others have
SETTLED = 0.05  # seconds in which a thread that reads ahead reads something, if it can


class PatchVisitor(Protocol):
    """Who is given the patches at the beginning of archives, and says how many are enough."""

    def add(self, patch: Patch) -> None:
        """Take the next patch."""

    def has_enough(self, consumed: int) -> bool:
        """Whether no more patches are needed after `consumed` bytes of the archives."""


@dataclass(frozen=True, slots=True)
class BeginningEstimate:
    """What the beginning of the archives of some modalities tells about all of them."""

    counts: Mapping[str, float]
    """Modality -> how many patches all of the archives have; empty if the beginning cannot tell."""
    is_whole: bool
    """Whether the archives were read to their end, so that the counts are exact."""
    seconds_per_byte: float
    """Time that a byte of the archives takes, as they lie on the disk."""


@dataclass(frozen=True)
class _Mark:
    """How far archives have been read, and which patches had come by then."""

    consumed: int = 0
    come: Counter[str] = field(default_factory=Counter)


def read_beginning(
    stream: ArchiveStream, visitor: PatchVisitor, seconds: float
) -> BeginningEstimate:
    """Read archives from their beginning, until `visitor` has enough or `seconds` have passed.

    If little is left after that, archives are read to their end, so that nothing is estimated.

    Raises:
        SourceError: the archives are damaged there, or of another data set.
    """
    begun, size = time.monotonic(), stream.size
    come, start = Counter[str](), _Mark()
    is_whole = False
    with closing(iter(stream)) as patches:
        for patch in patches:
            come[patch.modality] += 1
            visitor.add(patch)
            consumed = stream.consumed
            if not start.consumed and consumed > STRETCH:
                start = _Mark(_consumed_when_settled(stream), come.copy())
            is_late = time.monotonic() - begun > seconds and consumed < size
            if is_late or (visitor.has_enough(consumed) and size - consumed > STRETCH):
                break
        else:
            is_whole = True
        took = time.monotonic() - begun
        end = _Mark(_consumed_when_settled(stream) if start.consumed else stream.consumed, come)
    seconds_per_byte = took / max(end.consumed, 1)
    names = [modality.name for modality in stream.modalities]
    if is_whole:
        return BeginningEstimate({name: come[name] for name in names}, True, seconds_per_byte)
    if end.consumed - start.consumed < STRETCH:
        start = _Mark()
    return BeginningEstimate(_extrapolated(names, start, end, size), False, seconds_per_byte)


def _extrapolated(names: list[str], start: _Mark, end: _Mark, size: int) -> dict[str, float]:
    """How many patches `size` bytes have if all bytes are like those from `start` to `end`.

    Empty if a modality did not come: then modalities seem to lie one after the other, and the
    first of them says nothing about the others.
    """
    stretch = end.consumed - start.consumed
    counts = {name: (end.come[name] - start.come[name]) * size / stretch for name in names}
    return counts if all(counts.values()) else {}


def _consumed_when_settled(stream: ArchiveStream) -> int:
    """How many bytes of the archives are read, after waiting until no more can be read ahead.

    Bytes that are read ahead belong to patches that have not come yet. Their number varies while
    patches come, but it is always the same after this wait. So between two such waits, the bytes
    read are as many as the patches take that came between.
    """
    consumed = -1
    while consumed != stream.consumed:
        consumed = stream.consumed
        time.sleep(SETTLED)
    return consumed
