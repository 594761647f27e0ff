"""Whether the files in a folder are those of a store, so that a conversion may replace them.

What may be lost must be known: a manifest that parses lists its files, and each must be as it says;
of an unfinished store the marker or the journal shows that a conversion began it.
"""

import json
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from patchpress.readers.access.extents_file import read_extents
from patchpress.readers.access.files import open_file
from patchpress.readers.errors import StatisticsStale, StoreError, TargetError
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.manifest import (
    ARCHIVES,
    DATA,
    EXTENTS,
    FORMAT,
    JOURNAL,
    MANIFEST,
    MARKER,
    METADATA,
    STATISTICS,
    Manifest,
    file_digest,
    from_bytes,
)
from patchpress.readers.format.shard_rule import SHARDS
from patchpress.readers.format.whole_file import name_when_whole

LOCK = "lock.mdb"
ASIDE = f"{DATA}.pages"
"""The data file in pages, if LMDB cannot read it, until LMDB has written its records again."""
PROBE = "probe.mdb"
"""A small data file that shows whether LMDB reads here what is written in pages."""
OWN_FILES = (
    *(MANIFEST, METADATA, DATA, ARCHIVES, ASIDE, PROBE, LOCK, MARKER, JOURNAL, EXTENTS),
    STATISTICS,
)
SHARD_FILE = "shard.json"
"""The file that says what a finished shard has; it is written last."""
SHARD_JOURNAL = "shard.records"
"""The journal of a finished shard."""
SORTED = "sorted"
"""The folder of a shard in which its records are written again in the order of their keys."""
SHARD_FILES = (SHARD_FILE, SHARD_JOURNAL, DATA, ASIDE, PROBE, LOCK, MARKER, JOURNAL, EXTENTS)
SHARD_FOLDER = re.compile(r"\d{5}|\.\d{5}\.[0-9a-f]{16}")
"""The name of a shard's folder, or of one that is to take its place."""
VERSION = "patchpress"
"""The setting that is the version of this package. The marker begins with it, whatever follows."""
MARKER_BEGIN = f'{{\n "{VERSION}": "'.encode()
CHANGED = "changed"
"""The option of a manifest whose data file has records that another program wrote."""
_NO_JOURNAL_LINE = 10  # bytes: fewer than the checksum of a line


def own_files(store: Path) -> list[str]:
    """The paths of the files of a store in its folder, also half-written ones, shards included.

    Raises:
        TargetError: there is something else, or a link in the place of one of them.
    """
    names = sorted(os.listdir(store))
    found = []
    for name in names:
        if name == SHARDS and _is_folder(store / name):
            found += _files_of_shards(store)
        elif name == SORTED and _is_folder(store / name):
            found += _files_of_shard(store, SORTED)
        elif not {name, name_when_whole(name)} & {*OWN_FILES, *SHARD_FILES}:
            raise other_things(store, name)
        else:
            _require_file(store / name)
            found.append(name)
    return found


def shard_folders(store: Path) -> list[str]:
    """The paths of the folders of a store's shards that are there, relative to the store, in order.

    Folders that are to take the place of one are among them.
    """
    try:
        names = os.listdir(store / SHARDS)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [f"{SHARDS}/{name}" for name in sorted(names) if SHARD_FOLDER.fullmatch(name)]


def _files_of_shards(store: Path) -> list[str]:
    found = []
    for name in sorted(os.listdir(store / SHARDS)):
        folder = f"{SHARDS}/{name}"
        with suppress(FileNotFoundError):  # another process has moved it to its place
            if not (SHARD_FOLDER.fullmatch(name) and _is_folder(store / folder)):
                raise other_things(store, folder)
            found += _files_of_shard(store, folder)
    return found


def _files_of_shard(store: Path, folder: str) -> list[str]:
    found = []
    for name in sorted(os.listdir(store / folder)):
        path = f"{folder}/{name}"
        if not os.path.lexists(store / path):
            continue  # another process makes this shard
        if name == SORTED and not folder.endswith(SORTED) and _is_folder(store / path):
            found += _files_of_shard(store, path)
        elif not {name, name_when_whole(name)} & set(SHARD_FILES):
            raise other_things(store, path)
        else:
            _require_file(store / path)
            found.append(path)
    return found


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)


def _require_file(path: Path) -> None:
    mode = path.lstat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "no file"
        raise TargetError(
            f"{path} is {kind}, and a store has plain files: remove it, or choose another place"
        )


def remove_half_written(store: Path) -> None:
    """Remove the files beside a store's own whose writing was interrupted.

    Raises:
        OSError: one may not be removed.
    """
    for name in os.listdir(store):
        if name_when_whole(name) in OWN_FILES:
            (store / name).unlink()


def remove_folders(store: Path) -> None:
    """Remove the folders of shards, which are empty, if there are any.

    Raises:
        OSError: one is not empty, or may not be removed.
    """
    folders = shard_folders(store)
    for folder in (*(f"{folder}/{SORTED}" for folder in folders), *folders, SHARDS, SORTED):
        with suppress(FileNotFoundError):
            (store / folder).rmdir()


