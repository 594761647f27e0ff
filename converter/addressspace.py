"""Little address space (`ulimit -v`): what a command then does without, and what it must have.

A library that cannot have memory in a thread of its own ends the whole process, without a sentence:
C++ knows no other way. So the command takes less (`spare_address_space`), and asks before its work
begins whether enough is left (`require_address_space`).
"""

import os
import resource
from pathlib import Path

from patchpress.converter.allocation import ARENA_MAX, set_malloc
from patchpress.readers.errors import PatchpressError

TO_BEGIN = 550 << 20
"""Bytes of address space that a command needs when it begins: a small conversion in one process
takes 440 MB in all."""
TO_WORK = 300 << 20
"""Bytes of it that are left to a process that has its shared memory and its workers: pyarrow with
its threads takes 160 MB, tables and patches the rest."""

_SPARING = {
    "ARROW_IO_THREADS": "2",
    "OMP_NUM_THREADS": "2",  # pyarrow has as many threads; else one a CPU
}
_OWN_SIZE = Path("/proc/self/statm")  # in pages; the address space comes first


def spare_address_space() -> None:
    """Let libraries that are not loaded yet take little address space, if that is limited.

    Else each thread has 64 MB of it to allocate from, and pyarrow has many.
    """
    if _most() is None:
        return
    for name, value in _SPARING.items():
        os.environ.setdefault(name, value)
    set_malloc(ARENA_MAX, 1)


def require_address_space(nbytes: int) -> None:
    """Refuse to go on if a limit leaves less address space than this.

    Raises:
        PatchpressError: how much there may be, and how much is needed.
    """
    most = _most()
    if most is None:
        return
    needed = _taken() + nbytes
    if needed > most:
        raise PatchpressError(
            f"this process may have {most >> 20:,} MiB of address space, and needs "
            f"{needed >> 20:,} MiB at least: raise the limit (`ulimit -v`), or give fewer "
            "--workers, and run the same command again"
        )


def is_address_space_limited() -> bool:
    """Whether this process may have so much address space and no more."""
    return _most() is not None


def _most() -> int | None:
    """The bytes of address space that this process may have; None if they are not limited."""
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def _taken() -> int:
    """The bytes of address space that this process has; 0 if the system does not tell."""
    try:
        return int(_OWN_SIZE.read_bytes().split()[0]) * resource.getpagesize()
    except OSError:
        return 0
