"""The folder that becomes a store: refused if it is something else, and locked meanwhile."""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from patchpress.readers.errors import TargetError
from patchpress.readers.format.manifest import (
    DATA,
    EXTENTS,
    FORMAT,
    JOURNAL,
    MANIFEST,
    MARKER,
    METADATA,
    STATISTICS,
)

LOCK = "lock.mdb"
ASIDE = f"{DATA}.pages"
"""The data file in pages, if LMDB cannot read it, until LMDB has written its records again."""
PROBE = "probe.mdb"
"""A small data file that shows whether LMDB reads here what is written in pages."""
NO_ROOM = 8 << 20  # bytes, two commits of LMDB: with less, a disk is full
OWN_FILES = (
    MANIFEST,
    f"{MANIFEST}.partial",
    METADATA,
    DATA,
    ASIDE,
    PROBE,
    LOCK,
    MARKER,
    JOURNAL,
    EXTENTS,
    f"{EXTENTS}.partial",
    STATISTICS,
    f"{STATISTICS}.partial",
)

DecisiveSettings = Mapping[str, Any]
"""All that decides what a conversion stores, by names that a user knows: the marker has them.

Values are text, numbers, None, or for the description all of its fields."""

# Descriptors of the markers that this process has locked. A forked worker closes its copies: it may
# live a moment longer than a conversion that was killed, and must not hold the lock then.
_markers: set[int] = set()
os.register_at_fork(after_in_child=lambda: _close_markers())


class Target:
    """The folder of a store while this process alone may write it."""

    def __init__(self, store: Path, marker: int, *, overwrite: bool) -> None:
        self.store, self._marker, self.overwrite = store, marker, overwrite
        self.begun = False
        """Whether it has something that a later conversion may go on with."""

    def interrupted_settings(self) -> DecisiveSettings | None:
        """The settings of the conversion that was interrupted here; None if none may go on."""
        if self.overwrite:
            return None
        with writing(self.store):
            return _parsed(os.pread(self._marker, os.fstat(self._marker).st_size, 0))

    def clear(self, settings: DecisiveSettings) -> None:
        """Remove an earlier store, or what an interrupted conversion left, and note the settings.

        Call it only if the source is in order: until then an earlier store stays whole.

        Raises:
            TargetError: a finished store without `overwrite`; no right to remove or to write.
        """
        if (self.store / MANIFEST).exists() and not self.overwrite:
            self.begun = False
            raise TargetError(_finished(self.store))
        with writing(self.store):
            # The marker is emptied first: then it says that no conversion goes on here, whenever
            # this process is killed.
            (self.store / MANIFEST).unlink(missing_ok=True)
            os.ftruncate(self._marker, 0)
            for name in OWN_FILES:
                if name != MARKER:
                    (self.store / name).unlink(missing_ok=True)
            self.begun = True
            os.pwrite(self._marker, json.dumps(settings, indent=1).encode(), 0)


def _parsed(marker: bytes) -> DecisiveSettings | None:
    try:
        settings = json.loads(marker)
    except ValueError:
        return None
    return settings if isinstance(settings, dict) else None


@contextmanager
def claim(store: Path, *, overwrite: bool) -> Iterator[Target]:
    """Make the folder of a store, or take the one that is there, and lock it until the end.

    A marker in it says until the end that the store is unfinished. What an interrupted conversion
    left is kept. Only files that a conversion makes are ever removed.

    Raises:
        TargetError: there is a finished store and no `overwrite`; the folder has something else;
            another conversion writes it; it cannot be written.
    """
    _check(store, overwrite=overwrite)
    with writing(store):
        new = not store.exists()
        store.mkdir(parents=True, exist_ok=True)
        begun = (store / MARKER).exists()
        marker = os.open(store / MARKER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    _markers.add(marker)
    target = Target(store, marker, overwrite=overwrite)
    target.begun = begun
    try:
        _lock(marker, store)
        yield target
        with writing(store):
            _end(store, new=new)
    except BaseException:
        # If the source was refused, everything stays as it was.
        if not target.begun:
            (store / JOURNAL).unlink(missing_ok=True)
            (store / MARKER).unlink(missing_ok=True)
            if new:
                store.rmdir()
        raise
    finally:
        _markers.discard(marker)
        os.close(marker)


def look_at_target(store: Path, *, overwrite: bool) -> DecisiveSettings | None:
    """What `claim` and `Target.interrupted_settings` would say; nothing is written.

    Raises:
        TargetError: as `claim`.
    """
    _check(store, overwrite=overwrite)
    existing = store.absolute()
    while not os.path.lexists(existing):
        existing = existing.parent
    with writing(store):
        if not existing.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if not (store / MARKER).exists():
            return None
        with (store / MARKER).open("rb") as marker:
            _lock(marker.fileno(), store, fcntl.LOCK_SH)
            return None if overwrite else _parsed(marker.read())


def _close_markers() -> None:
    """Close the markers that a forked process inherited; the parent keeps its locks."""
    while _markers:
        os.close(_markers.pop())


def _end(store: Path, *, new: bool) -> None:
    """Remove the files that say that the store is unfinished: all of it is on the disk."""
    if new:
        _flush_folder(store.parent)
    # In this order: a store that has a manifest and a marker, but no journal, is finished, too.
    (store / JOURNAL).unlink(missing_ok=True)
    (store / MARKER).unlink(missing_ok=True)
    _flush_folder(store)


def _flush_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def writing(store: Path) -> Iterator[None]:
    """Turn an error of the system or of LMDB while `store` is written into one sentence.

    Raises:
        TargetError: for any OSError or lmdb.Error.
    """
    try:
        yield
    except TargetError:
        raise
    except (OSError, lmdb.Error) as error:
        if _is_full(store, error):
            raise TargetError(
                f"the disk of {store} is full: make room and run the same command again"
            ) from None
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise TargetError(
            f"{store} cannot be written ({reason}): make that possible, or choose another place"
        ) from None


def _is_full(store: Path, error: Exception) -> bool:
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space" in str(error):
        return True
    try:
        # If a full disk takes only a part of what LMDB writes, LMDB says "input/output error".
        return shutil.disk_usage(store).free < NO_ROOM
    except OSError:
        return False


def _check(store: Path, *, overwrite: bool) -> None:
    if not os.path.lexists(store):
        return
    if not store.is_dir():
        raise TargetError(f"{store} is a file, not a folder: choose another place for the store")
    foreign = sorted(set(os.listdir(store)) - set(OWN_FILES))
    ours = _is_ours(store / MANIFEST) or (store / MARKER).exists()
    if foreign or (not ours and bool(os.listdir(store))):
        there = foreign[0] if foreign else sorted(os.listdir(store))[0]
        raise TargetError(
            f"{store} is a folder with other things in it ({there}): choose a new or empty one"
        )
    # A conversion that was killed after its manifest was written has some steps left.
    marked = (store / MARKER).exists() and (store / MARKER).stat().st_size
    if (store / MANIFEST).exists() and not (overwrite or marked):
        raise TargetError(_finished(store))


def _finished(store: Path) -> str:
    return f"{store} is a finished store: choose another place, or give --overwrite to replace it"


def _is_ours(manifest: Path) -> bool:
    """Whether a file is the manifest of a store; other programs have files of that name, too."""
    return manifest.exists() and f'"{FORMAT}"'.encode() in manifest.read_bytes()[:100]


def _lock(marker: int, store: Path, kind: int = fcntl.LOCK_EX) -> None:
    try:
        fcntl.flock(marker, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise TargetError(
            f"another conversion is writing {store}: wait for its end, or choose another place"
        ) from None
