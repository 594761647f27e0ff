"""Data files, opened once a process: a descriptor to read at a place, a map to copy from."""

import mmap
import os
import threading
import weakref
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import StoreDamaged, StoreMissing, cannot_read

_files: "weakref.WeakValueDictionary[tuple[int, int, int, bool], DataFile]" = (
    weakref.WeakValueDictionary()
)
_lock = threading.Lock()
os.register_at_fork(after_in_child=lambda: _fresh_lock())


class DataFile:
    """One data file that does not change; safe in threads and after a fork."""

    def __init__(self, path: Path, descriptor: int, size: int, *, readahead: bool) -> None:
        self.path, self.descriptor, self.size = path, descriptor, size
        self.readahead = readahead
        if not readahead:
            # Random reads: what the kernel would fetch beyond them is never asked for.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        self._close = weakref.finalize(self, os.close, descriptor)

    @cached_property
    def map(self) -> npt.NDArray[np.uint8]:
        """All bytes, read-only. An array on it keeps the mapping, whatever becomes of the file."""
        try:
            mapped = mmap.mmap(self.descriptor, self.size, prot=mmap.PROT_READ)
        except OSError as error:  # it takes a descriptor of its own
            raise cannot_read(self.path, error) from None
        if not self.readahead:
            mapped.madvise(mmap.MADV_RANDOM)
        return np.frombuffer(mapped, np.uint8)

    @cached_property
    def bytes(self) -> memoryview:
        """The same as a memoryview, which is cheaper to slice."""
        return self.map.data

    def announce(self, offset: int, length: int) -> None:
        """Let the kernel fetch bytes in the background."""
        os.posix_fadvise(self.descriptor, offset, length, os.POSIX_FADV_WILLNEED)

    def read_into(self, buffers: list[Any], offset: int, length: int) -> None:
        """Fill buffers, one behind the other, with `length` bytes in all.

        Raises:
            StoreDamaged: the file ends before.
        """
        got = os.preadv(self.descriptor, buffers, offset)
        if got != length:
            self._read_rest(buffers, offset, length, got)

    def _read_rest(self, buffers: list[Any], offset: int, length: int, got: int) -> None:
        """Go on where a read stopped short: a signal, a network disk, or the end of the file."""
        at = 0
        for buffer in buffers:
            view = memoryview(buffer).cast("B")
            while at + len(view) > got:
                begin = max(got - at, 0)
                more = os.preadv(self.descriptor, [view[begin:]], offset + at + begin)
                if not more:
                    raise StoreDamaged(
                        f"{self.path} ended at {offset + at + begin:,} of {self.size:,} bytes: it "
                        "was cut since it was opened, so copy the store again"
                    )
                got += more
            at += len(view)


def open_file(path: Path, *, readahead: bool = False) -> DataFile:
    """The process's one handle on a data file.

    Raises:
        StoreMissing: there is no such file.
        StoreDamaged: it cannot be read.
    """
    try:
        status = path.stat()
        key = (status.st_dev, status.st_ino, status.st_size, readahead)
        with _lock:
            file = _files.get(key)
            if file is None:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                file = DataFile(path, descriptor, status.st_size, readahead=readahead)
                _files[key] = file
        return file
    except FileNotFoundError:
        raise StoreMissing(
            f"there is no {path.name} in {path.parent}: the store was moved"
        ) from None
    except OSError as error:
        raise cannot_read(path, error) from None


def _fresh_lock() -> None:
    """A thread that held the lock at a fork is not there to release it in the child."""
    global _lock
    _lock = threading.Lock()
