"""`Watch`: whether data files are still those that were opened.

A store is replaced by renaming, which leaves an open file as it is. A copy onto the same files does
not: then positions lead to the pixels of other records. And a file that becomes shorter under a map
ends the process as soon as what is lost is touched (SIGBUS), so that nobody may look at the map
before this has looked at the size. What cannot be told in time is a file that is cut while a batch
is copied.
"""

import os
from collections.abc import Sequence

from patchpress.readers.access.files import DataFile
from patchpress.readers.errors import StoreDamaged, StoreError
from patchpress.readers.format.btree import Tree


class Watch:
    """Data files as they were when this was made."""

    def __init__(self, files: Sequence[DataFile]) -> None:
        self._files = files
        self._descriptors = [file.descriptor for file in files]
        self._seen = [_seen(file.descriptor) for file in files]
        self._identities = [_identity(file) for file in files]

    def check(self) -> None:
        """Make sure that nothing has written to the files; costs less than 1 us a file.

        A file that has another time but the same content, as after `touch`, is the same file.

        Raises:
            StoreDamaged: a file has become shorter, or another one.
        """
        # Once a batch or record, so without a call that is not needed.
        if [_seen(descriptor) for descriptor in self._descriptors] != self._seen:
            self._look_closer()

    def _look_closer(self) -> None:
        for index, file in enumerate(self._files):
            seen = _seen(file.descriptor)
            if seen == self._seen[index]:
                continue
            if seen[0] < file.size:
                raise file.cut(seen[0])
            if _identity(file) != self._identities[index]:
                raise StoreDamaged(
                    f"{file.path} was overwritten since it was opened: open the store again"
                )
            self._seen[index] = seen


def _seen(descriptor: int) -> tuple[int, int]:
    """(size, when it was written last, in nanoseconds) of an open file."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns


def _identity(file: DataFile) -> str | None:
    """What tells a data file from others; None if its pages are damaged."""
    try:
        return Tree(file.pages, file.path).identity()
    except StoreError:
        return None
