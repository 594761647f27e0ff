"""The records of a data file by its own pages, without LMDB."""

from collections.abc import Iterator
from pathlib import Path

from patchpress.readers.access.files import open_file
from patchpress.readers.access.scan import Scan


def values_in(path: Path, found: Scan) -> Iterator[tuple[bytes, memoryview]]:
    """Each key of a data file and its value, in the order of the keys, as `found` has them.

    Each is read from the file: under a map, a disk that fails would end the process.

    Raises:
        StoreDamaged: the disk does not give a value.
    """
    data = open_file(path, readahead=True).pages
    records = zip(found.keys.tolist(), found.offset.tolist(), found.length.tolist(), strict=True)
    for key, offset, length in records:
        yield key, data[offset : offset + length]
