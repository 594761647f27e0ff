"""A finished shard, or a part of one, moved into its place in a store, from whatever disk."""

import errno
import os
import shutil
from pathlib import Path

from patchpress.converter.storage.folder import DecisiveSettings, writing
from patchpress.converter.storage.marker import close_marker, locked_marker
from patchpress.converter.storage.ownership import SHARD_JOURNAL, own_files
from patchpress.converter.storage.shard_file import finished_shard, settings_digest
from patchpress.converter.storage.shard_folder import FINISHED_FILES
from patchpress.readers.errors import StoreDamaged
from patchpress.readers.format.manifest import MARKER
from patchpress.readers.format.shard_rule import SHARDS, shard_folder
from patchpress.readers.format.whole_file import flush_folder

_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


def new_folder_beside(store: Path, number: int) -> Path:
    """The path of a new folder beside the place of a shard, on the same disk."""
    place = store / shard_folder(number)
    return place.with_name(f".{place.name}.{os.urandom(8).hex()}")


def part_folder(store: Path, number: int, settings: DecisiveSettings) -> Path:
    """The place of a part of a shard, until all of its parts are joined.

    `settings` are those with which the part is made. It is removed with the other working files.
    """
    place = store / shard_folder(number)
    digest = settings_digest(settings).rpartition(":")[2]
    return place.with_name(f".{place.name}.{digest[:16]}")


def deliver_shard(made: Path, store: Path, number: int, settings: DecisiveSettings) -> bool:
    """Move a finished shard into its place in a store, from whatever disk; gives whether it did.

    It appears there whole or not at all. If the store has that shard already, this one is removed:
    both have the same bytes.

    Args:
        made: the folder in which `make_shard` made it; it is gone afterwards.
        store: the store, which was begun.
        number: which shard it is.
        settings: of the request that both were made with.

    Raises:
        TargetError: another process makes that shard in the store; the store cannot be written.
        StoreDamaged: a file that was copied is not as it was.
    """
    return _deliver(made, store, number, settings, store / shard_folder(number))


def deliver_part(made: Path, store: Path, number: int, settings: DecisiveSettings) -> bool:
    """Move a part of a shard into its place in a store, as `deliver_shard` does with a whole one.

    Raises:
        TargetError, StoreDamaged: as `deliver_shard`.
    """
    return _deliver(made, store, number, settings, part_folder(store, number, settings))


def _deliver(made: Path, store: Path, number: int, settings: DecisiveSettings, place: Path) -> bool:
    if finished_shard(place, number, settings) is not None:
        shutil.rmtree(made)
        return False
    with writing(store):
        (store / SHARDS).mkdir(exist_ok=True)
        beside = new_folder_beside(store, number)
        try:
            os.rename(made, beside)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(made, beside, number, settings)
        try:
            os.rename(beside, place)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            return _replace_unfinished(beside, place, number, settings)
        flush_folder(place.parent)
    return True


def _copy(made: Path, beside: Path, number: int, settings: DecisiveSettings) -> None:
    """Copy the files of a shard to another disk, and remove them here."""
    beside.mkdir()
    for name in FINISHED_FILES:
        with (made / name).open("rb") as read, (beside / name).open("xb") as written:
            shutil.copyfileobj(read, written, 1 << 22)
            written.flush()
            os.fsync(written.fileno())
    flush_folder(beside)
    if finished_shard(beside, number, settings) is None:
        raise StoreDamaged(f"{beside} is not what {made} was: check the disk, and try again")
    shutil.rmtree(made)


def _replace_unfinished(beside: Path, place: Path, number: int, settings: DecisiveSettings) -> bool:
    """Put a finished shard in the place where another run has begun or ended the same shard."""
    if finished_shard(place, number, settings) is not None:
        shutil.rmtree(beside)
        return False
    marker = locked_marker(place)  # who has it makes that shard at this moment
    try:
        for name in own_files(place):
            if name != MARKER:
                (place / name).unlink(missing_ok=True)
        # The journal first: what a folder has without one may be somebody else's.
        for name in (SHARD_JOURNAL, *FINISHED_FILES):
            if (beside / name).exists():
                os.replace(beside / name, place / name)
        (place / MARKER).unlink()
        flush_folder(place)
        beside.rmdir()
    finally:
        close_marker(marker)
    return True