def manifest_in(store: Path) -> Manifest | None:
    """The manifest of a finished store; None if there is none, or a file of another program.

    Raises:
        TargetError: it is one of this package, but cannot be read.
    """
    try:
        content = (store / MANIFEST).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return from_bytes(content, str(store / MANIFEST))
    except StoreError as error:
        if f'"{FORMAT}"'.encode() not in content[:100]:
            return None
        raise TargetError(
            f"what {store} holds is not known, as its manifest cannot be read ({error}): remove "
            "the folder yourself, or choose another place"
        ) from None


def is_begun(store: Path) -> bool:
    """Whether a conversion began the unfinished store, or made the shard, in a folder."""
    if (store / SHARD_FILE).exists():
        return True
    try:
        with (store / MARKER).open("rb") as marker:
            if marker.read(len(MARKER_BEGIN)) == MARKER_BEGIN:
                return True
    except FileNotFoundError:
        pass
    # The system went down before the marker was on the disk, but the journal was.
    try:
        with (store / JOURNAL).open("rb") as journal:
            line = journal.readline()
    except FileNotFoundError:
        return False
    return _is_journal_line(line)


def _is_journal_line(line: bytes) -> bool:
    if len(line) < _NO_JOURNAL_LINE:
        return False
    try:
        content = json.loads(line[_NO_JOURNAL_LINE - 1 :])
    except ValueError:
        return False
    return isinstance(content, Mapping) and {"boot", "written", "entries"} <= content.keys()


def is_of_another_program(manifest: Manifest) -> bool:
    """Whether some of a store's records were written by another program."""
    return bool({"adopted", CHANGED} & set(manifest.options))


def require_replaceable(store: Path, manifest: Manifest) -> None:
    """Make sure that every file of a finished store is as its manifest says, before it is removed.

    Raises:
        TargetError: one is not, or the records are another program's.
    """
    if is_of_another_program(manifest):
        raise TargetError(
            f"{store} has records that another program wrote, and may be their only place, so that "
            "it is never replaced: choose another place, or remove it yourself"
        )
    differs = _difference(store, manifest)
    if differs:
        raise TargetError(
            f"{store / differs} is not the file that belongs to its manifest, so that it is not "
            f"replaced: run `patchpress index {store}` if a program changed it, remove the folder "
            "yourself, or choose another place"
        )


def _difference(store: Path, manifest: Manifest) -> str:
    """The name of a file that is not as the manifest says; empty if all are."""
    for shard in manifest.shards:
        path = store / shard.path
        if path.exists() and path.stat().st_size != shard.bytes:
            return shard.path
    listed = {shard.path for shard in manifest.shards}
    for name in (DATA, *(f"{folder}/{DATA}" for folder in shard_folders(store))):
        if name not in listed and (store / name).exists():
            return name
    if (store / METADATA).exists() and file_digest(store / METADATA) != manifest.metadata_digest:
        return METADATA
    if (store / EXTENTS).exists():
        try:
            extents, _ = read_extents(store, [shard.path for shard in manifest.shards])
        except StoreError:
            extents = None
        if extents is None:
            return EXTENTS
    return STATISTICS if not _are_statistics(store, manifest) else ""


def _are_statistics(store: Path, manifest: Manifest) -> bool:
    from patchpress.readers.statistics_file import from_bytes as statistics_from_bytes

    path = store / STATISTICS
    try:
        statistics_from_bytes(path.read_bytes(), manifest, path, "")
    except (FileNotFoundError, StatisticsStale):
        return True
    except (OSError, StoreError):
        return False
    return True


def require_known_records(store: Path) -> None:
    """Make sure that journals tell of the records of an unfinished store, before it is removed.

    Raises:
        TargetError: there are records, and no journal: somebody else may have put them there.
    """
    for folder in (store, *(store / name for name in shard_folders(store))):
        _require_journal(folder)


def _require_journal(store: Path) -> None:
    if any(_size(store / name) for name in (JOURNAL, SHARD_JOURNAL)):
        return
    if not (store / DATA).exists():
        return
    try:
        file = open_file(store / DATA)
        records = Tree(file.bytes, file.path).entries if file.size else 0
    except StoreError:
        return  # no whole data file: a conversion was killed before it was one
    if records:
        raise TargetError(
            f"{store / DATA} has {records:,} records that no conversion has noted in {JOURNAL}: "
            "move it away, or remove the folder yourself"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def parsed_settings(marker: bytes) -> dict[str, Any] | None:
    """The settings in a marker; None if it is cut, or has no more than its beginning."""
    try:
        settings = json.loads(marker)
    except ValueError:
        return None
    return settings if isinstance(settings, dict) and "dataset" in settings else None


def other_things(store: Path, name: str) -> TargetError:
    """The error about a folder with something in it that no conversion has made."""
    is_shard = store.parent.name == SHARDS and SHARD_FOLDER.fullmatch(store.name)
    way_out = "remove it, and make that shard again" if is_shard else "choose a new or empty one"
    return TargetError(f"{store} is a folder with other things in it ({name}): {way_out}")
