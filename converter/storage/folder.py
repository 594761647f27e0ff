"""The folder that becomes a store: refused if it is something else, and locked meanwhile."""

import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lmdb

from patchpress.converter.shortage import shortage
from patchpress.converter.storage.marker import close_marker, lock, locked_marker
from patchpress.converter.storage.ownership import (
    MARKER_BEGIN,
    PROBE,
    is_begun,
    is_of_another_program,
    manifest_in,
    other_things,
    own_files,
    parsed_settings,
    remove_folders,
    remove_half_written,
    require_known_records,
    require_replaceable,
)
from patchpress.readers.errors import TargetError
from patchpress.readers.format.manifest import JOURNAL, MANIFEST, MARKER, Manifest
from patchpress.readers.format.whole_file import flush_folder

NO_ROOM = 8 << 20  # bytes, two commits of LMDB: with less, a disk is full
_ATTEMPTS, _PAUSE = 100, 0.1  # seconds; a worker learns much sooner that nobody waits for it

DecisiveSettings = Mapping[str, Any]
"""All that decides what a conversion stores, by names that a user knows: the marker has them.

Values are text, numbers, None, or for the description all of its fields."""


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
            return parsed_settings(os.pread(self._marker, os.fstat(self._marker).st_size, 0))

    def clear(self, settings: DecisiveSettings) -> None:
        """Remove an earlier store, or what an interrupted conversion left, and note the settings.

        Call it only if the source is in order: until then an earlier store stays whole.

        Raises:
            TargetError: a finished store without `overwrite`; files that are not known to be this
                package's; no right to remove or to write; another process does not stop writing.
        """
        with writing(self.store):
            names = _replaceable(self.store, overwrite=self.overwrite)
            if not self.overwrite and MANIFEST in names:
                self.begun = False
                raise TargetError(_finished(self.store, manifest_in(self.store)))
            # From here on the marker tells, whenever this process is killed, that a conversion
            # began the store, and that none goes on here: it has no settings yet.
            self._write(MARKER_BEGIN + version("patchpress").encode() + b'"\n}')
            self._remove(names)
            self.begun = True
            self._write(json.dumps(settings, indent=1).encode())

    def _remove(self, names: list[str]) -> None:
        """Remove files of the store, and the folders of its shards.

        A worker of the conversion before may not know yet that it has failed, and move one more
        shard to its place: that is removed, too.
        """
        for _ in range(_ATTEMPTS):
            for name in sorted(names, key=lambda name: name != MANIFEST):
                if name != MARKER:
                    (self.store / name).unlink(missing_ok=True)
            try:
                remove_folders(self.store)
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
            else:
                return
            time.sleep(_PAUSE)
            names = own_files(self.store)
        raise TargetError(
            f"another process still moves shards into {self.store}: wait for its end, or end it, "
            "and run the same command again"
        )

    def _write(self, content: bytes) -> None:
        """Replace the marker's content; its beginning is never lost, if this process is killed."""
        os.pwrite(self._marker, content, 0)
        os.ftruncate(self._marker, len(content))

    def end(self, *, new: bool) -> None:
        """Remove the files that say that the store is unfinished: all of it is on the disk."""
        with writing(self.store):
            if new:
                flush_folder(self.store.parent)
            remove_half_written(self.store)
            # In this order: a store that has a manifest and a marker, but no journal, is finished.
            (self.store / JOURNAL).unlink(missing_ok=True)
            (self.store / MARKER).unlink(missing_ok=True)
            flush_folder(self.store)

    def give_up(self, *, new: bool) -> None:
        """Leave the folder as it was found, if nothing was begun in it."""
        if self.begun:
            return
        with suppress(OSError):
            (self.store / JOURNAL).unlink(missing_ok=True)
            (self.store / MARKER).unlink(missing_ok=True)
            if new:
                self.store.rmdir()


@contextmanager
def claim(store: Path, *, overwrite: bool) -> Iterator[Target]:
    """Make the folder of a store, or take the one that is there, and lock it until the end.

    A marker in it says until the end that the store is unfinished. What an interrupted conversion
    left is kept. Only files that a conversion made are ever removed.

    Raises:
        TargetError: there is a finished store and no `overwrite`; the folder has something else;
            another conversion writes it; it cannot be written.
    """
    check_target(store, overwrite=overwrite)
    with writing(store):
        new = _made(store)
        marker = locked_marker(store)
    target = Target(store, marker, overwrite=overwrite)
    try:
        # Once more, now that nobody else writes it: another conversion may just have ended.
        check_target(store, overwrite=overwrite)
        target.begun = os.fstat(marker).st_size > 0 or (store / JOURNAL).exists()
        yield target
        target.end(new=new)
    except BaseException:
        # If the source was refused, everything stays as it was.
        target.give_up(new=new)
        raise
    finally:
        close_marker(marker)


def look_at_target(store: Path, *, overwrite: bool) -> DecisiveSettings | None:
    """What `claim` and `Target.interrupted_settings` would say; nothing is written.

    Raises:
        TargetError: as `claim`.
    """
    check_target(store, overwrite=overwrite)
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
            lock(marker.fileno(), store, fcntl.LOCK_SH)
            return None if overwrite else parsed_settings(marker.read())


def _made(store: Path) -> bool:
    """Make the folder, and those above it; gives whether it was not there."""
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # as the system calls it one folder below, and the dry run
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
    try:
        store.mkdir()
    except FileExistsError:
        if not store.is_dir():
            raise
        return False
    return True


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
        short = shortage(error)
        if short:
            raise TargetError(short) from None
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


def check_target(store: Path, *, overwrite: bool) -> None:
    """Make sure that a conversion may begin or go on in a folder; it need not be there.

    Raises:
        TargetError: it may not, as `claim` says.
    """
    if not os.path.lexists(store):
        return
    if not store.is_dir():
        raise TargetError(f"{store} is a file, not a folder: choose another place for the store")
    with writing(store):
        _replaceable(store, overwrite=overwrite)


def _replaceable(store: Path, *, overwrite: bool) -> list[str]:
    """The names of the files in a folder, if a conversion may go on with them, or remove them.

    Raises:
        TargetError: the sentence of `claim`.
    """
    names = own_files(store)
    # A conversion that was killed before it began has a marker without a word, and perhaps a probe.
    has_empty_marker = MARKER in names and not (store / MARKER).stat().st_size
    if not names or (has_empty_marker and set(names) <= {MARKER, PROBE}):
        return names
    manifest = manifest_in(store)
    begun = is_begun(store)
    if manifest is None and not begun:
        raise other_things(store, names[0])
    if manifest is None:
        require_known_records(store)
    elif not begun:
        if not overwrite:
            raise TargetError(_finished(store, manifest))
        require_replaceable(store, manifest)
    elif overwrite:
        require_replaceable(store, manifest)
    # Else a conversion was killed after its manifest was written, and has some steps left.
    return names


def _finished(store: Path, manifest: Manifest | None) -> str:
    if manifest is not None and is_of_another_program(manifest):
        return f"{store} is a store of records that another program wrote: choose another place"
    return f"{store} is a finished store: choose another place, or give --overwrite to replace it"
