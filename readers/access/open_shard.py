"""`OpenShard`: one data file of a store while it is open, and whether it is still the same.

A store is replaced by renaming, which leaves an open file as it is. A copy onto the same files does
not: then positions lead to the pixels of other records. And a file that becomes shorter under a map
ends the process as soon as what is lost is touched (SIGBUS), so that nobody may look at the map
before `OpenShard.check` has looked at the size. What cannot be told in time is a file that is cut
while a batch is copied.
"""

import os
from functools import cached_property
from pathlib import Path
from time import monotonic

from patchpress.readers.access.files import DataFile
from patchpress.readers.errors import StoreDamaged, StoreError
from patchpress.readers.format.btree import Tree

TRUSTED = 0.01
"""Seconds for which the time of a shard is not looked at again, only its size. A batch has records
of many shards: to ask for the time of each would take some hundredths of its time."""


class OpenShard:
    """One data file while it is open."""

    def __init__(self, file: DataFile, *, trusted: float = 0) -> None:
        """Take a file as it is now, of which the time is trusted for so many seconds."""
        self.file = file
        self.used = monotonic()
        """When it was used last."""
        self._descriptor, self._size = file.descriptor, file.size
        self._trusted, self._trusted_until = trusted, 0.0
        status = os.fstat(file.descriptor)
        self.inode = status.st_dev, status.st_ino
        self.seen = status.st_size, status.st_mtime_ns
        """Its size, and when it was written last, in nanoseconds."""

    @cached_property
    def identity(self) -> str | None:
        """What tells its content from any other, as `Tree.identity`; None if it is damaged."""
        try:
            return Tree(self.file.pages, self.file.path).identity()
        except StoreError:
            return None

    @cached_property
    def tree(self) -> Tree:
        """Its records by key.

        Raises:
            StoreDamaged: it has no whole tree.
        """
        tree = Tree(self.file.pages, self.file.path)
        tree.require_whole()
        return tree

    def check(self) -> None:
        """Make sure that nothing has written to the file; costs about 1 us.

        A file that has another time but the same content, as after `touch`, is the same file.

        Raises:
            StoreDamaged: it has become shorter, or another one.
        """
        # Once a batch or record, so without a call that is not needed.
        self.used = now = monotonic()
        if now < self._trusted_until:
            size = os.lseek(self._descriptor, 0, os.SEEK_END)  # a fifth of what fstat takes
            if size == self._size:
                return
        status = os.fstat(self._descriptor)
        if (status.st_size, status.st_mtime_ns) != self.seen:
            self._look_closer(status)
        self._trusted_until = now + self._trusted

    def check_again(self) -> None:
        """The same, its time, too, however short ago that was.

        Raises:
            StoreDamaged: as `check`.
        """
        self._trusted_until = 0.0
        self.check()

    def _look_closer(self, status: os.stat_result) -> None:
        if status.st_size < self.file.size:
            raise self.file.cut(status.st_size)
        if OpenShard(self.file).identity != self.identity:
            raise overwritten(self.file.path)
        self.seen = status.st_size, status.st_mtime_ns


def overwritten(path: Path) -> StoreDamaged:
    """The error for a file that has another content than when it was opened."""
    return StoreDamaged(f"{path} was overwritten since it was opened: open the store again")
