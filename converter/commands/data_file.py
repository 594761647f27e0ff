"""The records of a data file by its own pages, without LMDB."""

from collections.abc import Iterator
from pathlib import Path

from patchpress.readers.access.files import open_file
from patchpress.readers.access.scan import Scan

AHEAD = 16 << 20  # bytes of values of which the disk is told before they are read


def values_in(path: Path, found: Scan) -> Iterator[tuple[bytes, memoryview]]:
    """Each key of a data file and its value, in the order of the keys, as `found` has them.

    Each is read from the file: under a map, a disk that fails would end the process. The disk is
    told some megabytes ahead of those to come: another program may have written them in any order.

    Raises:
        StoreDamaged: the disk does not give a value.
    """
    file = open_file(path, readahead=True)
    data = file.pages
    keys, offsets, lengths = found.keys.tolist(), found.offset.tolist(), found.length.tolist()
    told = ahead = 0
    for key, offset, length in zip(keys, offsets, lengths, strict=True):
        while told < len(keys) and ahead < AHEAD:
            file.announce(offsets[told], lengths[told])
            ahead += lengths[told]
            told += 1
        yield key, data[offset : offset + length]
        ahead -= length
