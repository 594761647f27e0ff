"""Folders for one task each, on the disk of a worker; those of workers that died are removed."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "patchpress-task-"
_NEW = "patchpress-new-task-"
"""The name until the lock is held: another task, maybe of a thread beside us, leaves it alone."""
_LOCK = "task.lock"


@contextmanager
def scratch_folder(scratch: Path) -> Iterator[Path]:
    """A new, empty folder in `scratch`; it is removed at the end, whatever is in it.

    Raises:
        OSError: it cannot be made.
    """
    _remove_dead(scratch)
    outer = Path(tempfile.mkdtemp(prefix=_NEW, dir=scratch))
    lock = os.open(outer / _LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with suppress(OSError):  # without locks nobody removes it for us
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            outer = outer.rename(scratch / (_PREFIX + outer.name.removeprefix(_NEW)))
        inner = outer / "task"
        inner.mkdir()
        yield inner
    finally:
        shutil.rmtree(outer, ignore_errors=True)
        os.close(lock)


def _remove_dead(scratch: Path) -> None:
    """Remove the folders of tasks whose process was killed: their locks ended with it."""
    for folder in scratch.glob(f"{_PREFIX}*"):
        try:
            lock = os.open(folder / _LOCK, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # just made, or just removed
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
        finally:
            os.close(lock)
