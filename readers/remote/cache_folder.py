"""The cache of small files: a folder for each store, so many bytes in all, and which are in use.

A process that has a store open holds a lock in its folder, shared with others. Folders that nobody
holds go when there are too many bytes, those that were opened longest ago first. Without locks
(Windows, some network disks) nothing is ever removed.
"""

import errno
import logging
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from patchpress.readers.access import locks
from patchpress.readers.access.locks import Busy, Lock
from patchpress.readers.errors import OptionError
from patchpress.readers.format.byte_counts import bytes_of

_log = logging.getLogger(__name__)

CACHE = "PATCHPRESS_CACHE"
"""The environment variable with the cache folder."""
CACHE_SIZE = "PATCHPRESS_CACHE_SIZE"
"""The one with the most bytes of it."""
MOST = 10 * 10**9
"""Bytes, if nobody says how many: the small files of dozens of stores of half a million patches."""
OWN = 0o700  # permissions: a table may be of data that others must not see
IN_USE = "in-use.lock"
_GONE = ".removed-"  # the beginning of a folder's name while it is removed
_ATTEMPTS, _PAUSE = 200, 0.01  # to take a folder that another process just removes; seconds


class CachedFolder(NamedTuple):
    """The folder for the small files of one store."""

    path: Path
    lock: Lock | None
    """As long as it lives, no other process removes the folder; None without locks."""


def cached_folder(digest: str) -> CachedFolder:
    """The folder for a manifest of that digest; one of this process, if no other can be made.

    Raises:
        OptionError: the folder that was asked for cannot be; a size that is none.
    """
    base, given = _base()
    _limit()  # a wrong one is said before anything is fetched
    folder = base / digest
    try:
        lock = _held(folder)
        if os.access(folder, os.W_OK):
            return CachedFolder(folder, lock)
        reason = "it cannot be written"
    except OSError as error:
        reason = str(error.strerror)
    if given:
        raise OptionError(f"{CACHE} is {given!r}, but {folder} is no folder to write to ({reason})")
    _log.info("no cache in %s (%s): small files are fetched by each process", base, reason)
    return CachedFolder(_own_folder(), None)


def make_room() -> None:
    """Remove folders that nobody uses until the others have no more bytes than are allowed."""
    base, _ = _base()
    limit = _limit()
    _remove_left_behind(base)
    sizes = {folder: _bytes(folder) for folder in _folders(base)}
    taken = sum(sizes.values())
    if taken <= limit:
        return
    for folder in sorted(sizes, key=_last_use):
        if taken <= limit:
            return
        if _removed(folder):
            _log.info("%s was removed, to keep the cache below %d bytes", folder, limit)
            taken -= sizes[folder]
    if taken > limit:
        _log.info("the stores in use have %d bytes in %s, more than %d", taken, base, limit)


def _base() -> tuple[Path, str]:
    """The folder of all folders, and what a user named, if one did."""
    given = os.environ.get(CACHE) or ""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    base = os.path.abspath(os.path.expanduser(given or os.path.join(home, "patchpress")))
    return Path(base) / "stores", given


def _limit() -> int:
    given = os.environ.get(CACHE_SIZE)
    return bytes_of(given, f"in {CACHE_SIZE}") if given else MOST


def _held(folder: Path) -> Lock | None:
    """Make a folder, and hold it; None if there are no locks.

    Raises:
        OSError: it cannot be made.
    """
    for _ in range(_ATTEMPTS):
        folder.mkdir(OWN, parents=True, exist_ok=True)
        if not locks.possible:
            return None
        with suppress(Busy, FileNotFoundError):
            lock = _lock(folder, shared=True)
            if lock is None or _is_there(folder, lock):
                return lock
            lock.close()  # it was removed in between
        time.sleep(_PAUSE)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def _lock(folder: Path, *, shared: bool) -> Lock | None:
    """Lock a folder; None if its file system has no locks, or nothing may be written there.

    Raises:
        Busy: others hold it, in a way that excludes this one.
        FileNotFoundError: the folder is not there any more.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(folder / IN_USE, flags, 0o600)
        # Children that are forked read from the same folder, and so hold it, too.
        lock = Lock(descriptor, shared=shared, inherited=shared)
        if shared:
            os.utime(descriptor)
    except FileNotFoundError:
        raise
    except OSError:
        return None
    return lock


def _is_there(folder: Path, lock: Lock) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(lock.descriptor), os.stat(folder / IN_USE))
    return False


def _removed(folder: Path) -> bool:
    """Remove a folder that nobody holds; gives whether it did."""
    if not locks.possible:
        return False
    try:
        lock = _lock(folder, shared=False)
    except (Busy, FileNotFoundError):
        return False
    if lock is None:
        return False
    try:
        if not _is_there(folder, lock):
            return False
        gone = folder.with_name(f"{_GONE}{folder.name}-{os.urandom(4).hex()}")
        folder.rename(gone)  # from here on who wants it makes it anew
        shutil.rmtree(gone, ignore_errors=True)
    except OSError:
        return False
    finally:
        lock.close()
    return True


def _remove_left_behind(base: Path) -> None:
    """Remove folders whose removal was interrupted."""
    with suppress(OSError):
        for folder in base.glob(f"{_GONE}*"):
            shutil.rmtree(folder, ignore_errors=True)


def _folders(base: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from (path for path in base.iterdir() if not path.name.startswith("."))


def _bytes(folder: Path) -> int:
    total = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_size
    return total


def _last_use(folder: Path) -> float:
    for path in (folder / IN_USE, folder):
        with suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _own_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="patchpress-"))
    process = os.getpid()

    def remove() -> None:
        if os.getpid() == process:
            shutil.rmtree(folder, ignore_errors=True)

    weakref.finalize(_own_folder, remove)
    return folder
