"""`Copies`: the copies of the data files of one store in a folder, found or made."""

import errno
import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress

from patchpress.readers.access.files import DataFile
from patchpress.readers.access.locks import Busy, Lock
from patchpress.readers.errors import StoreDamaged, StoreError
from patchpress.readers.format.manifest import Shard
from patchpress.readers.staging import room
from patchpress.readers.staging.folder import (
    PARTIAL,
    WHOLE,
    CopyBroken,
    CopyFolder,
    FolderUnusable,
    identity_of,
)
from patchpress.readers.staging.room import NoRoom
from patchpress.readers.staging.source import ShardSource

_log = logging.getLogger(__name__)

AT_ONCE = 2
"""Copies that all processes make at one time in one folder: one waits for a disk, one writes."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Copies:
    """The copies of one store's data files, by the numbers of its shards.

    A copy's name follows from where it comes from and what the manifest says of it, so that a store
    never gets the copy of another, whatever its manifest says.
    """

    def __init__(
        self, source: ShardSource, shards: Sequence[Shard], folder: CopyFolder, limit: int | None
    ) -> None:
        """Say to other processes that these copies are used, until `close`.

        Raises:
            Busy, FolderUnusable, OSError: as `room.use`.
        """
        self._source, self._shards, self._folder, self._limit = source, shards, folder, limit
        self._names = [_name(source, shard) for shard in shards]
        whole = hashlib.sha256("".join(self._names).encode()).hexdigest()[:40]
        # Of each that was looked at: by what it is known again.
        self._known: dict[int, tuple[int, ...]] = {}
        self._used = room.use(folder, whole, self._names)

    def close(self) -> None:
        """Let others remove the copies."""
        self._used.close()

    def find(self, number: int) -> DataFile | None:
        """The copy of a shard, if it is there and what it should be; else None.

        What is in its place and is none, or the copy of what the store was once, is removed.

        Raises:
            FolderUnusable: it cannot be removed.
            StoreError: the store cannot be read.
        """
        shard, name = self._shards[number], self._names[number]
        path = self._folder.path / (name + WHOLE)
        try:
            file = self._folder.find(name, shard.bytes)
            if file is None:
                return None
            status = os.fstat(file.descriptor)
            seen = status.st_dev, status.st_ino, status.st_mtime_ns
            if self._known.get(number) == seen:
                return file
            if identity_of(file) == self._source.identity(shard.path):
                self._known[number] = seen
                return file
            wrong = "has other records"
        except CopyBroken as error:
            wrong = str(error)
        _log.warning("%s %s: it is not used, and made again", path, wrong)
        self._folder.remove(path)
        return None

    def make(self, number: int, progress: Callable[[int], None] | None = None) -> None:
        """Copy a shard; others see the copy when it is whole and was looked at.

        Args:
            number: of the shard.
            progress: told of the bytes of each piece. What it raises ends the copy.

        Raises:
            Busy: another process, or thread, makes it, or as many as are allowed make others.
            NoRoom: the disk is full, or the limit reached.
            FolderUnusable: the folder cannot be written.
            StoreError: the store cannot be read, or has changed.
        """
        turn = self._turn()
        try:
            expected = self._source.identity(self._shards[number].path)
            name, size = self._names[number], self._shards[number].bytes
            lock = room.begin(self._folder, name, size, self._limit)
            try:
                if self.find(number) is None:
                    self._fill(number, lock, expected, progress)
            finally:
                with suppress(FileNotFoundError):
                    (self._folder.path / (name + PARTIAL)).unlink()
                lock.close()
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            if error.errno in FULL:
                raise NoRoom("its disk is full") from None
            raise FolderUnusable(
                f"{self._folder.path} cannot be written ({error.strerror})"
            ) from None
        finally:
            turn.close()

    def _fill(
        self, number: int, lock: Lock, expected: str, progress: Callable[[int], None] | None
    ) -> None:
        shard, name = self._shards[number], self._names[number]
        whole = self._folder.path / (name + WHOLE)
        self._source.copy_to(shard.path, shard.bytes, lock.descriptor, progress)
        # Else a machine that stops may leave zeros of the right size.
        os.fsync(lock.descriptor)
        file = DataFile(whole, os.dup(lock.descriptor), readahead=False)
        if file.size != shard.bytes or identity_of(file) != expected:
            raise StoreDamaged(
                f"the copy of {shard.path} of {self._source.name} differs: open the store again"
            )
        (self._folder.path / (name + PARTIAL)).rename(whole)
        _log.info("%s of %s was copied to %s", shard.path, self._source.name, whole)

    def _turn(self) -> Lock:
        for place in range(AT_ONCE):
            with suppress(Busy):
                return self._folder.lock(f"turn.{place}")
        raise Busy


def _name(source: ShardSource, shard: Shard) -> str:
    told = "\0".join([source.name, shard.path, shard.digest, str(shard.bytes)])
    return hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()[:40]
