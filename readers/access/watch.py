"""`Watch`: whether data files are still those that were opened.

A store is replaced by renaming, which leaves an open file as it is. A copy onto the same files does
not: then positions lead to the pixels of other records.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

from patchpress.readers.access.files import DataFile
from patchpress.readers.errors import StoreDamaged, StoreError
from patchpress.readers.format.btree import Tree


class _Seen(NamedTuple):
    """What the system says of an open file."""

    size: int
    changed: int
    """When it was written last, in nanoseconds."""


class Watch:
    """Data files as they were when this was made."""

    def __init__(self, files: Sequence[DataFile]) -> None:
        self._files = files
        self._seen = [_seen(file) for file in files]
        self._identities = [_identity(file) for file in files]

    def check(self) -> None:
        """Make sure that nothing has written to the files; costs some 2 us a file.

        A file that has another time but the same content, as after `touch`, is the same file.

        Raises:
            StoreDamaged: a file has become shorter, or another one.
        """
        for index, file in enumerate(self._files):
            seen = _seen(file)
            if seen == self._seen[index]:
                continue
            if seen.size < file.size:
                raise file.cut(seen.size)
            if _identity(file) != self._identities[index]:
                raise StoreDamaged(
                    f"{file.path} was overwritten since it was opened: open the store again"
                )
            self._seen[index] = seen


def _seen(file: DataFile) -> _Seen:
    status = os.fstat(file.descriptor)
    return _Seen(status.st_size, status.st_mtime_ns)


def _identity(file: DataFile) -> str | None:
    """What tells a data file from others; None if its pages are damaged."""
    try:
        return Tree(file.bytes, file.path).identity()
    except StoreError:
        return None
