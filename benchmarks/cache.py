"""The page cache: dropping files from it, and how much of them is in it."""

import ctypes
import mmap
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.tree import warm

PAGE = mmap.PAGESIZE


def files_of(paths: Iterable[Path]) -> Iterator[Path]:
    """List files, and those below folders."""
    for path in paths:
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in found if file.is_file() and file.stat().st_size)


def load(paths: Iterable[Path]) -> None:
    """Bring files into the page cache."""
    for path in paths:
        warm(path)


def drop(paths: Iterable[Path]) -> None:
    """Drop files from the page cache. Pages that are not yet on the disk, or mapped, would stay."""
    for file in files_of(paths):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def resident(paths: Iterable[Path]) -> float:
    """Give the share of the files' pages that are in the page cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    inside, pages = 0, 0
    for file in files_of(paths):
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as map_:
            count = -(-len(map_) // PAGE)
            states = np.zeros(count, np.uint8)
            bytes_ = np.frombuffer(map_, np.uint8)
            failed = libc.mincore(bytes_.ctypes.data, len(map_), states.ctypes.data)
            del bytes_  # or the map could not be closed
        if failed:
            raise OSError(ctypes.get_errno(), f"mincore of {file}")
        inside += int((states & 1).sum())
        pages += count
    return inside / max(pages, 1)
