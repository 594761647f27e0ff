"""The folder that becomes a store: refused where it is something else, locked while it is made."""

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

from readers.errors import TargetError
from readers.manifest import DATA, EXTENTS, FORMAT, MANIFEST, MARKER, METADATA, STATISTICS

LOCK = "lock.mdb"
NO_ROOM = 8 << 20  # bytes: two commits of the writer
OWN_FILES = (
    *(MANIFEST, f"{MANIFEST}.partial", METADATA, DATA, LOCK, MARKER),
    *(EXTENTS, f"{EXTENTS}.partial", STATISTICS, f"{STATISTICS}.partial"),
)


class Target:
    """The folder while it is ours alone."""

    def __init__(self, store: Path, marker: int) -> None:
        self.store, self._marker = store, marker
        self.cleared = False

    def clear(self, settings: Mapping[str, Any]) -> None:
        """Remove an earlier store, or what an interrupted conversion left; then begin.

        Called when the source has been found in order: until then an earlier store stays whole.

        Raises:
            TargetError: no right to remove or to write.
        """
        with writing(self.store):
            for name in OWN_FILES:
                if name != MARKER:
                    (self.store / name).unlink(missing_ok=True)
            self.cleared = True
            os.ftruncate(self._marker, 0)
            os.write(self._marker, json.dumps(settings, indent=1).encode())


@contextmanager
def claim(store: Path, *, overwrite: bool) -> Iterator[Target]:
    """Make `store` a folder of ours that nobody else writes, and take our marker away at the end.

    What an interrupted conversion left is begun again. Nothing that is not ours is ever removed.

    Raises:
        TargetError: there is a finished store and no `overwrite`, something else, a conversion at
            work, or no right to write.
    """
    _check(store, overwrite=overwrite)
    with writing(store):
        new = not store.exists()
        store.mkdir(parents=True, exist_ok=True)
        begun = (store / MARKER).exists()
        marker = os.open(store / MARKER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    target = Target(store, marker)
    finished = False
    try:
        _lock(marker, store)
        yield target
        finished = True
    finally:
        # A refused source leaves everything as it was.
        if finished or not (target.cleared or begun):
            (store / MARKER).unlink(missing_ok=True)
            if new and not finished:
                store.rmdir()
        os.close(marker)


@contextmanager
def writing(store: Path) -> Iterator[None]:
    """Turn what the system says of a failed write into one sentence.

    Raises:
        TargetError: in place of any OSError or LMDB error.
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
        # LMDB calls a write that the full disk cut short an input/output error.
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
    if (store / MANIFEST).exists() and not overwrite:
        raise TargetError(
            f"{store} is a finished store: choose another place, or give --overwrite to replace it"
        )


def _is_ours(manifest: Path) -> bool:
    """Whether it is a store's manifest; other programs have files of that name, too."""
    return manifest.exists() and f'"{FORMAT}"'.encode() in manifest.read_bytes()[:100]


def _lock(marker: int, store: Path) -> None:
    try:
        fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise TargetError(
            f"another conversion is writing {store}: wait for its end, or choose another place"
        ) from None
