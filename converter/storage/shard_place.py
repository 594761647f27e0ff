"""Where the shards of one store are made, by one process or by many at once, and put together.

The marker of the store says with what settings it was begun, and of how many shards. Whoever makes
a single shard shares the lock of that marker; who makes all of them, or finishes the store, has it
alone. Each shard's folder has a marker and a lock of its own.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patchpress.converter.storage.folder import (
    DecisiveSettings,
    Target,
    check_target,
    writing,
)
from patchpress.converter.storage.marker import (
    close_marker,
    is_marker_of,
    is_taken,
    locked_marker,
    open_marker,
    try_lock,
)
from patchpress.converter.storage.ownership import (
    SHARD_FILES,
    VERSION,
    parsed_settings,
    remove_half_written,
    shard_folders,
)
from patchpress.converter.storage.resume import has_stored
from patchpress.converter.storage.settings_difference import differences, told
from patchpress.converter.storage.shard_file import FinishedShard, finished_shard
from patchpress.converter.storage.shard_folder import take_sorted
from patchpress.readers.errors import StoreDamaged, StoreMissing, TargetError, cannot_read
from patchpress.readers.format.manifest import DATA, MANIFEST, MARKER, Manifest
from patchpress.readers.format.shard_rule import shard_folder
from patchpress.readers.format.whole_file import flush_folder, name_when_whole

_PATIENCE = 10.0  # seconds: others have the lock alone for moments only while they begin a store
_WORKING = {*SHARD_FILES} - {DATA}


@contextmanager
def shared_store(store: Path, settings: DecisiveSettings) -> Iterator[bool]:
    """Take part in making a sharded store, beside other processes; begin it if nobody has.

    `settings` are those for its marker. Gives whether the file system has locks; without them two
    processes must not make a shard in one folder.

    Raises:
        TargetError: there is a finished store, or one that was begun with other settings; another
            process makes all of it, or finishes it; the folder has something else, or cannot be
            written.
    """
    if (store / MANIFEST).exists():
        raise TargetError(
            f"{store} is a finished store, so that no shard is to be made: choose another place, "
            "or remove it"
        )
    if not (store / MARKER).exists():
        check_target(store, overwrite=False)
    with writing(store):
        store.mkdir(parents=True, exist_ok=True)
        marker, has_locks = _shared_marker(store, settings)
    try:
        yield has_locks
    finally:
        close_marker(marker)


def _shared_marker(store: Path, settings: DecisiveSettings) -> tuple[int, bool]:
    end = time.monotonic() + _PATIENCE
    while True:
        marker = open_marker(store)
        try:
            taken = _begun(marker, store, settings)
            if taken is not None and is_marker_of(marker, store):
                return marker, taken
        except BaseException:
            close_marker(marker)
            raise
        close_marker(marker)
        if time.monotonic() > end:
            raise is_taken(store)
        time.sleep(0.05)


def _begun(marker: int, store: Path, settings: DecisiveSettings) -> bool | None:
    """Share the lock of a store that was begun with these settings; begin it if this is the first.

    Gives whether the file system has locks; None if others have the lock at this moment.

    Raises:
        TargetError: it was begun with other settings.
    """
    alone = try_lock(marker, fcntl.LOCK_EX)
    before = _settings_in(marker)
    if alone is False:
        if not try_lock(marker, fcntl.LOCK_SH):
            return None
        before = _settings_in(marker)
        if before is None:
            return None  # who begins it has not written all of it
        require_same_settings(store, before, settings)
        return True
    if before is None or differences(before, settings):
        # Others that were stopped before they stored anything have decided nothing.
        if before is not None and has_stored(store):
            require_same_settings(store, before, settings)
        Target(store, marker, overwrite=False).clear(settings)
    return False if alone is None else _share(marker)


def require_same_settings(
    store: Path, before: DecisiveSettings, settings: DecisiveSettings
) -> None:
    """Make sure that a store was begun with the same settings.

    Raises:
        TargetError: it was not; the sentence says what differs.
    """
    differ = differences(before, settings)
    if differ:
        raise TargetError(
            f"{store} was begun with {told(differ)}: give the same to go on, choose another "
            "place, or remove it to begin anew"
        )


def _settings_in(marker: int) -> dict[str, Any] | None:
    return parsed_settings(os.pread(marker, os.fstat(marker).st_size, 0))


def _share(marker: int) -> bool | None:
    return True if try_lock(marker, fcntl.LOCK_SH) else None


@contextmanager
def store_to_finish(store: Path) -> Iterator[dict[str, Any]]:
    """Lock a store whose shards are made, to put them together; gives the settings of its marker.

    Raises:
        StoreMissing: no sharded store was begun there.
        TargetError: another process makes a shard of it, or finishes it; it cannot be written.
    """
    settings_of(store)
    with writing(store):
        marker = locked_marker(store, make=False)
    try:
        settings = _settings_in(marker)
        if settings is None:
            raise is_taken(store)
        yield settings
        with writing(store):
            remove_half_written(store)
            (store / MARKER).unlink()
            flush_folder(store)
    finally:
        close_marker(marker)


def settings_of(store: Path) -> dict[str, Any]:
    """The settings with which the sharded store in a folder was begun.

    Raises:
        StoreMissing: none was begun there, or it was begun as a single data file.
    """
    try:
        settings = parsed_settings((store / MARKER).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        what = "it has no unfinished store" if store.is_dir() else "there is no such folder"
        raise StoreMissing(
            f"{store} has no shards to finish: {what}; begin with `patchpress convert … --shards N`"
        ) from None
    except OSError as error:
        raise TargetError(f"{store / MARKER} cannot be read ({error.strerror})") from None
    if settings is None or settings.keys() == {VERSION}:
        raise StoreMissing(
            f"{store} was begun, and nothing is stored there yet: run the same `patchpress "
            "convert` again"
        )
    if not isinstance(settings.get("shards"), int):
        raise StoreMissing(
            f"{store} was not begun in shards: run the same `patchpress convert` again to finish it"
        )
    return settings


def shards_begun(store: Path) -> int | None:
    """With how many shards a store was begun that is not finished; None if it was not."""
    try:
        settings = parsed_settings((store / MARKER).read_bytes())
    except OSError:
        return None  # whoever begins it says what is wrong there
    shards = settings.get("shards") if settings is not None else None
    return shards if isinstance(shards, int) else None


def require_data_files(store: Path, manifest: Manifest) -> None:
    """Make sure that a finished store has its data files, as long as its manifest says.

    Raises:
        StoreDamaged: one is absent, or has another length.
        StoreError: one cannot be looked at.
    """
    for shard in manifest.shards:
        path = store / shard.path
        try:
            size = path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            raise StoreDamaged(
                f"{path} is absent though the manifest lists it: copy the store again, or remove "
                "it and convert again"
            ) from None
        except OSError as error:
            raise cannot_read(path, error) from None
        if size != shard.bytes:
            raise StoreDamaged(
                f"{path} has {size:,} bytes where the manifest promises "
                f"{shard.bytes:,}: `patchpress verify {store}` says more"
            )


def shards_there(store: Path, settings: DecisiveSettings) -> dict[int, FinishedShard | None]:
    """For each shard of a store what it has, or None if it is not finished.

    Raises:
        StoreDamaged, TargetError: as `finished_shard`.
    """
    return {
        number: finished_shard(store / shard_folder(number), number, settings)
        for number in range(settings["shards"])
    }


def remove_working_files(store: Path) -> None:
    """Remove what only the making of shards needed, when the store has its manifest.

    Raises:
        TargetError: it cannot be removed.
    """
    with writing(store):
        for folder in shard_folders(store):
            path = store / folder
            if path.name.startswith("."):
                shutil.rmtree(path)  # of a run that was killed before it could rename it
                continue
            take_sorted(path)
            for name in os.listdir(path):
                if {name, name_when_whole(name)} & _WORKING:
                    (path / name).unlink()
            flush_folder(path)
