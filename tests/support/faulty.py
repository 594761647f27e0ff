"""Files that fail, are read in short pieces, or are slow: by a library that is preloaded."""

import os

from tests.support.preloaded import built


def faulty(
    calls: str, path: str = "", *, error: int = 0, skip: int = 0, wait: int = 0
) -> dict[str, str]:
    """An environment for a process in which such calls on such files go wrong.

    Args:
        calls: of read, write, sync, lock, open, time.
        path: text in the path of the files that are meant; all files by default.
        error: the errno that the calls give; 0 makes reads and writes short.
        skip: how many of them go well before, for each thread.
        wait: microseconds that each waits, without going wrong.
    """
    return os.environ | {
        "LD_PRELOAD": str(built("faulty", "faults of a disk are made")),
        "FAULT_CALLS": calls,
        "FAULT_PATH": path,
        "FAULT_ERRNO": str(error),
        "FAULT_SKIP": str(skip),
        "FAULT_WAIT": str(wait),
    }
