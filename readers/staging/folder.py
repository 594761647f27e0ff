"""`CopyFolder`: the folder with the copies of data files, which all processes of a user share.

::

    STAGE/patchpress-staged-UID/        only its user may write there
        NAME.mdb                        a whole copy; its time of access is that of its last use
        NAME.partial                    one that is being made, by the process that has it locked
        NAME.user                       names of copies; locked by each process that reads them
        lock                            held while one looks for room

What is in it is looked at before it is used, as if a stranger had put it there.
"""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from patchpress.readers.access import locks
from patchpress.readers.access.files import DataFile, open_file
from patchpress.readers.access.locks import Lock
from patchpress.readers.errors import StoreError
from patchpress.readers.format.btree import Tree

OFTEN = 10**9
"""Nanoseconds after which another use of a copy is noted."""
WHOLE, PARTIAL, USER, LOCK = ".mdb", ".partial", ".user", "lock"


class FolderUnusable(Exception):
    """Nothing can be staged in the folder; ``str()`` says why."""


class CopyBroken(Exception):
    """What is in the place of a copy is none; ``str()`` says what it is."""


class CopyFolder:
    """The folder with the copies, below the one that the user named."""

    def __init__(self, stage: Path) -> None:
        """Make the folder if it is not there.

        Raises:
            FolderUnusable: it cannot be made, or another may write there.
        """
        if not locks.possible:
            raise FolderUnusable("this system has no locks of files (flock)")
        self.path = stage / f"patchpress-staged-{os.geteuid()}"
        try:
            stage.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                self.path.mkdir(mode=0o700)
            status = self.path.lstat()
        except OSError as error:
            raise FolderUnusable(f"{self.path} cannot be made ({error.strerror})") from None
        wrong = _not_ours(status, stat.S_IFDIR)
        if wrong:
            raise FolderUnusable(f"{self.path} {wrong}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from looking for room meanwhile.

        Raises:
            Busy: another does so for a long time.
            FolderUnusable: the folder cannot be written, or has no locks.
        """
        try:
            with locks.for_a_moment(str(self.path / LOCK)):
                yield
        except OSError as error:
            raise FolderUnusable(f"{self.path} cannot be used ({error.strerror})") from None

    def find(self, name: str, size: int) -> DataFile | None:
        """A whole copy, or None if there is none; it counts as used.

        Raises:
            CopyBroken: something else is in its place, or it cannot be opened.
        """
        path = self.path / (name + WHOLE)
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CopyBroken(f"cannot be looked at ({error.strerror})") from None
        wrong = _not_ours(status, stat.S_IFREG)
        if wrong:
            raise CopyBroken(wrong)
        if status.st_size != size:
            raise CopyBroken(f"has {status.st_size:,} of {size:,} bytes")
        if time.time_ns() - status.st_atime_ns > OFTEN:
            with suppress(OSError):
                # Not the time of writing, by which readers see that a file is not what it was.
                os.utime(path, ns=(time.time_ns(), status.st_mtime_ns), follow_symlinks=False)
        try:
            return open_file(path)
        except StoreError as error:
            raise CopyBroken(f"cannot be opened ({error})") from None

    def remove(self, path: Path) -> None:
        """Remove a file or link of the folder, if it is still there.

        Raises:
            FolderUnusable: it cannot be removed.
        """
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise FolderUnusable(f"{path} cannot be removed ({error.strerror})") from None

    def files(self, ending: str) -> dict[str, os.stat_result]:
        """Name without ending -> status of each regular file with that ending, of this user."""
        found = {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                if not entry.name.endswith(ending):
                    continue
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        found[entry.name.removesuffix(ending)] = status
        return found

    def lock(self, name: str, *, shared: bool = False, inherited: bool = False) -> Lock:
        """The lock of a file, which is made if it is not there.

        Raises:
            Busy: another has it.
            FolderUnusable: it cannot be made or locked.
        """
        path = self.path / name
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            for _ in range(2):
                with suppress(FileNotFoundError):
                    if _not_ours(path.lstat(), stat.S_IFREG):
                        self.remove(path)
                lock = Lock(os.open(path, flags, 0o600), shared=shared, inherited=inherited)
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(lock.descriptor), path.lstat()):
                        return lock
                lock.close()  # it was renamed or removed by the one who had it
        except OSError as error:
            raise FolderUnusable(f"{path} cannot be used ({error.strerror})") from None
        raise locks.Busy


def identity_of(file: DataFile) -> str:
    """What tells a data file from others; empty if it is no sound one."""
    try:
        return Tree(file.pages, file.path).identity()
    except StoreError:
        return ""


def _not_ours(status: os.stat_result, kind: int) -> str:
    """Why a file or folder is not one that only this user may have written; empty if it is."""
    if stat.S_ISLNK(status.st_mode):
        return "is a link"
    if stat.S_IFMT(status.st_mode) != kind:
        return "is no folder" if kind == stat.S_IFDIR else "is no file"
    if status.st_uid != os.geteuid():
        return "belongs to another user"
    if status.st_mode & 0o022:
        return "may be written by other users"
    if kind == stat.S_IFREG and status.st_nlink > 1:
        return "has a second name elsewhere"
    return ""
