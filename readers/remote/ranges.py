"""Which bytes of a file are requested together."""

from collections.abc import Iterable
from typing import NamedTuple

GAP = 128 << 10
"""Bytes between two wanted ranges that are read, too, rather than requested around: at some 30 MB/s
a connection they cost 4 ms, a fifth of what a request costs before its first byte."""
LARGEST = 4 << 20
"""Bytes of a request to which no neighbour is added: more requests at once are faster then."""


class Wanted(NamedTuple):
    """Bytes of one record."""

    file: int
    """Number of its data file."""
    start: int
    end: int
    row: int
    """Which record of the batch."""


class Together(NamedTuple):
    """Ranges that one request gets."""

    file: int
    start: int
    end: int
    ranges: tuple[Wanted, ...]


def together(wanted: Iterable[Wanted]) -> list[Together]:
    """The requests for some ranges, neighbours together."""
    groups: list[list[Wanted]] = []
    end = 0
    for one in sorted(wanted):
        last = groups[-1] if groups else None
        if (
            last
            and last[0].file == one.file
            and one.start - end <= GAP
            and max(end, one.end) - last[0].start <= LARGEST
        ):
            last.append(one)
            end = max(end, one.end)
        else:
            groups.append([one])
            end = one.end
    return [
        Together(group[0].file, group[0].start, max(one.end for one in group), tuple(group))
        for group in groups
    ]
