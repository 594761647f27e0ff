"""How the command's process takes memory: large blocks go back to the system when they are freed.

The C library keeps what is freed for later. Tables of a large data set are made anew several times
while they are joined, so it would keep as much again as they have.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # malloc.h of glibc
_LARGE = 1 << 20
"""Bytes of a block that goes back: a column of a large table has tens of millions."""
# What glibc comes to by itself as blocks are freed; once it is told a number, it stays there.
_USUAL_MMAP, _USUAL_TRIM = 32 << 20, 64 << 20

_is_command = False
_depth = 0
"""How many `large_blocks_given_back` are under way, one in the other."""


def note_command() -> None:
    """Say that this process is the command: in another program nothing is set."""
    global _is_command
    _is_command = True


@contextmanager
def large_blocks_given_back() -> Iterator[None]:
    """Give large blocks back as soon as they are freed, meanwhile; each costs new pages then.

    One may lie in another: it lasts until the outer one ends.
    """
    global _depth
    if not _is_command:
        yield
        return
    _depth += 1
    set_malloc(_MMAP_THRESHOLD, _LARGE)
    try:
        yield
    finally:
        _depth -= 1
        if not _depth:
            set_malloc(_MMAP_THRESHOLD, _USUAL_MMAP)
            set_malloc(_TRIM_THRESHOLD, _USUAL_TRIM)


def set_malloc(parameter: int, value: int) -> None:
    """Tell the C library how to take memory; nothing happens if it is none but glibc."""
    if sys.platform != "linux":
        return
    import ctypes  # not at the start of every command

    with suppress(AttributeError):  # another C library has no such function
        ctypes.CDLL(None).mallopt(parameter, value)
