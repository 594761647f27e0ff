"""The marker of an unfinished store or shard, and the lock on it: who has the lock may write.

Locks end with the process that has them, however it ends.
"""

import errno
import fcntl
import os
import warnings
from pathlib import Path

from patchpress.readers.errors import TargetError
from patchpress.readers.format.manifest import MARKER

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC

# Descriptors of the markers that this process has locked. A forked worker closes its copies: it may
# live a moment longer than a conversion that was killed, and must not hold the lock then.
_markers: set[int] = set()
os.register_at_fork(after_in_child=lambda: _close_markers())


def locked_marker(store: Path, *, make: bool = True) -> int:
    """The descriptor of the marker, new or as it is there, locked for this process.

    Whoever has the lock of the file that the folder names has the store. A file that another
    conversion removed after it was opened here is none: then there may be a new one. With `make`
    false it must be there.

    Raises:
        TargetError: another conversion has it.
        OSError: it cannot be made, or is a link.
    """
    while True:
        marker = open_marker(store, make=make)
        try:
            lock(marker, store)
            if is_marker_of(marker, store):
                return marker
        except BaseException:
            close_marker(marker)  # it stays there: it is another conversion's
            raise
        close_marker(marker)


def open_marker(store: Path, *, make: bool = True) -> int:
    """The descriptor of the marker, which nobody has locked here.

    Raises:
        OSError: it cannot be made, or is a link.
    """
    flags = os.O_RDWR | _NO_LINK | (os.O_CREAT if make else 0)
    marker = os.open(store / MARKER, flags, 0o644)
    _markers.add(marker)
    return marker


def is_marker_of(marker: int, store: Path) -> bool:
    """Whether an open marker is still the one that the folder has."""
    try:
        return os.path.samestat(os.fstat(marker), os.lstat(store / MARKER))
    except FileNotFoundError:
        return False


def close_marker(marker: int) -> None:
    """Close a marker, which gives its lock back."""
    _markers.discard(marker)
    os.close(marker)


def _close_markers() -> None:
    """Close the markers that a forked process inherited; the parent keeps its locks."""
    while _markers:
        os.close(_markers.pop())


def try_lock(marker: int, kind: int) -> bool | None:
    """Lock a marker if nobody else has it; gives whether it is locked, None if there are no locks.

    Raises:
        OSError: the system refuses it for another reason.
    """
    try:
        fcntl.flock(marker, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return True


def lock(marker: int, store: Path, kind: int = fcntl.LOCK_EX) -> None:
    """Lock the marker of a store, or warn if its file system has no locks.

    Raises:
        TargetError: another conversion has it.
        OSError: the system refuses it.
    """
    try:
        fcntl.flock(marker, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise is_taken(store) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"the file system of {store} has no locks ({error.strerror}): make sure that no other "
            "conversion writes this store",
            stacklevel=2,
        )


def is_taken(store: Path) -> TargetError:
    """The error about a store that another process writes."""
    return TargetError(
        f"another process is writing {store}: wait for its end, or choose another place"
    )
