"""`Stage`: what one process has staged of a store, and the thread that stages the rest.

A shard is wanted when it is first read. Until its copy is there it is read where the store is; then
from the copy. Which process of a machine copies it is decided by a lock.
"""

import logging
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

from patchpress.readers.access.files import DataFile
from patchpress.readers.access.locks import Busy
from patchpress.readers.errors import StageUnusable, StoreError, TargetError
from patchpress.readers.format.manifest import Shard
from patchpress.readers.staging.copies import Copies
from patchpress.readers.staging.folder import CopyFolder, FolderUnusable
from patchpress.readers.staging.room import NoRoom
from patchpress.readers.staging.source import ShardSource

_log = logging.getLogger(__name__)

PAUSE = 0.2
"""Seconds until one looks again whether another process has made a copy."""

AGAIN = 60.0
"""Seconds after which a shard may be wanted again that found no room."""


class Stopped(Exception):
    """The store was closed while a shard was copied."""


class Stage:
    """The staged copies of one store in this process; safe in threads and after a fork."""

    def __init__(
        self, folder: Path, size: int | None, shards: Sequence[Shard], source: ShardSource
    ) -> None:
        """Find the folder. If nothing can be staged there, a warning says so, and nothing is.

        Args:
            folder: where copies are made.
            size: the most bytes of all copies there; None for what leaves a reserve of the disk.
            shards: as the manifest has them.
            source: where they are.
        """
        self._work = _Work(folder, size, shards, source)
        # The thread knows the work alone, so that it ends when nobody has this any more.
        self._end = weakref.finalize(self, self._work.stop)

    @property
    def stirred(self) -> bool:
        """Whether `refresh` has something to do: copies came, or this process was forked."""
        return self._work.stirred

    def refresh(self) -> list[int]:
        """Numbers of the shards whose copies came since this was asked last."""
        return self._work.refresh()

    def open(self, number: int) -> DataFile | None:
        """The copy of a shard, which is wanted from now on; None as long as there is none."""
        return self._work.open(number)

    def fill(self, progress: Callable[[int], None] | None = None) -> None:
        """Stage all shards, and wait for those that other processes copy.

        Args:
            progress: told of bytes as they are copied, or found.

        Raises:
            TargetError: there is no room for all, or the folder cannot be used.
            StoreError: the store cannot be read.
        """
        self._work.fill(progress)

    def close(self) -> None:
        """End the thread, and let others remove the copies."""
        self._end()

    def __str__(self) -> str:
        return self._work.told()


