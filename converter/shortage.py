"""What the system has too little of, when it refuses memory, threads or open files."""

import errno
import re

from patchpress.readers.errors import NO_DESCRIPTORS

_MEMORY = (errno.ENOMEM, errno.EAGAIN)
# How libraries and the loader of libraries say the same, in errors of any class.
_NO_MEMORY = re.compile(
    "failed to map segment|cannot allocate memory|can't start new thread|std::bad_alloc"
    "|failed to launch worker thread|malloc of size",
    re.IGNORECASE,
)
_NO_FILES = re.compile("too many open files", re.IGNORECASE)


def shortage(error: BaseException) -> str:
    """The sentence about what is short; empty if the error is about something else."""
    number, text = getattr(error, "errno", None), str(error)
    if number in NO_DESCRIPTORS or _NO_FILES.search(text):
        return (
            "this process has no file descriptors left: raise their number (`ulimit -n`), or give "
            "fewer --workers, and run the same command again"
        )
    if isinstance(error, MemoryError) or number in _MEMORY or _NO_MEMORY.search(text):
        return (
            "there is not enough memory, or there are too many threads: raise the limits "
            "(`ulimit -v`, `ulimit -u`), give fewer --workers, and run the same command again"
        )
    return ""
