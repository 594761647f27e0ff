"""Room for copies: how many bytes they may take, and which go when others come."""

import json
import os
from collections.abc import Iterable
from contextlib import closing, suppress

from patchpress.readers.access.locks import Busy, Lock
from patchpress.readers.staging.folder import PARTIAL, USER, WHOLE, CopyFolder

RESERVE = 10 << 30
"""Bytes of the disk that are left to others, or a twentieth of it if that is less."""
_USER_LIMIT = 64 << 20  # bytes of a list of names; 65,536 names have 3 MB


class NoRoom(Exception):
    """There is no room for a copy; ``str()`` says what leaves none."""


def use(folder: CopyFolder, name: str, copies: Iterable[str]) -> Lock:
    """Say that copies are used, so that no other process removes them, as long as the lock lives.

    Args:
        folder: that they are in.
        name: equal for equal copies.
        copies: their names.

    Raises:
        Busy, FolderUnusable: as `CopyFolder.locked`.
        OSError: there is no room even for the list of names.
    """
    with folder.locked():
        lock = folder.lock(name + USER, shared=True, inherited=True)
        content = json.dumps(sorted(copies)).encode()
        if os.fstat(lock.descriptor).st_size != len(content):
            os.ftruncate(lock.descriptor, 0)
            os.pwrite(lock.descriptor, content, 0)
        return lock


def begin(folder: CopyFolder, name: str, size: int, limit: int | None) -> Lock:
    """Make room for a copy, and the file that it is written to, with its size.

    Copies that no process uses go, those that were not used for the longest time first; none goes
    if that does not make room enough.

    Args:
        folder: that it is in.
        name: of the copy.
        size: its bytes.
        limit: the most bytes of all copies; None for what leaves `RESERVE` free.

    Returns:
        The lock of the file: of one process at a time.

    Raises:
        Busy: another makes this copy, or looks for room for a long time.
        NoRoom: there is none.
        FolderUnusable: the folder cannot be written.
        OSError: as of `CopyFolder`.
    """
    with folder.locked():
        lock = folder.lock(name + PARTIAL)
        try:
            os.ftruncate(lock.descriptor, 0)
            remove_left_behind(folder)
            _make_room(folder, size, limit)
            # It takes no room yet, but says to others how much it will.
            os.ftruncate(lock.descriptor, size)
        except BaseException:
            folder.remove(folder.path / (name + PARTIAL))
            raise
        return lock


def remove_left_behind(folder: CopyFolder) -> None:
    """Remove unfinished copies that no process goes on with; `CopyFolder.locked` is held."""
    for name in folder.files(PARTIAL):
        with suppress(Busy), closing(folder.lock(name + PARTIAL)):
            folder.remove(folder.path / (name + PARTIAL))


def _make_room(folder: CopyFolder, size: int, limit: int | None) -> None:
    whole, partial = folder.files(WHOLE), folder.files(PARTIAL)
    promised = sum(max(status.st_size - _on_disk(status), 0) for status in partial.values())
    disk = os.statvfs(folder.path)
    reserve = min(RESERVE, disk.f_blocks * disk.f_frsize // 20)
    free = disk.f_bavail * disk.f_frsize
    lacking = size + promised + reserve - free
    why = f"its disk has {free:,} bytes free, of which {reserve:,} are left to others"
    if limit is not None:
        taken = sum(status.st_size for status in (*whole.values(), *partial.values()))
        if taken + size - limit > lacking:
            lacking = taken + size - limit
            why = f"the size of the stage allows {limit:,} bytes, of which {taken:,} are taken"
    if lacking <= 0:
        return
    kept = _used(folder)
    unused = sorted(
        (status.st_atime_ns, name, _on_disk(status) or status.st_size)
        for name, status in whole.items()
        if name not in kept
    )
    gone = []
    for _, name, nbytes in unused:
        if lacking <= 0:
            break
        gone.append(name)
        lacking -= nbytes
    if lacking > 0:
        raise NoRoom(why)
    for name in gone:
        folder.remove(folder.path / (name + WHOLE))


def _used(folder: CopyFolder) -> set[str]:
    """Names of the copies that living processes use; lists of others are removed."""
    used: set[str] = set()
    for name in folder.files(USER):
        path = folder.path / (name + USER)
        try:
            with closing(folder.lock(name + USER)):
                folder.remove(path)
        except Busy:
            with suppress(OSError, ValueError), path.open("rb") as file:
                used.update(json.loads(file.read(_USER_LIMIT)))
    return used


def _on_disk(status: os.stat_result) -> int:
    return status.st_blocks * 512
