"""Data files, opened once a process: a descriptor to read at an offset, a map to copy from.

Two kinds of calls that make reading faster are not there on every system: advice to the kernel,
which is left out then, and `preadv`, instead of which bytes are copied from the map.
"""

import mmap
import os
import stat
import sys
import threading
import weakref
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.advice import announce_bytes, fetched_at_once
from patchpress.readers.errors import StoreDamaged, StoreMissing, cannot_read
from patchpress.readers.format.metapages import Bytes
from patchpress.readers.format.store_files import irregular, open_regular

UNTRACKED: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
"""A map need not keep a descriptor of its own, as it does in older versions of Python."""
_files: "weakref.WeakValueDictionary[tuple[int, int, int, bool], DataFile]" = (
    weakref.WeakValueDictionary()
)
_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _fresh_lock())


class ReadsFile(Protocol):
    """What whoever reads all of a data file asks of it, wherever it lies."""

    @property
    def path(self) -> Any:
        """What messages call it."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def pages(self) -> Bytes:
        """All of them, read slice by slice."""
        ...

    def announce(self, offset: int, length: int) -> None:
        """Let bytes come in the background."""
        ...

    def read_into(self, buffers: list[Any], offset: int, length: int) -> None:
        """Fill buffers, one after the other, with `length` bytes in all."""
        ...


class DataFile:
    """One data file that does not change; safe in threads and after a fork."""

    def __init__(self, path: Path, descriptor: int, *, readahead: bool) -> None:
        """Take an open file, and close it when nothing refers to this any more."""
        self._close = weakref.finalize(self, os.close, descriptor)
        self.path, self.descriptor, self.readahead = path, descriptor, readahead
        self.size = os.fstat(descriptor).st_size
        if not readahead and hasattr(os, "posix_fadvise"):
            # Random reads: what the kernel would fetch beyond them is never asked for.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)

    @cached_property
    def map(self) -> npt.NDArray[np.uint8]:
        """All bytes, read-only. An array on it keeps the mapping, whatever becomes of the file.

        Raises:
            StoreUnreadable: there are no file descriptors left, of which a map takes one.
        """
        try:
            mapped = mmap.mmap(self.descriptor, self.size, access=mmap.ACCESS_READ, **UNTRACKED)
        except OSError as error:
            raise cannot_read(self.path, error) from None
        if not self.readahead and hasattr(mmap, "MADV_RANDOM"):
            mapped.madvise(mmap.MADV_RANDOM)
        return np.frombuffer(mapped, np.uint8)

    @cached_property
    def bytes(self) -> memoryview:
        """The same as a memoryview, which is cheaper to slice."""
        return self.map.data

    @property
    def pages(self) -> "FileBytes | memoryview":
        """The same, read from the file slice by slice: a disk that fails is an error here.

        Under a map it ends the process (SIGBUS), and so does a file that becomes shorter.
        """
        return FileBytes(self) if hasattr(os, "pread") else self.bytes  # Windows has no pread

    def announce(self, offset: int, length: int) -> None:
        """Let the kernel fetch bytes in the background."""
        announce_bytes(self.descriptor, offset, length, self.announced_at_once)

    @cached_property
    def announced_at_once(self) -> int:
        """Bytes of which the kernel fetches all if they are announced by one call."""
        return fetched_at_once(os.fstat(self.descriptor).st_dev)

    def read_into(self, buffers: list[Any], offset: int, length: int) -> None:
        """Fill buffers, one after the other, with `length` bytes in all.

        Raises:
            StoreDamaged: the file ends before, or its disk does not give it.
        """
        try:
            got = os.preadv(self.descriptor, buffers, offset)
        except AttributeError:  # Windows, and macOS before 11
            self._copy_into(buffers, offset, length)
            return
        except OSError as error:
            raise self.unreadable(error) from None
        if got != length:
            self._read_rest(buffers, offset, got)

    def cut(self, end: int) -> StoreDamaged:
        """The error for a file that has become shorter than it was when it was opened."""
        return StoreDamaged(
            f"{self.path} ended at {end:,} of {self.size:,} bytes: it was cut since it was opened, "
            "so copy the store again"
        )

    def unreadable(self, error: OSError) -> StoreDamaged:
        """The error for a file that the system does not let us read any more."""
        return StoreDamaged(
            f"{self.path} cannot be read ({error.strerror}): check its disk, or copy the store "
            "again"
        )

    def _read_rest(self, buffers: list[Any], offset: int, got: int) -> None:
        """Read the rest of what a request did not give: after a signal, or from a network disk."""
        start = 0
        for buffer in buffers:
            view = memoryview(buffer).cast("B")
            while start + len(view) > got:
                filled = max(got - start, 0)
                try:
                    more = os.preadv(self.descriptor, [view[filled:]], offset + start + filled)
                except OSError as error:
                    raise self.unreadable(error) from None
                if not more:
                    raise self.cut(offset + start + filled)
                got += more
            start += len(view)

    def _copy_into(self, buffers: list[Any], offset: int, length: int) -> None:
        """Fill buffers from the map."""
        if os.fstat(self.descriptor).st_size < offset + length:
            raise self.cut(os.fstat(self.descriptor).st_size)
        for buffer in buffers:
            view = memoryview(buffer).cast("B")
            view[:] = self.bytes[offset : offset + len(view)]
            offset += len(view)


class FileBytes:
    """The bytes of a data file, which this keeps open; slices are read when they are asked for."""

    def __init__(self, file: DataFile) -> None:
        self._file = file
        self._descriptor, self._size = file.descriptor, file.size

    def __len__(self) -> int:
        return self._size

    def announce(self, offset: int, length: int) -> None:
        """Let the kernel fetch bytes in the background."""
        self._file.announce(offset, length)

    def __getitem__(self, part: slice) -> memoryview:
        """Some bytes.

        Raises:
            StoreDamaged: the file has become shorter, or its disk does not give them.
        """
        start, stop, _ = part.indices(self._size)
        wanted = max(stop - start, 0)
        try:
            data = os.pread(self._descriptor, wanted, start)
            while len(data) < wanted:  # after a signal, or from a network disk
                more = os.pread(self._descriptor, wanted - len(data), start + len(data))
                if not more:
                    raise self._file.cut(start + len(data))
                data += more
        except OSError as error:
            raise self._file.unreadable(error) from None
        return memoryview(data)


def open_file(path: Path, *, readahead: bool = False) -> DataFile:
    """The process's one handle on a data file.

    Raises:
        StoreMissing: there is no such file.
        StoreUnreadable: there are no file descriptors left.
        StoreDamaged: it is no regular file, or cannot be read for another reason.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise irregular(path, status.st_mode)
        key = (status.st_dev, status.st_ino, status.st_size, readahead)
        with _lock:
            file = _files.get(key)
            if file is None:
                file = DataFile(path, open_regular(path), readahead=readahead)
                _files[key] = file
        return file
    except FileNotFoundError:
        raise StoreMissing(
            f"there is no {path.name} in {path.parent}: put it back, or copy the store again"
        ) from None
    except OSError as error:
        raise cannot_read(path, error) from None


def _fresh_lock() -> None:
    """A thread that held the lock at a fork is not there to release it in the child."""
    global _lock
    _lock = threading.Lock()