class _Work:
    """What a `Stage` and its thread share."""

    def __init__(
        self, folder: Path, size: int | None, shards: Sequence[Shard], source: ShardSource
    ) -> None:
        self._path, self._shards, self._source = folder, shards, source
        self.stirred = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._wanted: dict[int, None] = {}  # in the order in which they were
        self._refused: dict[int, float] = {}  # when it may be wanted again
        self._staged: set[int] = set()
        self._came: list[int] = []
        self._copies: Copies | None = None
        self._why_not, self._is_told = "", False
        try:
            self._copies = Copies(source, shards, CopyFolder(folder), size)
        except (FolderUnusable, Busy, OSError) as error:
            self._give_up(_said(error, folder))
        _works.add(self)

    def open(self, number: int) -> DataFile | None:
        """The copy of a shard, if it is there."""
        copies = self._copies
        if copies is None:
            return None
        try:
            file = copies.find(number)
        except FolderUnusable as error:
            self._give_up(str(error))
            return None
        except StoreError:
            return None  # the reader opens the file of the store, and says what is wrong with it
        with self._lock:
            if file is not None:
                self._staged.add(number)
                return file
            self._staged.discard(number)
            if time.monotonic() >= self._refused.get(number, 0.0):
                self._wanted[number] = None
                self._start()
        return None

    def refresh(self) -> list[int]:
        with self._lock:
            self.stirred = False
            came, self._came = self._came, []
            if self._wanted:
                self._start()
        return came

    def fill(self, progress: Callable[[int], None] | None) -> None:
        tell = progress or (lambda nbytes: None)
        for number, shard in enumerate(self._shards):
            while self._copies is not None and self._copies.find(number) is None:
                try:
                    self._copies.make(number, progress)
                except Busy:
                    self._stop.wait(PAUSE)
                    continue
                except NoRoom as error:
                    raise TargetError(self._sentence(number, str(error))) from None
                except FolderUnusable as error:
                    self._copies, self._why_not = None, str(error)
                break
            else:
                tell(shard.bytes)
            if self._copies is None:
                raise TargetError(f"nothing can be staged: {self._why_not}; name another folder")
            self._note(number)

    def stop(self) -> None:
        self._stop.set()
        if self._copies is not None:
            self._copies.close()
        self._copies = None

    def told(self) -> str:
        """Where the shards are read, in a line."""
        if self._copies is None:
            return f"read from {self._source.name}: {self._why_not or 'it was closed'}"
        staged, count = len(self._staged), len(self._shards)
        what = "" if staged == count else f"{staged:,} of {count:,} shards so far "
        return f"{what}staged in {self._path}"

    def after_fork(self) -> None:
        """Begin anew in a child, which has no thread; its parent may have died."""
        self._lock = threading.Lock()
        stopped, self._stop = self._stop.is_set(), threading.Event()
        if stopped:
            self._stop.set()
        self._thread = None
        self.stirred = self.stirred or bool(self._wanted)

    def _start(self) -> None:
        """Start the thread if none runs; the lock is held."""
        if self._thread is None and not self._stop.is_set():
            self._thread = threading.Thread(target=self._stage_wanted, name="staging", daemon=True)
            self._thread.start()

    def _stage_wanted(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                wanted = list(self._wanted)
                if not wanted or self._copies is None:
                    self._thread = None
                    return
            done = [self._stage_one(number) for number in wanted]
            if not any(done):
                self._stop.wait(PAUSE)

    def _stage_one(self, number: int) -> bool:
        """Whether the shard needs no more waiting."""
        copies = self._copies
        if copies is None or self._stop.is_set():
            return True
        try:
            if copies.find(number) is None:
                copies.make(number, self._go_on)
            self._note(number)
        except Busy:
            return False
        except Stopped:
            return True
        except NoRoom as error:
            self._tell(self._sentence(number, str(error)))
        except FolderUnusable as error:
            self._give_up(str(error))
        except StoreError as error:
            _log.warning("%s cannot be staged: %s", self._shards[number].path, error)
        with self._lock:
            self._wanted.pop(number, None)
            self._refused[number] = time.monotonic() + AGAIN
        return True

    def _go_on(self, nbytes: int) -> None:
        if self._stop.is_set():
            raise Stopped

    def _note(self, number: int) -> None:
        with self._lock:
            self._staged.add(number)
            self._wanted.pop(number, None)
            self._came.append(number)
            self.stirred = True

    def _sentence(self, number: int, why: str) -> str:
        shard = self._shards[number]
        return (
            f"there is no room in {self._path} for {shard.path} ({shard.bytes:,} bytes): {why}; it "
            f"is read from {self._source.name}, and so is what else finds no room"
        )

    def _tell(self, sentence: str) -> None:
        """Warn once."""
        if self._is_told:
            return
        self._is_told = True
        _log.info("%s", sentence)
        try:
            warnings.warn(sentence, StageUnusable, stacklevel=2)
        except StageUnusable:  # warnings are errors: to those who can see it
            if threading.current_thread() is not self._thread:
                raise

    def _give_up(self, why: str) -> None:
        self._copies, self._why_not = None, why
        self._tell(f"nothing is staged, and {self._source.name} is read directly: {why}")


def _said(error: Exception, folder: Path) -> str:
    if isinstance(error, Busy):
        return f"another process keeps {folder} locked"
    strerror = error.strerror if isinstance(error, OSError) else None
    return f"{folder} cannot be written ({strerror})" if strerror else str(error)


_works: "weakref.WeakSet[_Work]" = weakref.WeakSet()


def _after_fork() -> None:
    for work in list(_works):
        work.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
