"""The page cache: dropping files from it, and asking what share of them is in it."""

import ctypes
import mmap
import os
from pathlib import Path

import numpy as np

PAGE = mmap.PAGESIZE


def files_of(path: Path) -> list[Path]:
    """List a file, or all files below a folder; none that is empty."""
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [file for file in found if file.is_file() and file.stat().st_size]


def drop(path: Path) -> None:
    """Drop a file, or all files below a folder, from the page cache.

    The kernel keeps pages that are mapped, and those that are not on the disk yet: fsync first.
    """
    for file in files_of(path):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def resident(path: Path) -> float:
    """Give the share of the pages of a file, or of all files of a folder, in the page cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    inside, pages = 0, 0
    for file in files_of(path):
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
