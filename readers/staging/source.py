"""`ShardSource`: from where data files are copied; and `LocalSource`, the folder of a store."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from patchpress.readers.access.files import DataFile, open_file
from patchpress.readers.errors import StoreDamaged, StoreError, cannot_read
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.store_files import open_regular, require_inside

BLOCK = 1 << 20
"""Bytes of one copy: they stay in a processor's cache, and larger ones are not faster."""
AHEAD = 16 << 20
"""Bytes that the kernel is told to fetch before they are copied."""


class ShardSource(Protocol):
    """Where the data files of one store come from. Can be pickled, and used by several threads."""

    @property
    def name(self) -> str:
        """What people call the place, without credentials. Equal for one place, never for two."""
        ...

    def identity(self, path: str) -> str:
        """What `Tree.identity` says of a data file, from a few of its bytes.

        Args:
            path: of the data file in the store, as the manifest has it.

        Raises:
            StoreError: it cannot be read, or is no data file.
        """
        ...

    def copy_to(
        self, path: str, size: int, target: int, progress: Callable[[int], None] | None = None
    ) -> None:
        """Write a whole data file into an open file, from its beginning.

        Args:
            path: of the data file in the store, as the manifest has it.
            size: its bytes, as the manifest has them.
            target: descriptor of the file, which is empty or has `size` bytes of no value.
            progress: told of the bytes of each piece. What it raises ends the copy.

        Raises:
            StoreError: the data file cannot be read, or has another size.
            OSError: the target cannot be written.
        """
        ...


class LocalSource:
    """The folder of a store, on a disk of this machine or of the network."""

    def __init__(self, store: Path) -> None:
        self._store = store

    @property
    def name(self) -> str:
        """The path of the folder, without links."""
        return os.path.realpath(self._store)

    def identity(self, path: str) -> str:
        """What `Tree.identity` says of a data file.

        Raises:
            StoreError: as `ShardSource.identity`.
        """
        file = self._open(path)
        return Tree(file.pages, file.path).identity()

    def copy_to(
        self, path: str, size: int, target: int, progress: Callable[[int], None] | None = None
    ) -> None:
        """Copy a data file in its order, as `ShardSource.copy_to` says."""
        name = require_inside(self._store, path)
        try:
            descriptor = open_regular(name)
        except OSError as error:
            raise cannot_read(name, error) from None
        file = DataFile(name, descriptor, readahead=True)
        before = os.fstat(descriptor)
        if before.st_size != size:
            raise _changed(name)
        _advise(descriptor, "POSIX_FADV_SEQUENTIAL")
        block = memoryview(bytearray(min(BLOCK, size)))
        for offset in range(0, size, BLOCK):
            if offset % AHEAD == 0:
                file.announce(offset, 2 * AHEAD)
            piece = block[: min(BLOCK, size - offset)]
            file.read_into([piece], offset, len(piece))
            _write(target, piece, offset)
            if progress is not None:
                progress(len(piece))
        after = os.fstat(descriptor)
        if (after.st_size, after.st_mtime_ns) != (size, before.st_mtime_ns):
            raise _changed(name)
        # It is read from the copy from now on: the page cache has better use for its memory.
        _advise(descriptor, "POSIX_FADV_DONTNEED")

    def _open(self, path: str) -> DataFile:
        return open_file(require_inside(self._store, path))


def _changed(path: Path) -> StoreError:
    return StoreDamaged(f"{path} was overwritten since it was opened: open the store again")


def _advise(descriptor: int, advice: str) -> None:
    if hasattr(os, advice):  # macOS and Windows have no such advice
        os.posix_fadvise(descriptor, 0, 0, getattr(os, advice))


def _write(target: int, piece: memoryview, offset: int) -> None:
    written = 0
    while written < len(piece):
        written += os.pwrite(target, piece[written:], offset + written)
